/**
 * Index pages for those who read old offsets: read from the database, checked, and cached decoded.
 *
 * Invariants:
 * - A page that is answered was checked whole (index-page.ts), is of the partition that was asked for, and holds the offset
 *   that was asked for. One that is damaged or missing is told of by partition and offset, and never answered in part.
 * - One read at a time for a partition, shared by all who wait for the same page; at most limits.indexPageReadsInFlight
 *   together. Interrupting one who waits leaves the read going on for the others and for the cache.
 * - The cache holds at most limits.indexPageCacheBytes, least recently used first out, and at most
 *   limits.pagedPlansInFlight callers hold pages besides (`inTurn`).
 *
 * Pages never change once written, so the cache needs no invalidation; those of deleted topics age out.
 */
import { Context, Deferred, Effect, type Exit, Layer, Schema, type Scope, Semaphore } from "effect"
import { CommitLog } from "#core/log/commit-log.ts"
import { type FoldState, type PartitionState } from "#core/log/fold.ts"
import { type DecodedPage, decodeIndexPage } from "#core/log/index-page.ts"
import { guarded } from "#core/log/store-call.ts"
import { limits } from "#core/model/limits.ts"
import { type IndexPage, type IndexPageQuery, MetadataStore } from "#core/ports/metadata-store.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import { monotonicMs } from "#core/telemetry/monotonic.ts"

export class IndexPageUnreadable extends Schema.TaggedError<IndexPageUnreadable>()("IndexPageUnreadable", {
  reason: Schema.Literals([
    /** The database did not answer. */
    "Unavailable",
    "Damaged",
    /** No page holds the offset, or the topic is gone. */
    "Missing"
  ]),
  topicId: Schema.String,
  partition: Schema.Number,
  /** That was asked for; -1 where a time was. */
  offset: Schema.Number,
  cause: Schema.Defect()
}) {
  override get message(): string {
    const where = `partition ${this.partition} of topic ${this.topicId} at offset ${this.offset}`
    return `index page of ${where}: ${this.reason}: ${String(this.cause)}`
  }
}

export interface IndexPageCounters {
  hits: number
  reads: number
  /** Of damaged, missing, and those that the database did not answer. */
  readsFailed: number
}

export class IndexPages extends Context.Service<
  IndexPages,
  {
    /** The page that holds the offset (below the partition's residentOffset), if it is cached. Synchronous. */
    readonly cached: (state: PartitionState, offset: number) => DecodedPage | undefined
    readonly load: (state: PartitionState, offset: number) => Effect.Effect<DecodedPage, IndexPageUnreadable>
    /** The first page, by offset, with a timestamp at or after this. It may lie above residentOffset, or not be folded yet. */
    readonly firstSince: (
      state: PartitionState,
      timestampMs: number
    ) => Effect.Effect<DecodedPage | undefined, IndexPageUnreadable>
    /** The page with the largest timestamp, of equals the first. It may lie above residentOffset, or not be folded yet. */
    readonly largest: (state: PartitionState) => Effect.Effect<DecodedPage | undefined, IndexPageUnreadable>
    /** For those who hold several pages at once: they take turns. */
    readonly inTurn: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
    readonly counters: IndexPageCounters
    readonly cacheBytes: () => number
  }
>()("meridian/core/agent/IndexPages") {
  static readonly layer = Layer.effect(
    IndexPages,
    Effect.suspend(() => make)
  )
}

interface Cached {
  readonly page: DecodedPage
  readonly partitionKey: string
}

interface Load {
  readonly offset: number
  readonly done: Deferred.Deferred<DecodedPage, IndexPageUnreadable>
}

interface State {
  readonly store: MetadataStore["Service"]
  readonly fold: FoldState
  readonly scope: Scope.Scope
  readonly reads: Semaphore.Semaphore
  /** By partition and base offset; the first key is the least recently used. */
  readonly pages: Map<string, Cached>
  /** Base offsets of a partition's cached pages, ascending. */
  readonly bases: Map<string, Array<number>>
  bytes: number
  /** By partition. */
  readonly loads: Map<string, Load>
  /** When the database last did not answer: those who wait meanwhile are not each made to find out. */
  awayAtMs: number
  awayCause: unknown
  readonly told: { atMs: number; untold: number }
  readonly counters: IndexPageCounters
}

const make = Effect.gen(function* () {
  const log = yield* CommitLog
  const state: State = {
    store: yield* MetadataStore,
    fold: log.fold,
    scope: yield* Effect.scope,
    reads: yield* Semaphore.make(limits.indexPageReadsInFlight),
    pages: new Map(),
    bases: new Map(),
    bytes: 0,
    loads: new Map(),
    awayAtMs: Number.NEGATIVE_INFINITY,
    awayCause: undefined,
    told: { atMs: Number.NEGATIVE_INFINITY, untold: 0 },
    counters: { hits: 0, reads: 0, readsFailed: 0 }
  }
  const turns = yield* Semaphore.make(limits.pagedPlansInFlight)
  const { observe } = yield* Metrics
  yield* observe("indexPageHits", () => [{ value: state.counters.hits }])
  yield* observe("indexPageReads", () => [{ value: state.counters.reads }])
  yield* observe("indexPageReadsFailed", () => [{ value: state.counters.readsFailed }])
  yield* observe("indexPageCacheBytes", () => [{ value: state.bytes }])
  return IndexPages.of({
    cached: (partition, offset) => cachedPage(state, partition, offset),
    load: (partition, offset) => load(state, partition, offset),
    firstSince: (partition, timestampMs) => query(state, partition, { kind: "since", timestampMs }),
    largest: (partition) => query(state, partition, { kind: "largest-timestamp" }),
    inTurn: (effect) => turns.withPermits(1)(effect),
    counters: state.counters,
    cacheBytes: () => state.bytes
  })
})

const partitionKeyOf = ({ topic, partition }: PartitionState): string => `${topic.topicId}/${partition}`

const cachedPage = (state: State, partition: PartitionState, offset: number): DecodedPage | undefined => {
  const partitionKey = partitionKeyOf(partition)
  const baseOffset = lastAtOrBelow(state.bases.get(partitionKey) ?? [], offset)
  if (baseOffset === undefined) return undefined
  const key = `${partitionKey}/${baseOffset}`
  const cached = state.pages.get(key)!
  if (offset >= cached.page.nextOffset) return undefined
  state.pages.delete(key)
  state.pages.set(key, cached)
  state.counters.hits++
  return cached.page
}

const lastAtOrBelow = (ascending: ReadonlyArray<number>, value: number): number | undefined => {
  let low = -1
  let high = ascending.length - 1
  while (low < high) {
    const middle = (low + high + 1) >> 1
    if (ascending[middle]! <= value) low = middle
    else high = middle - 1
  }
  return ascending[low]
}

const keep = (state: State, partition: PartitionState, page: DecodedPage): void => {
  const partitionKey = partitionKeyOf(partition)
  const key = `${partitionKey}/${page.baseOffset}`
  if (state.pages.has(key) || page.memoryBytes > limits.indexPageCacheBytes) return
  state.pages.set(key, { page, partitionKey })
  const bases = state.bases.get(partitionKey) ?? []
  state.bases.set(partitionKey, bases)
  bases.splice(bases.findLastIndex((base) => base < page.baseOffset) + 1, 0, page.baseOffset)
  state.bytes += page.memoryBytes
  for (const [oldest, cached] of state.pages) {
    if (state.bytes <= limits.indexPageCacheBytes) return
    evict(state, oldest, cached)
  }
}

const evict = (state: State, key: string, { page, partitionKey }: Cached): void => {
  state.pages.delete(key)
  state.bytes -= page.memoryBytes
  const bases = state.bases.get(partitionKey)!
  bases.splice(bases.indexOf(page.baseOffset), 1)
  if (bases.length === 0) state.bases.delete(partitionKey)
}

/** Joins the read of the partition that is under way, as long as there is one, then looks again or reads. */
const load = Effect.fnUntraced(function* (
  state: State,
  partition: PartitionState,
  offset: number
): Effect.fn.Return<DecodedPage, IndexPageUnreadable> {
  const partitionKey = partitionKeyOf(partition)
  for (;;) {
    const cached = cachedPage(state, partition, offset)
    if (cached !== undefined) return cached
    const underWay = state.loads.get(partitionKey)
    if (underWay === undefined) return yield* startLoad(state, partition, offset)
    const page = yield* Deferred.await(underWay.done).pipe(
      // Of another offset that is damaged or missing this one says nothing; a database that is away is away for both.
      Effect.catch((error) =>
        underWay.offset === offset || error.reason === "Unavailable" ? Effect.fail(error) : Effect.succeed(undefined)
      )
    )
    // What does not fit into the cache is answered all the same.
    if (page !== undefined && page.baseOffset <= offset && offset < page.nextOffset) return page
  }
})

/** Registered and started in one step, so that nobody joins a read that was never started. */
const startLoad = (
  state: State,
  partition: PartitionState,
  offset: number
): Effect.Effect<DecodedPage, IndexPageUnreadable> =>
  Effect.uninterruptibleMask((restore) => {
    const started: Load = { offset, done: Deferred.makeUnsafe() }
    const partitionKey = partitionKeyOf(partition)
    state.loads.set(partitionKey, started)
    const reading = query(state, partition, { kind: "offset", offset }).pipe(
      Effect.flatMap((page) =>
        page === undefined || offset >= page.nextOffset
          ? refuse(state, partition, { reason: "Missing", offset, cause: new Error("no page holds the offset") })
          : Effect.succeed(page)
      )
    )
    const end = (exit: Exit.Exit<DecodedPage, IndexPageUnreadable>): void => {
      state.loads.delete(partitionKey)
      Deferred.doneUnsafe(started.done, exit)
    }
    return Effect.forkIn(reading, state.scope, { startImmediately: true }).pipe(
      Effect.tap((fiber) => Effect.sync(() => fiber.addObserver(end))),
      Effect.andThen(restore(Deferred.await(started.done)))
    )
  })

const query = Effect.fnUntraced(function* (
  state: State,
  partition: PartitionState,
  wanted: IndexPageQuery
): Effect.fn.Return<DecodedPage | undefined, IndexPageUnreadable> {
  const offset = wanted.kind === "offset" ? wanted.offset : -1
  const { topicId } = partition.topic
  const asked = { topicId, partition: partition.partition, query: wanted }
  const row = yield* state.reads.withPermits(1)(
    Effect.suspend(() => ask(state, state.store.findIndexPage(asked), { partition, offset }))
  )
  if (row === undefined) return undefined
  const decoded = decode(row)
  const isOfPartition = row.topicId === topicId && row.partition === partition.partition
  if (!(decoded instanceof Error) && isOfPartition) {
    keep(state, partition, decoded)
    return decoded
  }
  const cause = decoded instanceof Error ? decoded : new Error(`the row is of partition ${row.partition}`)
  return yield* refuse(state, partition, { reason: "Damaged", offset: row.baseOffset, cause })
})

const ask = Effect.fnUntraced(function* (
  state: State,
  read: ReturnType<MetadataStore["Service"]["findIndexPage"]>,
  at: { readonly partition: PartitionState; readonly offset: number }
) {
  const nowMs = yield* monotonicMs
  if (nowMs - state.awayAtMs < limits.indexPageAwayMs) {
    return yield* refuse(state, at.partition, { reason: "Unavailable", offset: at.offset, cause: state.awayCause })
  }
  state.counters.reads++
  return yield* guarded("findIndexPage", read).pipe(
    Effect.catch((cause) =>
      Effect.flatMap(monotonicMs, (failedMs) => {
        state.awayAtMs = failedMs
        state.awayCause = cause
        return refuse(state, at.partition, { reason: "Unavailable", offset: at.offset, cause })
      })
    )
  )
})

const decode = (row: IndexPage): DecodedPage | Error => {
  try {
    return decodeIndexPage(row)
  } catch (error) {
    if (error instanceof Error) return error
    throw error
  }
}

/** Fails, after telling of it: one event a while says it for all. A topic that is gone has no pages, and that is no news. */
const refuse = Effect.fnUntraced(function* (
  state: State,
  { topic, partition }: PartitionState,
  what: { readonly reason: IndexPageUnreadable["reason"]; readonly offset: number; readonly cause: unknown }
): Effect.fn.Return<never, IndexPageUnreadable> {
  const error = new IndexPageUnreadable({ topicId: topic.topicId, partition, ...what })
  state.counters.readsFailed++
  const isGone = state.fold.topicById(topic.topicId) === undefined
  const nowMs = yield* monotonicMs
  if (isGone) return yield* error
  if (nowMs - state.told.atMs < limits.segmentFailureToldMs) {
    state.told.untold++
    return yield* error
  }
  const fields = { topic: topic.name, partition, error: error.message, othersSinceLast: state.told.untold }
  state.told.atMs = nowMs
  state.told.untold = 0
  if (what.reason === "Unavailable") yield* Effect.logWarning("an index page could not be read", fields)
  else yield* Effect.logError("an index page is not what it should be", fields)
  return yield* error
})
