/**
 * A metadata store that fails as it is told: faults are data, decided by a plan for each call. For tests and simulation.
 *
 * It wraps any store and breaks nothing that the port promises: an error says truthfully whether the call may have taken
 * effect, as a real database's driver would. A plan must be a function of the call alone (or of a seed), so that a run can
 * be repeated.
 */
import { Effect } from "effect"
import { MetadataError, type MetadataStore } from "#core/ports/metadata-store.ts"

type Store = MetadataStore["Service"]
export type StoreOperation = keyof Store

export type Fault =
  /** Fails and did nothing. `indefinite`: but the caller cannot know. */
  | {
      readonly kind: "fail-before"
      readonly reason: MetadataError["reason"]
      readonly outcome: MetadataError["outcome"]
    }
  /** Takes effect, and the answer is lost. */
  | { readonly kind: "fail-after"; readonly reason: MetadataError["reason"] }
  /** Never answers, and did nothing or did it. */
  | { readonly kind: "hang-before" }
  | { readonly kind: "hang-after" }
  | { readonly kind: "delay"; readonly delayMs: number }
  /** Delivered twice, as by a driver that resends: the caller gets the second answer. */
  | { readonly kind: "duplicate" }

export interface StoreCall {
  readonly operation: StoreOperation
  /** From 0, counted per operation. */
  readonly index: number
}

export type FaultPlan = (call: StoreCall) => Fault | undefined

/** The store with the plan's faults. */
export const make = (store: Store, plan: FaultPlan): Store => {
  const counts = new Map<StoreOperation, number>()
  const through = <A>(
    operation: StoreOperation,
    call: Effect.Effect<A, MetadataError>
  ): Effect.Effect<A, MetadataError> =>
    Effect.suspend(() => {
      const index = counts.get(operation) ?? 0
      counts.set(operation, index + 1)
      return withFault(operation, call, plan({ operation, index }))
    })
  return {
    append: (row) => through("append", store.append(row)),
    read: (options) => through("read", store.read(options)),
    now: through("now", store.now),
    tail: (shard) => through("tail", store.tail(shard)),
    trim: (options) => through("trim", store.trim(options)),
    writeCheckpointChunk: (chunk) => through("writeCheckpointChunk", store.writeCheckpointChunk(chunk)),
    checkpoints: (shard) => through("checkpoints", store.checkpoints(shard)),
    readCheckpointChunk: (options) => through("readCheckpointChunk", store.readCheckpointChunk(options)),
    deleteCheckpoints: (options) => through("deleteCheckpoints", store.deleteCheckpoints(options)),
    writeIndexPages: (pages) => through("writeIndexPages", store.writeIndexPages(pages)),
    findIndexPage: (options) => through("findIndexPage", store.findIndexPage(options)),
    deleteIndexPages: (topicId) => through("deleteIndexPages", store.deleteIndexPages(topicId)),
    noteShard: (note) => through("noteShard", store.noteShard(note)),
    shardNotes: through("shardNotes", store.shardNotes),
    register: (agent, ttlMs) => through("register", store.register(agent, ttlMs)),
    renew: (agent, ttlMs) => through("renew", store.renew(agent, ttlMs)),
    deregister: (agent) => through("deregister", store.deregister(agent)),
    agents: through("agents", store.agents),
    recordMissingCopies: (copies) => through("recordMissingCopies", store.recordMissingCopies(copies)),
    missingCopies: (options) => through("missingCopies", store.missingCopies(options)),
    forgetMissingCopies: (copies) => through("forgetMissingCopies", store.forgetMissingCopies(copies))
  }
}

const READS: ReadonlySet<StoreOperation> = new Set([
  "read",
  "tail",
  "now",
  "checkpoints",
  "readCheckpointChunk",
  "findIndexPage",
  "shardNotes",
  "agents",
  "missingCopies"
])

const withFault = <A>(
  operation: StoreOperation,
  call: Effect.Effect<A, MetadataError>,
  fault: Fault | undefined
): Effect.Effect<A, MetadataError> => {
  const failure = (
    reason: MetadataError["reason"],
    outcome: MetadataError["outcome"]
  ): Effect.Effect<never, MetadataError> => {
    const cause = new Error(`planned fault ${fault?.kind}`)
    return Effect.fail(
      new MetadataError({ reason, outcome: READS.has(operation) ? "definite" : outcome, operation, cause })
    )
  }
  switch (fault?.kind) {
    case undefined:
      return call
    case "fail-before":
      return failure(fault.reason, fault.outcome)
    case "fail-after":
      return Effect.andThen(call, failure(fault.reason, "indefinite"))
    case "hang-before":
      return Effect.never
    case "hang-after":
      return Effect.andThen(call, Effect.never)
    case "delay":
      return Effect.andThen(Effect.sleep(fault.delayMs), call)
    case "duplicate":
      return Effect.andThen(call, call)
  }
}
