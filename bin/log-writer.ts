/**
 * Writes log lines to standard error without ever blocking the event loop.
 *
 * `process.stderr.write` blocks where standard error is a pipe that nobody reads: one stopped log collector would stop
 * the agent. So lines go into a bounded queue and from there by asynchronous writes, one at a time; what does not fit is
 * dropped, counted, and the count is said as soon as lines are taken again.
 */
import { write } from "node:fs"
import { limits } from "#core/model/limits.ts"

export interface LogWriter {
  readonly write: (line: string) => void
  readonly droppedCount: () => number
  /** Ends when everything was taken, at the latest after limits.logEndMs: for the end of the process. */
  readonly drained: () => Promise<void>
}

export const makeLogWriter = (fd = 2): LogWriter => {
  let waiting: Array<string> = []
  let dropped = 0
  let droppedUnsaid = 0
  let writing: Buffer | undefined
  let onDrained: (() => void) | undefined

  const next = (): void => {
    if (writing !== undefined) return
    if (waiting.length === 0) return onDrained?.()
    if (droppedUnsaid > 0) {
      waiting.push(`${droppedUnsaid} log lines dropped: nobody took them\n`)
      droppedUnsaid = 0
    }
    writing = Buffer.from(waiting.join(""))
    waiting = []
    writeSome()
  }

  const writeSome = (): void => {
    write(fd, writing!, (error, writtenBytes) => {
      const isBusy = error !== null && error.code === "EAGAIN"
      // Any other error (a closed pipe) will not go away: these lines are lost.
      const rest = error === null ? writing!.subarray(writtenBytes) : isBusy ? writing! : Buffer.alloc(0)
      if (rest.length === 0) {
        writing = undefined
        return next()
      }
      writing = rest
      setTimeout(writeSome, isBusy ? limits.logRetryMs : 0)
    })
  }

  return {
    write: (line) => {
      if (waiting.length >= limits.logLinesQueued) {
        dropped++
        droppedUnsaid++
        return
      }
      waiting.push(`${line}\n`)
      next()
    },
    droppedCount: () => dropped,
    drained: () =>
      new Promise((resolve) => {
        onDrained = resolve
        setTimeout(resolve, limits.logEndMs)
        next()
      })
  }
}
