/**
 * The servers through which one agent reaches its database, in order of preference.
 *
 * Invariants: a call goes to the first server that is up. A server leaves when it cannot be connected to, takes no writes, or
 * owes answers and does not answer a new connection either; its statements then fail, and the next call goes to the next one.
 * A preferred server is used again after some good answers in a row, found by `look`, not by calls. Nothing is sent twice here.
 *
 * Going over to another server must not lead to another database, nor to an old copy of this one: each connection is held
 * against what earlier ones said (postgres-connection.ts).
 */
import { limits } from "#core/model/limits.ts"
import { type Expected, PostgresConnection, type PostgresServer, type ServerFacts } from "./postgres-connection.ts"
import { addressOf, type PostgresFailure, refusal, TOO_MANY_CONNECTIONS } from "./postgres-failure.ts"
import { Lane } from "./postgres-lane.ts"
import { sessionStatements, type Statement } from "./postgres-statements.ts"

export type LaneName = "append" | "other"

/** A change that people should hear of, once. */
export interface ServerEvent {
  readonly level: "warning" | "info"
  readonly event: string
  readonly fields: Readonly<Record<string, string>>
}

export interface Lease {
  readonly connection: PostgresConnection
  readonly giveBack: () => void
}

interface State {
  readonly server: PostgresServer
  readonly lanes: Readonly<Record<LaneName, Lane>>
  condition: "untried" | "up" | "down"
  /** Why it is down. */
  failure: PostgresFailure | undefined
  /** Where no server is up, calls try this one again then. */
  retryAtMs: number
  pauseMs: number
  goodAnswers: number
  badAnswers: number
  facts: ServerFacts | undefined
}

export class PostgresServers {
  private readonly states: ReadonlyArray<State>
  private databaseId: string | undefined
  private timeline: string | undefined
  /** The latest of each server that was not told yet: a server that comes and goes is told of once between two looks. */
  private readonly events = new Map<State, ServerEvent>()
  /** The one that calls went to last. */
  private active: State | undefined

  constructor(servers: ReadonlyArray<PostgresServer>) {
    this.states = servers.map((server) => this.newState(server))
  }

  /** Every server that is used from now on must hold this database. */
  expectDatabase(databaseId: string): void {
    this.databaseId = databaseId
  }

  /** A connection to the first server that is up. Fails, definite, with why there is none. */
  async acquire(lane: LaneName, deadlineMs: number, signal: AbortSignal): Promise<Lease> {
    for (const state of this.candidates()) {
      try {
        const lease = await leaseOf(state, lane, deadlineMs, signal)
        if (state.condition !== "up") this.gain(state)
        return lease
      } catch (error) {
        const failure = error as PostgresFailure
        if (failure.scope !== "server") throw failure
        this.lose(state, failure)
      }
    }
    throw this.whyNone()
  }

  /** To be told what a statement met: a server that takes no writes leaves. */
  tell(connection: PostgresConnection, failure: PostgresFailure): void {
    if (failure.scope !== "server") return
    const state = this.states.find(({ server }) => server === connection.server)
    if (state === undefined) return
    this.lose(state, failure)
    for (const lane of Object.values(state.lanes)) lane.cutAll(failure)
  }

  /** A connection of one's own, with longer statements: for migrations. To be closed by the caller. */
  async openForMigration(): Promise<PostgresConnection> {
    for (const state of this.candidates()) {
      try {
        return await this.connect(state, { timeout: sessionStatements.setUpMigrationTimeout })
      } catch (error) {
        this.lose(state, error as PostgresFailure)
      }
    }
    throw this.whyNone()
  }

  /** Probes what is down or silent and closes what is idle; to be called every limits.postgresProbeMs. */
  async look(): Promise<void> {
    const firstUp = this.states.findIndex(({ condition }) => condition === "up")
    const preferred = this.states.slice(0, firstUp < 0 ? this.states.length : firstUp)
    await Promise.all([
      ...preferred.filter(({ condition }) => condition === "down").map((state) => this.probeDown(state, firstUp >= 0)),
      ...this.states
        .filter((state) => state.condition === "up" && isSilent(state))
        .map((state) => this.probeSilent(state))
    ])
    const idleBeforeMs = performance.now() - limits.postgresIdleMs
    for (const { lanes } of this.states) for (const lane of Object.values(lanes)) lane.closeIdleSince(idleBeforeMs)
  }

  /** Of the server that calls go to; undefined before any was reached. */
  get facts(): ServerFacts | undefined {
    return this.active?.facts
  }

  takeEvents(): ReadonlyArray<ServerEvent> {
    const events = [...this.events.values()]
    this.events.clear()
    return events
  }

  /** Servers that are not used though they are preferred, with why. */
  outOfUse(): ReadonlyArray<string> {
    return this.states.flatMap(({ condition, failure }) =>
      condition === "down" && failure !== undefined ? [failure.message] : []
    )
  }

  async close(): Promise<void> {
    await Promise.all(this.states.flatMap(({ lanes }) => Object.values(lanes).map((lane) => lane.close())))
  }

  private newState(server: PostgresServer): State {
    const lane = (max: number): Lane =>
      new Lane({
        max,
        open: async () => {
          const connection = await this.connect(state, {})
          this.gain(state)
          return connection
        }
      })
    const state: State = {
      server,
      lanes: { append: lane(limits.postgresAppendConnections), other: lane(limits.postgresConnections) },
      condition: "untried",
      failure: undefined,
      retryAtMs: 0,
      pauseMs: limits.postgresReconnectMs,
      goodAnswers: 0,
      badAnswers: 0,
      facts: undefined
    }
    return state
  }

  private async connect(
    state: State,
    {
      timeout = sessionStatements.setUpTimeout,
      timeoutMs = limits.postgresConnectMs
    }: { readonly timeout?: Statement; readonly timeoutMs?: number }
  ): Promise<PostgresConnection> {
    const expected: Expected = { databaseId: this.databaseId, timeline: this.timeline }
    const connection = await PostgresConnection.open(state.server, { expected, timeout, timeoutMs })
    const { timeline } = connection.facts
    if (timeline !== undefined && (this.timeline === undefined || timeline > this.timeline)) this.timeline = timeline
    state.facts = connection.facts
    return connection
  }

  /** Those that are up or were never tried; where there are none, those whose pause is over. */
  private candidates(): ReadonlyArray<State> {
    const usable = this.states.filter(({ condition }) => condition !== "down")
    if (usable.length > 0) return usable
    const nowMs = performance.now()
    return this.states.filter(({ retryAtMs }) => retryAtMs <= nowMs)
  }

  private whyNone(): PostgresFailure {
    const failures = this.states.flatMap(({ failure }) => (failure === undefined ? [] : [failure]))
    const [first] = failures
    if (first === undefined) return refusal("Unavailable", "no database server answers")
    if (failures.length === 1) return first
    // What an operator must mend may wait as long as another server may come back.
    const reason = failures.every((failure) => failure.reason === "Misconfigured") ? "Misconfigured" : "Unavailable"
    return refusal(reason, failures.map(({ message }) => message).join("; "))
  }

  private lose(state: State, failure: PostgresFailure): void {
    const wasDown = state.condition === "down"
    state.condition = "down"
    state.failure = failure
    state.goodAnswers = 0
    state.badAnswers = 0
    state.retryAtMs = performance.now() + state.pauseMs
    state.pauseMs = Math.min(limits.postgresReconnectMaxMs, state.pauseMs * 2)
    if (!wasDown) this.say("warning", "database server is out of use", state, { why: failure.message })
  }

  private gain(state: State): void {
    const wasDown = state.condition === "down"
    state.condition = "up"
    state.failure = undefined
    state.pauseMs = limits.postgresReconnectMs
    state.badAnswers = 0
    if (wasDown) this.say("info", "database server is in use again", state, {})
    else if (this.active !== undefined && this.active !== state)
      this.say("info", "database server is in use", state, {})
    this.active = state
  }

  private say(level: ServerEvent["level"], event: string, state: State, fields: Record<string, string>): void {
    this.events.set(state, { level, event, fields: { server: addressOf(state.server), ...fields } })
  }

  /** One good answer is enough where nothing else is up. */
  private async probeDown(state: State, isAnotherUp: boolean): Promise<void> {
    try {
      const connection = await this.connect(state, { timeoutMs: limits.postgresProbeTimeoutMs })
      state.goodAnswers += 1
      const isBack = state.goodAnswers >= (isAnotherUp ? limits.postgresProbeSuccessesMin : 1)
      if (!isBack) return void connection.close()
      state.lanes.other.adopt(connection)
      this.gain(state)
    } catch (error) {
      state.goodAnswers = 0
      state.failure = error as PostgresFailure
    }
  }

  /** A server that answers new connections is well: whatever its statements wait for, they wait for it elsewhere too. */
  private async probeSilent(state: State): Promise<void> {
    try {
      const connection = await this.connect(state, { timeoutMs: limits.postgresProbeTimeoutMs })
      state.badAnswers = 0
      void connection.close()
    } catch (error) {
      state.badAnswers += 1
      if (state.badAnswers < limits.postgresProbeFailuresMax) return
      const failure = error as PostgresFailure
      this.lose(state, failure)
      for (const lane of Object.values(state.lanes)) lane.cutAll(failure)
    }
  }
}

/** A server that takes no further connection is still there: then the connections that there are serve everyone. */
const leaseOf = async (state: State, lane: LaneName, deadlineMs: number, signal: AbortSignal): Promise<Lease> => {
  const from = async (used: Lane): Promise<Lease> => {
    const connection = await used.acquire(deadlineMs, signal)
    return { connection, giveBack: () => used.release(connection) }
  }
  const own = state.lanes[lane]
  try {
    return await from(own)
  } catch (error) {
    const others = Object.values(state.lanes).find((candidate) => candidate !== own && candidate.openCount > 0)
    if (others === undefined || (error as PostgresFailure).code !== TOO_MANY_CONNECTIONS) throw error
    return await from(others)
  }
}

const isSilent = ({ lanes }: State): boolean => {
  const sinceMs = performance.now() - limits.postgresSuspectMs
  return Object.values(lanes).some(({ oldestSentAtMs }) => oldestSentAtMs !== undefined && oldestSentAtMs < sinceMs)
}
