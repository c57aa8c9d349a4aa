/**
 * Writes a segment to its quorum.
 *
 * Invariants:
 * - It answers only after W buckets in distinct failure domains acknowledged the whole segment (architecture, 2).
 * - It answers as soon as that is so, and fails as soon as that cannot be so any more, or at the deadline: no bucket,
 *   however slow or dead, adds latency beyond that.
 * - Whatever goes on after the answer is bounded: unfinished puts per bucket, bytes held by late copies, time.
 * - Every copy of an acknowledged segment is acknowledged or reported as missing; maybe both where an answer came late.
 *
 * A put that passes its deadline is given up but not interrupted, whatever becomes of its write: it keeps its slot and its
 * bytes stay counted until it really ends (or until limits.putStuckMs), because an interrupted system call goes on holding
 * its thread and bytes, unseen. So a hanging bucket fills its slots once and is then left out.
 *
 * A caller that is interrupted leaves its copies running; the segment then is an orphan like any uncommitted one.
 */
import { Cause, Clock, Effect, Exit, type Fiber, Latch, Option, type Scope } from "effect"
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { ObjectStoreError } from "#core/ports/object-store.ts"
import { QuorumNotReached, type SegmentAddress, type SegmentWritten } from "#core/ports/segment-store.ts"
import { segmentKey } from "#core/segment/segment-key.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { mayTry } from "#regions/health.ts"
import { type PutNews, notePut } from "./bucket-presence.ts"
import { type BucketSet, type BucketState, type QuorumCounters } from "./bucket-state.ts"
import { putCopy } from "./copy-put.ts"
import { type MissingCopies } from "./missing-copies.ts"

export interface WriterOptions {
  readonly sets: ReadonlyMap<string, BucketSet>
  readonly counters: QuorumCounters
  readonly missing: MissingCopies
  readonly putTimeoutMs: number
  /** Of the layer: copies that go on in the background live in it. */
  readonly scope: Scope.Scope
}

export interface SegmentWriter {
  readonly write: (
    address: SegmentAddress,
    chunks: ReadonlyArray<Uint8Array>,
    released?: () => void
  ) => Effect.Effect<SegmentWritten, QuorumNotReached>
}

export const make = (options: WriterOptions): SegmentWriter => {
  const writer: Writer = { ...options, late: new Set() }
  return { write: (address, chunks, released = () => {}) => write(writer, { address, chunks, released }) }
}

interface Writer extends WriterOptions {
  /** Copies that go on after their write was answered, oldest first. */
  readonly late: Set<Copy>
}

interface Copy {
  readonly write: Write
  readonly state: BucketState
  readonly domain: string
  status: "waiting" | "running" | "acknowledged" | "failed" | "skipped"
  /** Why it failed or was skipped. */
  failure: string
  startedAtMs: number
  fiber: Fiber.Fiber<void, ObjectStoreError> | undefined
}

interface Write {
  readonly address: SegmentAddress
  readonly key: string
  readonly chunks: ReadonlyArray<Uint8Array>
  readonly byteLength: number
  readonly needed: number
  copies: ReadonlyArray<Copy>
  phase: "open" | "acknowledged" | "failed"
  /** What the caller gets, once it is known. */
  answer: Exit.Exit<SegmentWritten, QuorumNotReached> | undefined
  /** Opened when there is an answer, or more copies to start. */
  readonly news: Latch.Latch
  deadline: Fiber.Fiber<void> | undefined
  isOverdue: boolean
  readonly released: () => void
  /** Puts that have not ended and read the chunks. */
  readers: number
  /** A put was interrupted: its store may go on reading the chunks, and nobody will say when it has ended. */
  isReadUnseen: boolean
  isReleased: boolean
}

const write = Effect.fnUntraced(function* (
  writer: Writer,
  segment: Pick<Write, "address" | "chunks" | "released">
): Effect.fn.Return<SegmentWritten, QuorumNotReached> {
  const { address, chunks } = segment
  const { counters } = writer
  counters.writesStarted++
  const set = writer.sets.get(address.bucketSet)
  if (set === undefined) {
    counters.writesFailed++
    segment.released()
    const failures = [`bucket set ${address.bucketSet} is not in the topology`]
    return yield* new QuorumNotReached({ segmentId: address.segmentId, needed: 1, acked: [], failures })
  }
  const clock = yield* Clock.Clock
  const work: Write = {
    ...segment,
    key: segmentKey(address),
    byteLength: chunks.reduce((bytes, chunk) => bytes + chunk.length, 0),
    needed: set.writes,
    copies: [],
    phase: "open",
    answer: undefined,
    news: Latch.makeUnsafe(false),
    deadline: undefined,
    isOverdue: false,
    readers: 0,
    isReadUnseen: false,
    isReleased: false
  }
  planCopies(writer, work, set, monotonicMsOf(clock))
  failIfHopeless(writer, work)
  while (true) {
    // Uninterruptible up to the wait: half the copies started and no deadline would be worse than all or none.
    yield* startCopies(writer, work, clock).pipe(Effect.uninterruptible)
    if (work.answer !== undefined) return yield* work.answer
    yield* work.news.await
    work.news.closeUnsafe()
  }
})

/** A bucket whose slots or bytes are used up is left out in any case, a suspended one as long as the others suffice. */
const planCopies = (writer: Writer, work: Write, set: BucketSet, nowMs: number): void => {
  work.copies = set.members.map(({ state, domain }): Copy => {
    const refusal = overload(writer, state, work.byteLength) ?? (mayTry(state.putHealth, nowMs) ? "" : SUSPENDED)
    const status = refusal === "" ? "waiting" : "skipped"
    if (status === "skipped") state.counters.putSkips++
    return { write: work, state, domain, status, failure: refusal, startedAtMs: nowMs, fiber: undefined }
  })
}

const SUSPENDED = "left out: it failed before and is tried again later"

const overload = (writer: Writer, state: BucketState, byteLength: number): string | undefined => {
  if (state.unfinishedPuts >= limits.putsInFlightPerBucket) {
    return `left out: ${state.unfinishedPuts} puts have not ended`
  }
  if (state.lateBytes > 0 && writer.counters.lateBytes + byteLength > limits.lateCopyBytes) {
    return `left out: late copies hold ${writer.counters.lateBytes} bytes`
  }
  return undefined
}

/** Other writes may have taken a bucket's last slots since its copy was planned, above all where it was called in. */
const skipOverloaded = (writer: Writer, work: Write): void => {
  for (const copy of work.copies) {
    const refusal = copy.status === "waiting" ? overload(writer, copy.state, work.byteLength) : undefined
    if (refusal === undefined) continue
    copy.status = "skipped"
    copy.failure = refusal
    copy.state.counters.putSkips++
    if (work.phase === "acknowledged") reportMissing(writer, copy)
  }
  failIfHopeless(writer, work)
}

const startCopies = Effect.fnUntraced(function* (writer: Writer, work: Write, clock: Clock.Clock) {
  skipOverloaded(writer, work)
  const starting = work.copies.filter((copy) => copy.status === "waiting")
  if (work.phase === "failed" || starting.length === 0) return
  // All are marked before the first begins: one that fails at once must not make the others look hopeless.
  for (const copy of starting) {
    copy.status = "running"
    copy.startedAtMs = monotonicMsOf(clock)
    copy.state.unfinishedPuts++
    work.readers++
    notePut(copy.state, { event: { kind: "started" } }, copy.startedAtMs)
  }
  for (const copy of starting) {
    const put = putCopy({ store: copy.state.bucket.store, ...work, counters: copy.state.counters }).pipe(
      Effect.timeoutOrElse({ duration: limits.putStuckMs, orElse: () => Effect.fail(stuck(copy)) })
    )
    const fiber = yield* Effect.forkIn(put, writer.scope, { startImmediately: true })
    copy.fiber = fiber
    // An observer, not a finalizer of the effect: it is also called where a closed scope never lets the effect begin.
    fiber.addObserver((exit) => endCopy(writer, copy, exit, clock))
    // The quorum may have become hopeless, and this copy with it, while it was being started.
    if (copyIsPointless(copy)) fiber.interruptUnsafe()
  }
  if (!mayGoOn(work) || work.deadline !== undefined) return
  const deadline = Effect.sleep(writer.putTimeoutMs).pipe(
    Effect.andThen(Effect.sync(() => passDeadline(writer, work, clock)))
  )
  work.deadline = yield* Effect.forkIn(deadline, writer.scope)
})

const stuck = (copy: Copy): ObjectStoreError =>
  new ObjectStoreError({
    reason: "TimedOut",
    outcome: "indefinite",
    operation: "put",
    bucket: copy.state.bucket.name,
    key: copy.write.key,
    cause: new Error(`no answer in ${limits.putStuckMs} ms`)
  })

const endCopy = (writer: Writer, copy: Copy, exit: Exit.Exit<void, ObjectStoreError>, clock: Clock.Clock): void => {
  const { state } = copy
  state.unfinishedPuts--
  assert(state.unfinishedPuts >= 0, "a copy ends once")
  releaseLate(writer, copy)
  if (copy.status === "running") {
    if (Exit.isSuccess(exit)) acknowledgeCopy(writer, copy, clock)
    else failCopy(writer, copy, failureOfCause(copy.write, exit.cause), clock)
  } else if (Exit.isSuccess(exit)) {
    // Given up before and reported as missing: repair will find it there.
    state.counters.putAcks++
    state.counters.putLateAcks++
  }
  if (!mayGoOn(copy.write)) copy.write.deadline?.interruptUnsafe()
  endReading(copy.write, exit)
}

const endReading = (work: Write, exit: Exit.Exit<void, ObjectStoreError>): void => {
  work.readers--
  // Its time-out interrupts a put as well.
  const timedOut =
    Exit.isFailure(exit) && Option.getOrUndefined(Cause.findErrorOption(exit.cause))?.reason === "TimedOut"
  if (timedOut || (Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause))) work.isReadUnseen = true
  releaseIfUnread(work)
}

/** The chunks may change once the last put has ended, and no other will begin. */
const releaseIfUnread = (work: Write): void => {
  if (work.readers > 0 || work.phase === "open" || work.isReadUnseen || work.isReleased) return
  work.isReleased = true
  work.released()
}

const acknowledgeCopy = (writer: Writer, copy: Copy, clock: Clock.Clock): void => {
  const { write: work, state } = copy
  copy.status = "acknowledged"
  state.counters.putAcks++
  const nowMs = monotonicMsOf(clock)
  notePut(state, { event: { kind: "answered", durationMs: nowMs - copy.startedAtMs } }, nowMs)
  if (work.phase !== "open") {
    state.counters.putLateAcks++
    return
  }
  if (domainsOf(work, "acknowledged").size < work.needed) return
  work.phase = "acknowledged"
  writer.counters.writesAcknowledged++
  for (const other of work.copies) {
    if (other.status === "failed" || other.status === "skipped") reportMissing(writer, other)
    else if (other.status === "running") holdLate(writer, other)
  }
  work.answer = Exit.succeed({ ackedBuckets: namesOf(work, "acknowledged") })
  work.news.openUnsafe()
}

const failCopy = (writer: Writer, copy: Copy, failure: CopyFailure, clock: Clock.Clock): void => {
  markFailed(copy, failure, clock)
  if (copy.write.phase === "acknowledged") reportMissing(writer, copy)
  else failIfHopeless(writer, copy.write)
}

const markFailed = (copy: Copy, failure: CopyFailure, clock: Clock.Clock): void => {
  copy.status = "failed"
  copy.failure = failure.text
  copy.state.counters.putFailures++
  notePut(copy.state, failure.news, monotonicMsOf(clock))
}

/** What has not answered by now has failed, though it may go on; what has not begun (called in, but by nobody) does not. */
const passDeadline = (writer: Writer, work: Write, clock: Clock.Clock): void => {
  work.isOverdue = true
  const overdue = work.copies.filter((copy) => copy.status === "running")
  // All are marked before anything is concluded, so that the error tells of each.
  for (const copy of overdue) markFailed(copy, failureOf(`no answer in ${writer.putTimeoutMs} ms`), clock)
  for (const copy of work.copies) {
    if (copy.status !== "waiting") continue
    copy.status = "skipped"
    copy.failure = `left out: called in after ${writer.putTimeoutMs} ms`
    copy.state.counters.putSkips++
  }
  failIfHopeless(writer, work)
  for (const copy of overdue) {
    if (work.phase === "acknowledged") reportMissing(writer, copy)
    else countLate(writer, copy)
  }
}

/**
 * Once the copies that are acknowledged or may still be cannot make W domains: calls in the buckets that were left out on
 * suspicion (they may be well again by now, and suspicion must not cost the quorum), or fails the write.
 */
const failIfHopeless = (writer: Writer, work: Write): void => {
  if (work.phase !== "open") return
  const within = domainsOf(work, "acknowledged", "running", "waiting")
  if (within.size >= work.needed) return
  const reserve = work.isOverdue ? [] : work.copies.filter((copy) => copy.failure === SUSPENDED)
  if (new Set([...within, ...reserve.map((copy) => copy.domain)]).size >= work.needed) {
    for (const copy of reserve) {
      copy.status = "waiting"
      copy.failure = ""
      copy.state.counters.putSkips--
    }
    work.news.openUnsafe()
    return
  }
  work.phase = "failed"
  writer.counters.writesFailed++
  const failures = work.copies.flatMap((copy) =>
    copy.status === "failed" || copy.status === "skipped" ? [`${copy.state.bucket.name}: ${copy.failure}`] : []
  )
  const { segmentId } = work.address
  const error = new QuorumNotReached({ segmentId, needed: work.needed, acked: namesOf(work, "acknowledged"), failures })
  work.answer = Exit.fail(error)
  work.news.openUnsafe()
  // The id is never used again, so finishing the other copies would only make garbage. Those that passed their deadline
  // are stuck: interrupting them would free their slots, not their bytes and system calls.
  if (!work.isOverdue) for (const copy of work.copies) copy.fiber?.interruptUnsafe()
  releaseIfUnread(work)
}

const copyIsPointless = (copy: Copy): boolean => copy.write.phase === "failed"

/** The copy now holds the segment's bytes beyond the write; the oldest such copies give way to it. */
const holdLate = (writer: Writer, copy: Copy): void => {
  countLate(writer, copy)
  for (const oldest of writer.late) {
    // A single segment may be larger than all late copies should be together.
    if (writer.counters.lateBytes <= limits.lateCopyBytes || oldest === copy) break
    if (oldest.write.phase === "failed") continue
    releaseLate(writer, oldest)
    writer.counters.lateCopiesAbandoned++
    // Its end reports it as missing.
    oldest.fiber?.interruptUnsafe()
  }
}

/** Of a write that failed at its deadline the copy gives way to nobody: its bytes keep further ones out (`overload`). */
const countLate = (writer: Writer, copy: Copy): void => {
  if (writer.late.has(copy)) return
  writer.late.add(copy)
  copy.state.lateBytes += copy.write.byteLength
  writer.counters.lateBytes += copy.write.byteLength
}

const releaseLate = (writer: Writer, copy: Copy): void => {
  if (!writer.late.delete(copy)) return
  copy.state.lateBytes -= copy.write.byteLength
  writer.counters.lateBytes -= copy.write.byteLength
}

const reportMissing = (writer: Writer, copy: Copy): void => {
  const { address, key } = copy.write
  copy.state.copiesMissed++
  writer.missing.report({ segmentId: address.segmentId, objectKey: key, bucket: copy.state.bucket.name })
}

const mayGoOn = (work: Write): boolean =>
  work.copies.some((copy) => copy.status === "running" || copy.status === "waiting")

const domainsOf = (work: Write, ...statuses: ReadonlyArray<Copy["status"]>): Set<string> =>
  new Set(work.copies.filter((copy) => statuses.includes(copy.status)).map((copy) => copy.domain))

const namesOf = (work: Write, status: Copy["status"]): ReadonlyArray<string> =>
  work.copies.filter((copy) => copy.status === status).map((copy) => copy.state.bucket.name)

interface CopyFailure {
  readonly text: string
  /** What it says of the bucket. */
  readonly news: PutNews
}

const failureOf = (text: string): CopyFailure => ({ text, news: { event: { kind: "failed" }, why: text } })

const failureOfCause = (work: Write, cause: Cause.Cause<ObjectStoreError>): CopyFailure => {
  const error = Option.getOrUndefined(Cause.findErrorOption(cause))
  if (error === undefined) {
    if (!Cause.hasInterruptsOnly(cause)) return failureOf(Cause.pretty(cause))
    // Where other buckets made the write hopeless, this one is not to blame.
    return work.phase === "failed"
      ? { text: "abandoned", news: { event: { kind: "abandoned" } } }
      : failureOf("given up: too slow, and too many bytes waited for it")
  }
  return error.reason === "StorageFull"
    ? { text: error.message, news: { event: { kind: "gone" }, why: error.message, isFull: true } }
    : failureOf(error.message)
}
