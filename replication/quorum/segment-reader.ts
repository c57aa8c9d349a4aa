/**
 * Reads bytes of a segment from the nearest bucket that has them sound.
 *
 * Invariants: bytes that fail the caller's check, are short, or come from an object that is cut are never answered; the
 * read fails only when every bucket that could have the segment failed; a bad copy is counted, told once per segment and
 * reported for repair.
 *
 * Order of the buckets: those that likely have it by nearness (own zone, own region, then by preference), then those that
 * failed lately, then those that likely lack it. The own region's bucket is asked first even where it had not
 * acknowledged in time, as long as it is well: the late copy nearly always arrives, and where it has not, that costs one
 * small request, which is remembered. When a bucket is slow the next one is asked as well (a hedge).
 */
import { Cause, Clock, Effect, Exit, type Fiber, Latch, Option, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { type ObjectBytes, type ObjectStoreError } from "#core/ports/object-store.ts"
import { type SegmentAddress, SegmentUnreadable } from "#core/ports/segment-store.ts"
import { segmentKey } from "#core/segment/segment-key.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { type HealthEvent, judge, mayTry } from "#regions/health.ts"
import { type BucketSet, type BucketState, type QuorumCounters } from "./bucket-state.ts"
import { type MissingCopies } from "./missing-copies.ts"

export interface ReaderOptions {
  readonly states: ReadonlyMap<string, BucketState>
  readonly sets: ReadonlyMap<string, BucketSet>
  readonly counters: QuorumCounters
  readonly missing: MissingCopies
  readonly region: string
  readonly zone: string
  /** Other regions, nearest first; those not named come last. */
  readonly readPreference: ReadonlyArray<string>
  readonly getTimeoutMs: number
  readonly hedgeDelayMs: number
  readonly scope: Scope.Scope
}

export type ReadAddress = SegmentAddress & { readonly ackedBuckets: ReadonlyArray<string> }
export type ReadRange = { readonly offset: number; readonly length: number }

export interface SegmentReader {
  readonly read: (
    address: ReadAddress,
    range: ReadRange,
    isSound: (bytes: Buffer) => boolean
  ) => Effect.Effect<Buffer, SegmentUnreadable>
}

export const make = (options: ReaderOptions): SegmentReader => {
  const reader: Reader = { ...options, absentUntilMs: new Map(), told: new Set() }
  return { read: (address, range, isSound) => read(reader, address, range, isSound) }
}

interface Reader extends ReaderOptions {
  /** By segment and bucket: the bucket said "not there", and is believed until then. Oldest first. */
  readonly absentUntilMs: Map<string, number>
  /** Segments whose bad copies were logged. Oldest first. */
  readonly told: Set<string>
}

interface Failure {
  readonly kind: "notFound" | "failed" | "timedOut" | "corrupt"
  readonly message: string
}
type Outcome = { readonly kind: "bytes"; readonly bytes: Buffer } | Failure

interface Attempt {
  readonly state: BucketState
  readonly startedAtMs: number
  fiber: Fiber.Fiber<Option.Option<ObjectBytes>, ObjectStoreError> | undefined
  outcome: Outcome | undefined
}

interface Read {
  readonly address: ReadAddress
  readonly key: string
  readonly range: ReadRange
  readonly isSound: (bytes: Buffer) => boolean
  /** Opened by every outcome. */
  readonly news: Latch.Latch
  readonly attempts: Array<Attempt>
  readonly failures: Array<string>
}

const read = Effect.fnUntraced(function* (
  reader: Reader,
  address: ReadAddress,
  range: ReadRange,
  isSound: (bytes: Buffer) => boolean
): Effect.fn.Return<Buffer, SegmentUnreadable> {
  const clock = yield* Clock.Clock
  reader.counters.reads++
  const work: Read = {
    address,
    key: segmentKey(address),
    range,
    isSound,
    news: Latch.makeUnsafe(false),
    attempts: [],
    failures: []
  }
  const order = orderOfBuckets(reader, work, monotonicMsOf(clock))
  const bytes = yield* firstSound(reader, work, order, clock).pipe(
    Effect.ensuring(Effect.sync(() => stopAttempts(work)))
  )
  if (bytes !== undefined) return bytes
  reader.counters.readsFailed++
  if (order.length === 0) work.failures.push("no bucket of the topology should have it")
  return yield* new SegmentUnreadable({ segmentId: address.segmentId, failures: work.failures })
})

/** Asks one bucket after the other, or the next one as well when nothing is heard; undefined when all failed. */
const firstSound = Effect.fnUntraced(function* (
  reader: Reader,
  work: Read,
  order: ReadonlyArray<BucketState>,
  clock: Clock.Clock
): Effect.fn.Return<Buffer | undefined> {
  let next = 0
  let isHedge = false
  while (true) {
    if (next < order.length && (isHedge || !work.attempts.some(isRunning))) {
      if (isHedge) reader.counters.hedgedReads++
      yield* startAttempt(reader, work, order[next]!, clock)
      next++
    }
    const sound = yield* takeNews(reader, work, clock)
    if (sound !== undefined) return sound
    if (!work.attempts.some(isRunning)) {
      if (next === order.length) return undefined
      isHedge = false
      continue
    }
    const wait = work.news.await
    const heard = yield* next < order.length ? Effect.timeoutOption(wait, reader.hedgeDelayMs) : Effect.asSome(wait)
    isHedge = Option.isNone(heard)
  }
})

const isRunning = (attempt: Attempt): boolean => attempt.outcome === undefined

const startAttempt = Effect.fnUntraced(function* (reader: Reader, work: Read, state: BucketState, clock: Clock.Clock) {
  const attempt: Attempt = { state, startedAtMs: monotonicMsOf(clock), fiber: undefined, outcome: undefined }
  work.attempts.push(attempt)
  noteHealth(state, { kind: "started" }, clock)
  const { offset, length } = work.range
  const get = state.bucket.store.get(work.key, { offset, length }).pipe(Effect.timeoutOption(reader.getTimeoutMs))
  attempt.fiber = yield* Effect.forkIn(get, reader.scope, { startImmediately: true })
  // An observer is also called where a closed scope never lets the effect begin.
  attempt.fiber.addObserver((exit) => {
    attempt.outcome = outcomeOf(reader, work.range, exit)
    work.news.openUnsafe()
  })
})

const outcomeOf = (
  reader: Reader,
  range: ReadRange,
  exit: Exit.Exit<Option.Option<ObjectBytes>, ObjectStoreError>
): Outcome => {
  if (Exit.isFailure(exit)) {
    const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
    if (error === undefined) return { kind: "failed", message: Cause.pretty(exit.cause) }
    switch (error.reason) {
      case "NotFound":
        return { kind: "notFound", message: error.message }
      case "Corrupt":
      case "RangeNotSatisfiable":
        return { kind: "corrupt", message: error.message }
      case "TimedOut":
        return { kind: "timedOut", message: error.message }
      default:
        return { kind: "failed", message: error.message }
    }
  }
  if (Option.isNone(exit.value)) return { kind: "timedOut", message: `no answer in ${reader.getTimeoutMs} ms` }
  const { bytes } = exit.value.value
  if (bytes.length !== range.length) {
    return { kind: "corrupt", message: `${bytes.length} bytes where ${range.length} should be` }
  }
  return { kind: "bytes", bytes }
}

/** Accounts for every outcome that is new; the sound bytes if there are some. */
const takeNews = Effect.fnUntraced(function* (
  reader: Reader,
  work: Read,
  clock: Clock.Clock
): Effect.fn.Return<Buffer | undefined> {
  work.news.closeUnsafe()
  const ended = work.attempts.filter((attempt) => attempt.outcome !== undefined)
  for (const attempt of ended) {
    const { state } = attempt
    const outcome = checked(work, attempt.outcome!)
    work.attempts.splice(work.attempts.indexOf(attempt), 1)
    const durationMs = monotonicMsOf(clock) - attempt.startedAtMs
    const isAnswer = outcome.kind !== "failed" && outcome.kind !== "timedOut"
    noteHealth(state, isAnswer ? { kind: "answered", durationMs } : { kind: "failed" }, clock)
    if (outcome.kind === "bytes") {
      state.counters.readsOk++
      if (state.bucket.region !== reader.region) reader.counters.remoteReads++
      noteOvertaken(work, attempt, clock)
      return outcome.bytes
    }
    yield* noteFailure(reader, work, state, outcome, monotonicMsOf(clock))
  }
  return undefined
})

/** The caller's check runs in the caller's own fiber, so that a defect in it is the caller's. */
const checked = (work: Read, outcome: Outcome): Outcome =>
  outcome.kind !== "bytes" || work.isSound(outcome.bytes)
    ? outcome
    : { kind: "corrupt", message: "the bytes fail their check" }

/** Attempts that began earlier than the one that answered were too slow: that tells on their buckets. */
const noteOvertaken = (work: Read, winner: Attempt, clock: Clock.Clock): void => {
  for (const attempt of work.attempts) {
    if (attempt.outcome !== undefined || attempt.startedAtMs >= winner.startedAtMs) continue
    attempt.state.counters.readsOvertaken++
    noteHealth(attempt.state, { kind: "failed" }, clock)
  }
}

const noteFailure = Effect.fnUntraced(function* (
  reader: Reader,
  work: Read,
  state: BucketState,
  outcome: Failure,
  nowMs: number
) {
  const { counters, bucket } = state
  const { address } = work
  work.failures.push(`${bucket.name}: ${outcome.message}`)
  if (outcome.kind === "failed") counters.readsFailed++
  else if (outcome.kind === "timedOut") counters.readsTimedOut++
  else if (outcome.kind === "notFound") counters.readsNotFound++
  else counters.readsCorrupt++
  if (outcome.kind !== "notFound" && outcome.kind !== "corrupt") return
  if (outcome.kind === "notFound") {
    rememberAbsent(reader, absenceKey(address, state), nowMs)
    // A late copy may still be under way; whoever writes it reports it if it fails.
    const mayStillCome = nowMs - address.createdAtMs < limits.putStuckMs
    if (mayStillCome && !address.ackedBuckets.includes(bucket.name)) return
  }
  reader.missing.report({ segmentId: address.segmentId, objectKey: work.key, bucket: bucket.name })
  if (reader.told.has(address.segmentId)) return
  forgetOldest(reader.told, limits.segmentsLogged - 1)
  reader.told.add(address.segmentId)
  yield* Effect.logWarning("a copy of a segment is bad; another one is read instead").pipe(
    Effect.annotateLogs({ bucket: bucket.name, key: work.key, reason: outcome.kind, detail: outcome.message })
  )
})

const stopAttempts = (work: Read): void => {
  for (const attempt of work.attempts) attempt.fiber?.interruptUnsafe()
}

/** Likely there and well, then failing lately, then likely absent; each by nearness. */
const orderOfBuckets = (reader: Reader, work: Read, nowMs: number): ReadonlyArray<BucketState> => {
  const { address } = work
  const candidates = new Set<BucketState>()
  for (const name of address.ackedBuckets) {
    const state = reader.states.get(name)
    if (state !== undefined) candidates.add(state)
  }
  for (const member of reader.sets.get(address.bucketSet)?.members ?? []) candidates.add(member.state)
  return [...candidates]
    .map((state) => ({ state, place: placeOf(reader, address, state, nowMs), distance: distanceOf(reader, state) }))
    .toSorted((left, right) => left.place - right.place || left.distance - right.distance)
    .map((candidate) => candidate.state)
}

const LIKELY = 0
const FAILING = 1
const UNLIKELY = 2

const placeOf = (reader: Reader, address: ReadAddress, state: BucketState, nowMs: number): number => {
  if ((reader.absentUntilMs.get(absenceKey(address, state)) ?? 0) > nowMs) return UNLIKELY
  const isWell = mayTry(state.getHealth, nowMs)
  if (address.ackedBuckets.includes(state.bucket.name)) return isWell ? LIKELY : FAILING
  const isLocal = state.bucket.region === reader.region
  return isLocal && isWell && state.putHealth.status === "healthy" ? LIKELY : UNLIKELY
}

const distanceOf = (reader: Reader, state: BucketState): number => {
  const { region, zone } = state.bucket
  if (region === reader.region) return zone === reader.zone ? 0 : 1
  const preference = reader.readPreference.indexOf(region)
  return 2 + (preference < 0 ? reader.readPreference.length : preference)
}

const absenceKey = (address: SegmentAddress, state: BucketState): string => `${address.segmentId}/${state.bucket.name}`

const rememberAbsent = (reader: Reader, key: string, nowMs: number): void => {
  // Deleted first, so that the order of the map stays the order of the times.
  reader.absentUntilMs.delete(key)
  forgetOldest(reader.absentUntilMs, limits.copiesAbsentRemembered - 1)
  reader.absentUntilMs.set(key, nowMs + limits.copiesAbsentMs)
}

const forgetOldest = (
  remembered: { readonly size: number; keys(): Iterator<string>; delete(key: string): boolean },
  sizeMax: number
): void => {
  while (remembered.size > sizeMax) {
    const oldest = remembered.keys().next()
    if (oldest.done === true) return
    remembered.delete(oldest.value)
  }
}

const noteHealth = (state: BucketState, event: HealthEvent, clock: Clock.Clock): void => {
  state.getHealth = judge(state.getHealth, event, monotonicMsOf(clock))
}
