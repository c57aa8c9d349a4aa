/**
 * A port that is free now, and that nothing else takes meanwhile: below the range of outgoing connections, and from a block
 * that belongs to this test worker alone. Tests that can, listen on port 0 instead.
 */
import * as net from "node:net"
import { Effect } from "effect"

const FIRST = 10_000
const PORTS_PER_WORKER = 200
const WORKERS = 100

const worker = Number(process.env["VITEST_WORKER_ID"] ?? process.pid) % WORKERS
let given = 0

const isFree = (port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const server = net.createServer()
    server.once("error", () => resume(Effect.succeed(false)))
    server.listen(port, "127.0.0.1", () => server.close(() => resume(Effect.succeed(true))))
  })

export const freePort: Effect.Effect<number> = Effect.gen(function* () {
  for (let attempt = 0; attempt < PORTS_PER_WORKER; attempt += 1) {
    const port = FIRST + worker * PORTS_PER_WORKER + (given++ % PORTS_PER_WORKER)
    if (yield* isFree(port)) return port
  }
  return yield* Effect.die(
    new Error(`no free port among ${PORTS_PER_WORKER} from ${FIRST + worker * PORTS_PER_WORKER}`)
  )
})
