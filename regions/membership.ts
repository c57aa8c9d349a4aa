/**
 * Membership: this agent's entry among the live agents, and the view of them that clients get.
 *
 * Invariants: the view is never empty (this agent is always in it), answering never waits for the database, and an agent
 * whose name was taken by a later session learns it (`superseded`) and must stop. Losing the database costs freshness
 * only: the last known list stays. The database's clock alone decides who is expired.
 * Renewal happens at a third of the ttl, so that two renewals may fail before anyone takes this agent for dead.
 */
import { Clock, Context, Deferred, Effect, Layer, Schedule, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { type Broker, ClusterView } from "#core/ports/cluster-view.ts"
import { Entropy } from "#core/ports/entropy.ts"
import { type AgentRecord, type AgentRegistration, MetadataError, MetadataStore } from "#core/ports/metadata-store.ts"
import { PeerDirectory } from "#core/ports/peer-directory.ts"
import { monotonicMs, monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { brokersOfRegion, leaderAmong } from "./routing.ts"

export interface MembershipOptions {
  /** What this agent says of itself; the session is made here. */
  readonly agent: Omit<AgentRegistration, "session">
  readonly ttlMs: number
}

export class Membership extends Context.Service<
  Membership,
  {
    readonly self: AgentRecord
    /** Live agents of all regions as last read, this one included, by ascending node id. */
    readonly agents: () => ReadonlyArray<AgentRecord>
    /** Milliseconds since the database last answered a renewal; for readiness and metrics. */
    readonly sinceRenewedMs: () => number
    /** Ends when another process has taken this agent's name: the process must then stop. Never ends otherwise. */
    readonly superseded: Effect.Effect<void>
  }
>()("meridian/regions/Membership") {}

/** Enters the agent (waiting for the database within bounds), keeps it entered, and takes it out when the scope closes. */
export const layer = (
  options: MembershipOptions
): Layer.Layer<Membership | ClusterView | PeerDirectory, MetadataError, MetadataStore | Entropy> =>
  Layer.effectContext(make(options))

export const make = Effect.fnUntraced(function* (
  options: MembershipOptions
): Effect.fn.Return<
  Context.Context<Membership | ClusterView | PeerDirectory>,
  MetadataError,
  MetadataStore | Entropy | Scope.Scope
> {
  const store = yield* MetadataStore
  const entropy = yield* Entropy
  const clock = yield* Clock.Clock
  const registration: AgentRegistration = { ...options.agent, session: entropy.uuid() }
  // Before registering: an interruption right after it must still take the agent out. Not being in is no error there.
  yield* Effect.addFinalizer(() => leave(store, registration, options.ttlMs))
  const self: AgentRecord = { ...registration, nodeId: yield* enter(store, registration, options.ttlMs) }
  const state: State = {
    self,
    agents: [self],
    brokers: brokersOfRegion([], self),
    renewedAtMs: monotonicMsOf(clock),
    askedAtMs: Number.NEGATIVE_INFINITY,
    outage: "none"
  }
  const superseded = yield* Deferred.make<void>()
  // The first list is read before anyone asks, so that a restarted agent does not name itself alone for a second.
  yield* refresh(store, state, options.ttlMs)
  yield* keepAlive({ store, state, superseded, ttlMs: options.ttlMs }).pipe(Effect.forkScoped)
  const membership = Membership.of({
    self,
    agents: () => state.agents,
    sinceRenewedMs: () => monotonicMsOf(clock) - state.renewedAtMs,
    superseded: Deferred.await(superseded)
  })
  const view = ClusterView.of({
    selfNodeId: self.nodeId,
    // Guest listeners will choose another region's agents here.
    brokers: (_listener) => state.brokers,
    leaderOf: (_listener, topicId, partition) => leaderAmong(state.brokers, topicId, partition)
  })
  const directory = PeerDirectory.of({ self, members: () => state.agents, askedAtMs: () => state.askedAtMs })
  return Context.make(Membership, membership).pipe(
    Context.add(ClusterView, view),
    Context.add(PeerDirectory, directory)
  )
})

interface State {
  readonly self: AgentRecord
  /** Of all regions, this one included, by ascending node id. */
  agents: ReadonlyArray<AgentRecord>
  /** What clients of the own region are told, made once per change. */
  brokers: ReadonlyArray<Broker>
  renewedAtMs: number
  /** When the list was asked for that is known. */
  askedAtMs: number
  /** Whether the present outage of the database was told. */
  outage: "none" | "told"
}

type Store = MetadataStore["Service"]

const enter = (store: Store, agent: AgentRegistration, ttlMs: number): Effect.Effect<number, MetadataError> =>
  store.register(agent, ttlMs).pipe(
    Effect.timeoutOrElse({
      duration: limits.metadataTimeoutMs,
      orElse: () =>
        Effect.fail(
          new MetadataError({
            reason: "TimedOut",
            outcome: "indefinite",
            operation: "register",
            cause: new Error(`no answer in ${limits.metadataTimeoutMs} ms`)
          })
        )
    }),
    Effect.tapError((error) => Effect.logWarning("cannot enter the agent into the database yet", error.message)),
    Effect.retry({
      while: (error) => error.isRetryable,
      times: limits.membershipRegisterAttemptsMax - 1,
      schedule: Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("2 seconds")]).pipe(Schedule.jittered)
    })
  )

const leave = (store: Store, agent: AgentRegistration, ttlMs: number): Effect.Effect<void> =>
  store.deregister(agent).pipe(
    // Whoever cannot deregister expires after the ttl, so waiting longer than that gains nothing.
    Effect.timeoutOption(ttlMs),
    Effect.asVoid,
    Effect.catch((error) => Effect.logWarning("membership was not ended; it expires by itself", error.message))
  )

const keepAlive = Effect.fnUntraced(function* (membership: {
  readonly store: Store
  readonly state: State
  readonly superseded: Deferred.Deferred<void>
  readonly ttlMs: number
}) {
  const { store, state, superseded, ttlMs } = membership
  const intervalMs = Math.max(1, Math.floor(ttlMs / 3))
  while (true) {
    yield* Effect.sleep(intervalMs)
    const renewed = yield* renew(store, state, ttlMs)
    if (renewed === "superseded") {
      yield* Effect.logError("another process has taken this agent's name: this one must stop").pipe(
        Effect.annotateLogs({ agent: state.self.name, nodeId: state.self.nodeId, session: state.self.session })
      )
      yield* Deferred.succeed(superseded, undefined)
      return
    }
    const isFresh = yield* refresh(store, state, ttlMs)
    if (isFresh && renewed === "renewed") yield* tellEnd(state)
  }
})

const renew = (store: Store, state: State, ttlMs: number): Effect.Effect<"renewed" | "superseded" | "failed"> =>
  store.renew(state.self, ttlMs).pipe(
    Effect.timeoutOption(ttlMs),
    Effect.flatMap((answer) => {
      if (answer._tag === "None") return tellOutage(state, "no answer in time").pipe(Effect.as("failed" as const))
      return Effect.clockWith((clock) =>
        Effect.sync(() => {
          state.renewedAtMs = monotonicMsOf(clock)
          return answer.value
        })
      )
    }),
    Effect.catch((error) => tellOutage(state, error.message).pipe(Effect.as("failed" as const)))
  )

/** Whether the list was read. */
const refresh = (store: Store, state: State, ttlMs: number): Effect.Effect<boolean> =>
  Effect.flatMap(monotonicMs, (askedAtMs) => refreshAsked(store, state, { ttlMs, askedAtMs }))

const refreshAsked = (
  store: Store,
  state: State,
  { ttlMs, askedAtMs }: { readonly ttlMs: number; readonly askedAtMs: number }
): Effect.Effect<boolean> =>
  store.agents.pipe(
    Effect.timeoutOption(ttlMs),
    Effect.flatMap((answer) => {
      if (answer._tag === "None") return Effect.as(tellOutage(state, "no answer in time"), false)
      return Effect.sync(() => {
        state.askedAtMs = askedAtMs
        const others = answer.value.filter((agent) => agent.name !== state.self.name)
        const agents = [...others, state.self].toSorted((left, right) => left.nodeId - right.nodeId)
        // Clients' addresses keep their objects while nothing changed, so that nothing is made anew each second.
        if (!isEqualList(state.agents, agents)) {
          state.agents = agents
          state.brokers = brokersOfRegion(agents, state.self)
        }
        return true
      })
    }),
    Effect.catch((error) => Effect.as(tellOutage(state, error.message), false))
  )

const tellOutage = (state: State, reason: string): Effect.Effect<void> => {
  if (state.outage === "told") return Effect.void
  state.outage = "told"
  return Effect.logWarning("the database does not answer: the list of agents is kept as it was", { why: reason })
}

const tellEnd = (state: State): Effect.Effect<void> => {
  if (state.outage === "none") return Effect.void
  state.outage = "none"
  return Effect.logInfo("the list of agents is read again", { agents: state.agents.length })
}

const isEqualList = (left: ReadonlyArray<AgentRecord>, right: ReadonlyArray<AgentRecord>): boolean =>
  left.length === right.length &&
  left.every((agent, index) => {
    const other = right[index]!
    return (
      agent.nodeId === other.nodeId &&
      agent.session === other.session &&
      agent.region === other.region &&
      agent.zone === other.zone &&
      agent.host === other.host &&
      agent.port === other.port &&
      agent.peerHost === other.peerHost &&
      agent.peerPort === other.peerPort
    )
  })
