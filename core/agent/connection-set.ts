/**
 * The connections of one listener: runs their requests, ends those that have stalled or idled, tells why one ended badly.
 *
 * All of it ends with the scope.
 */
import { Effect, FiberSet, Schedule, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { type AcceptedTransport } from "#core/ports/network.ts"
import { monotonicMs } from "#core/telemetry/monotonic.ts"
import { type Answer, Connection, type ConnectionContext, type Hangup } from "./connection.ts"

export interface ConnectionSetOptions {
  /** Name of the listener. */
  readonly listener: string
  readonly idleMs: number
  readonly counters: { connectionsAccepted: number; connectionsFailed: number; socketsPaused: number }
}

/** What its listener decides about a connection. */
export interface ConnectionPolicy extends Omit<ConnectionContext, "run" | "onPaused" | "onEnd"> {
  /** Called once, whoever ended it. */
  readonly onEnd?: () => void
  /** Asked every few seconds: why the connection must end now, if it must. */
  readonly overdue?: (nowMs: number) => string | undefined
}

export interface ConnectionSet {
  readonly accept: (transport: AcceptedTransport, policy: ConnectionPolicy) => void
  readonly count: () => number
}

const SWEEP_INTERVAL_MS = 5_000

export const makeConnectionSet = Effect.fnUntraced(function* (
  options: ConnectionSetOptions
): Effect.fn.Return<ConnectionSet, never, Scope.Scope> {
  const { listener, counters } = options
  const open = new Map<Connection, ConnectionPolicy>()
  const requests = yield* FiberSet.make<Answer | Hangup>()
  const run = yield* FiberSet.runtime(requests)()
  const events = yield* FiberSet.make<void>()
  const report = yield* FiberSet.runtime(events)()
  const accept = (transport: AcceptedTransport, policy: ConnectionPolicy): void => {
    counters.connectionsAccepted++
    const context: ConnectionContext = {
      ...policy,
      get frameBytesMax() {
        return policy.frameBytesMax
      },
      run: (effect) => run(effect),
      onPaused: () => {
        counters.socketsPaused++
      },
      onEnd: (connection, reason, manner) => {
        open.delete(connection)
        policy.onEnd?.()
        if (manner === "orderly") return
        counters.connectionsFailed++
        report(Effect.logWarning("connection closed", { peer: connection.info.peer, listener, reason }))
      }
    }
    const connection = new Connection(transport, listener, context)
    if (!connection.isEnded) open.set(connection, policy)
  }
  const bounds = { idleMs: options.idleMs, stalledMs: limits.socketStalledMs }
  const sweep = Effect.map(monotonicMs, (nowMs) => {
    for (const [connection, policy] of open) {
      const overdue = policy.overdue?.(nowMs)
      if (overdue === undefined) connection.sweep(nowMs, bounds)
      else connection.end(overdue, "fault")
    }
  })
  yield* Effect.forkScoped(Effect.repeat(sweep, Schedule.spaced(SWEEP_INTERVAL_MS)))
  return { accept, count: () => open.size }
})
