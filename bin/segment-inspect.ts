/** `meridian segment inspect`: reads a segment file and shows what is in it; exit code 1 where its checks fail. */
import { readFile } from "node:fs/promises"
import { Effect } from "effect"
import { formatReport, inspectSegment } from "#core/segment/segment-inspect.ts"
import { type CommandFailed, failed, invalid } from "./command-failed.ts"
import { explainFileError } from "./file-error.ts"

export const run = (options: {
  readonly file: string
  readonly records: boolean
  readonly json: boolean
}): Effect.Effect<void, CommandFailed> =>
  Effect.gen(function* () {
    const bytes = yield* Effect.tryPromise({
      try: () => readFile(options.file),
      catch: (error) => invalid(`cannot read ${options.file}: ${explainFileError(error)}`)
    })
    const report = inspectSegment(bytes, { records: options.records })
    yield* Effect.promise(() => print(options.json ? `${JSON.stringify(report, null, 2)}\n` : formatReport(report)))
    if (report.problems.length > 0) {
      return yield* failed(`${options.file}: ${report.problems.length} of its checks failed`)
    }
  })

/** Ends when the text was taken: a process that exits earlier would cut it off in a pipe. */
const print = (text: string): Promise<void> => new Promise((resolve) => process.stdout.write(text, () => resolve()))
