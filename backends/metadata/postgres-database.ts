/**
 * Calls of the store, made of statements: deadline, outcome, and running again what the database undid and asks for again.
 *
 * Invariants: a call ends within limits.metadataTimeoutMs, where it says nothing else. Its error says truthfully whether it may have taken effect: a read
 * never; a write where a statement of it was through, or may have been. A statement is run again only after the database said
 * that it undid it (40001, 40P01); whatever else fails is the caller's to repeat. That a call is interrupted ends its waiting
 * and its further statements, not the one under way.
 */
import { Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { MetadataError } from "#core/ports/metadata-store.ts"
import { type Answer } from "./postgres-connection.ts"
import { PostgresFailure, refusal } from "./postgres-failure.ts"
import { type LaneName, type PostgresServers } from "./postgres-servers.ts"
import { type Statement } from "./postgres-statements.ts"

/** Runs a statement of the call. Rejects with a PostgresFailure. */
export type Run = (statement: Statement, ...values: ReadonlyArray<unknown>) => Promise<Answer>

export type Body<A> = (run: Run, signal: AbortSignal) => Promise<A>

export interface CallOptions {
  readonly operation: string
  readonly kind: "read" | "write"
  readonly lane?: LaneName
  readonly timeoutMs?: number
}

export class PostgresDatabase {
  readonly servers: PostgresServers
  private callsUnderWay = 0

  constructor(servers: PostgresServers) {
    this.servers = servers
  }

  call<A>(options: CallOptions, body: Body<A>): Effect.Effect<A, MetadataError> {
    return Effect.promise((signal) => this.perform(options, body, signal)).pipe(
      Effect.flatMap((outcome) => ("error" in outcome ? Effect.fail(outcome.error) : Effect.succeed(outcome.value)))
    )
  }

  /** Rejects only with what is a programmer's error. */
  private async perform<A>(
    options: CallOptions,
    body: Body<A>,
    signal: AbortSignal
  ): Promise<{ readonly value: A } | { readonly error: MetadataError }> {
    const call: Call = {
      lane: options.lane ?? "other",
      deadlineMs: performance.now() + (options.timeoutMs ?? limits.metadataTimeoutMs),
      signal,
      hasWritten: false
    }
    if (this.callsUnderWay >= limits.metadataRequestsInFlight) {
      return {
        error: errorOf(options, call, refusal("Unavailable", `${this.callsUnderWay} calls wait for the database`))
      }
    }
    this.callsUnderWay += 1
    try {
      return { value: await body((statement, ...values) => this.runUntilDone(call, statement, values), signal) }
    } catch (failure) {
      if (!(failure instanceof PostgresFailure)) throw failure
      return { error: errorOf(options, call, failure) }
    } finally {
      this.callsUnderWay -= 1
    }
  }

  private async runUntilDone(call: Call, statement: Statement, values: ReadonlyArray<unknown>): Promise<Answer> {
    for (let rerun = 0; ; rerun += 1) {
      try {
        const answer = await this.runOnce(call, statement, values)
        if (statement.kind === "write") call.hasWritten = true
        return answer
      } catch (error) {
        const failure = error as PostgresFailure
        const mayRun = failure instanceof PostgresFailure && failure.isRerunAsked && rerun < limits.postgresRerunsMax
        if (!mayRun) throw failure
        await pause(rerun)
      }
    }
  }

  private async runOnce(call: Call, statement: Statement, values: ReadonlyArray<unknown>): Promise<Answer> {
    if (call.signal.aborted) throw refusal("TimedOut", "the caller is gone", "statement")
    const { connection, giveBack } = await this.servers.acquire(call.lane, call.deadlineMs, call.signal)
    try {
      const timeoutMs = Math.min(limits.metadataTimeoutMs, Math.ceil(call.deadlineMs - performance.now()))
      if (timeoutMs <= 0) throw refusal("TimedOut", "no time was left to ask the database", "statement")
      return await connection.run(statement, values, timeoutMs)
    } catch (error) {
      if (error instanceof PostgresFailure) this.servers.tell(connection, error)
      throw error
    } finally {
      giveBack()
    }
  }
}

/** Runs the check when the call is made: what it finds is a programmer's error. */
export const checked = <A>(check: () => void, call: Effect.Effect<A, MetadataError>): Effect.Effect<A, MetadataError> =>
  Effect.suspend(() => {
    check()
    return call
  })

export const rowsOf = <Row>({ rows }: Answer): ReadonlyArray<Row> => rows as unknown as ReadonlyArray<Row>

interface Call {
  readonly lane: LaneName
  readonly deadlineMs: number
  readonly signal: AbortSignal
  /** A statement of it was through. */
  hasWritten: boolean
}

/** Those who met must not meet again at once. */
const pause = (rerun: number): Promise<void> => {
  const longestMs = Math.min(limits.postgresRerunPauseMs, (limits.postgresRerunPauseMs / 40) * 2 ** Math.min(rerun, 10))
  return new Promise((resolve) => {
    setTimeout(resolve, Math.random() * longestMs)
  })
}

const errorOf = ({ operation, kind }: CallOptions, call: Call, failure: PostgresFailure): MetadataError => {
  const outcome = kind === "write" && (call.hasWritten || failure.outcome === "indefinite") ? "indefinite" : "definite"
  return new MetadataError({ reason: failure.reason, outcome, operation, cause: failure })
}
