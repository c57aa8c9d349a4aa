/**
 * A process of its own for process-end.test.ts: node process-end-child.ts MODE DIRECTORY CODE. It ends with the code while
 * something opens the named pipe DIRECTORY/hanging: a bucket's get thread (MODE get), one of libuv's threads (system-call),
 * or nothing (nothing).
 */
import { open } from "node:fs"
import { join } from "node:path"
import { Deferred, Effect } from "effect"
import * as fs from "#backends/object/fs.ts"
import { endProcess } from "../../../bin/process-end.ts"

const [mode, directory, code] = process.argv.slice(2) as [string, string, string]

await Effect.runPromise(
  Effect.scoped(
    Effect.gen(function* () {
      if (mode === "system-call") return open(join(directory, "hanging"), "r", () => {})
      const store = yield* fs.make({ bucket: "sick", directory, fsync: false })
      yield* store.put(`${process.pid}`, [])
      yield* store.get(`${process.pid}`)
      if (mode === "nothing") return
      yield* Effect.forkDetach(Effect.ignore(store.get("hanging")), { startImmediately: true })
      // Answered by a second thread, which is started when the first one has been at its call for some time.
      const isAnswered = yield* Deferred.make<void>()
      const readOn = Effect.andThen(Effect.ignore(store.get(`${process.pid}`)), Deferred.succeed(isAnswered, undefined))
      while (!(yield* Deferred.isDone(isAnswered))) {
        yield* Effect.forkDetach(readOn, { startImmediately: true })
        yield* Effect.sleep(20)
      }
    })
  )
)
process.stdout.write("ending\n")
endProcess(Number(code))
