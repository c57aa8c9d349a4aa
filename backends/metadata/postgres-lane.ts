/**
 * A bounded set of connections to one server, opened when needed and handed to one caller at a time.
 *
 * Appends have a lane of their own, so that they wait behind nothing else. A caller who waits gets the next connection that
 * is given back, or the next that opens. Where none is left and none can be opened, all who wait are told why, at once; where
 * others are open they go on waiting for those, within their own time.
 */
import { limits } from "#core/model/limits.ts"
import { type PostgresConnection } from "./postgres-connection.ts"
import { type PostgresFailure, refusal } from "./postgres-failure.ts"

interface Waiter {
  readonly resolve: (connection: PostgresConnection) => void
  readonly reject: (failure: PostgresFailure) => void
}

const closed = (): PostgresFailure => refusal("Unavailable", "the database is closed", "statement")

export class Lane {
  private readonly openOne: () => Promise<PostgresConnection>
  private readonly max: number
  private readonly all = new Set<PostgresConnection>()
  /** The most recently used last: those at the front may be closed one day. */
  private idle: Array<PostgresConnection> = []
  private readonly waiters = new Set<Waiter>()
  private opening = 0
  /** After an attempt that failed while others were open. */
  private openAgainAtMs = 0
  private isClosed = false

  constructor(options: { readonly open: () => Promise<PostgresConnection>; readonly max: number }) {
    this.openOne = options.open
    this.max = options.max
  }

  /** Fails with a PostgresFailure: of scope "statement" where only time or the caller ended the wait. */
  acquire(deadlineMs: number, signal: AbortSignal): Promise<PostgresConnection> {
    if (this.isClosed) return Promise.reject(closed())
    this.prune()
    const connection = this.idle.pop()
    if (connection !== undefined) return Promise.resolve(connection)
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer)
        signal.removeEventListener("abort", onAbort)
        this.waiters.delete(waiter)
      }
      const waiter: Waiter = {
        resolve: (found) => {
          end()
          resolve(found)
        },
        reject: (failure) => {
          end()
          reject(failure)
        }
      }
      const onAbort = (): void => waiter.reject(refusal("TimedOut", "the caller is gone", "statement"))
      const timer = setTimeout(
        () => waiter.reject(refusal("TimedOut", "no connection to the database became free in time", "statement")),
        Math.max(0, deadlineMs - performance.now())
      )
      signal.addEventListener("abort", onAbort)
      this.waiters.add(waiter)
      this.grow()
    })
  }

  release(connection: PostgresConnection): void {
    connection.idleSinceMs = performance.now()
    if (!this.isClosed && connection.isUsable) return this.give(connection)
    this.all.delete(connection)
    if (this.isClosed) void connection.close()
    this.grow()
  }

  /** Takes over a connection that was opened elsewhere, or closes it where there are enough. */
  adopt(connection: PostgresConnection): void {
    this.prune()
    if (this.isClosed || this.all.size + this.opening >= this.max) return void connection.close()
    this.all.add(connection)
    this.give(connection)
  }

  get openCount(): number {
    this.prune()
    return this.all.size
  }

  /** When the oldest statement was sent that has no answer yet. */
  get oldestSentAtMs(): number | undefined {
    let oldest: number | undefined
    for (const { sentAtMs } of this.all) {
      if (sentAtMs !== undefined && (oldest === undefined || sentAtMs < oldest)) oldest = sentAtMs
    }
    return oldest
  }

  cutAll(cause: unknown): void {
    for (const connection of this.all) connection.cutOff(cause)
    this.prune()
  }

  closeIdleSince(beforeMs: number): void {
    this.prune()
    for (const connection of this.idle.filter(({ idleSinceMs }) => idleSinceMs < beforeMs)) {
      this.all.delete(connection)
      void connection.close()
    }
    this.idle = this.idle.filter((connection) => this.all.has(connection))
  }

  /** Ends when all connections are closed. Statements that are under way fail. */
  async close(): Promise<void> {
    this.isClosed = true
    for (const waiter of this.waiters) waiter.reject(closed())
    const open = [...this.all]
    this.all.clear()
    this.idle = []
    await Promise.all(open.map((connection) => connection.close()))
  }

  private give(connection: PostgresConnection): void {
    for (const waiter of this.waiters) return waiter.resolve(connection)
    this.idle.push(connection)
  }

  private grow(): void {
    this.prune()
    if (this.isClosed || (this.all.size > 0 && performance.now() < this.openAgainAtMs)) return
    while (this.waiters.size > this.opening && this.all.size + this.opening < this.max) void this.open()
  }

  private async open(): Promise<void> {
    this.opening += 1
    try {
      const connection = await this.openOne()
      this.opening -= 1
      this.openAgainAtMs = 0
      this.adopt(connection)
    } catch (error) {
      this.opening -= 1
      this.prune()
      if (this.all.size > 0) {
        this.openAgainAtMs = performance.now() + limits.postgresReconnectMaxMs
        return
      }
      for (const waiter of this.waiters) waiter.reject(error as PostgresFailure)
    }
  }

  private prune(): void {
    for (const connection of this.all) if (!connection.isUsable) this.all.delete(connection)
    this.idle = this.idle.filter((connection) => this.all.has(connection))
  }
}
