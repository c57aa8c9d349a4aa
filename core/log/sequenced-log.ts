/**
 * The commit log of one shard, sequenced by one of its agents: puts the parts together.
 *
 * The folded log (folded-log.ts) follows what is appended. Commands go through the submitter to whoever sequences; that one
 * runs the sequencer and tells all agents what it appended (herald.ts). An agent that misses the sequencer takes over
 * (succession.ts); one that leaves hands over first. `LogDoor` is what other agents may ask of this one.
 */
import { Clock, Context, Effect, FiberSet, Layer, Random, type Scope } from "effect"
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { decodeCommand, encodeAnswer } from "./command-bytes.ts"
import { type AnswerOf, type Command, type MarkMaterialized, type MarkMaterializedAnswer } from "./command.ts"
import { assertCommand } from "./command-check.ts"
import { CommandQueue, type Outcome } from "./command-queue.ts"
import { CommitLog, type CommitLogError, unavailable } from "./commit-log.ts"
import { type Holder } from "./effect.ts"
import { FoldedLog, guardedLoop } from "./folded-log.ts"
import { Herald } from "./herald.ts"
import { makeMaterializer, type MaterializerOptions } from "./materializer.ts"
import { LogPeers, type Pong, type SubmitReply, type Tidings } from "./log-peers.ts"
import { type LogTail } from "./log-tail.ts"
import { SegmentGate } from "./segment-gate.ts"
import { Sequencer } from "./sequencer.ts"
import { backoff, guarded } from "./store-call.ts"
import { Submitter } from "./submitter.ts"
import {
  heirAtHome,
  heirOnLeaving,
  type Heirs,
  type Presence,
  presenceAfter,
  retryLater,
  type Sighting,
  suspect,
  type Suspicion
} from "./succession.ts"

/** The stream on which another agent's commands come. */
export interface IncomingStream {
  /** Once one was refused, none behind it may be taken. */
  isRefused: boolean
  /** Called once, when the stream is over. Answers with what takes the listener away. */
  readonly onClose: (listener: () => void) => () => void
}

/** What other agents ask of this one. */
export class LogDoor extends Context.Service<
  LogDoor,
  {
    /** Begins at once: the order of the calls is the order of judging. */
    readonly submit: (
      submitted: { readonly command: Uint8Array; readonly epoch: number },
      stream: IncomingStream
    ) => Effect.Effect<SubmitReply>
    /** Answers with the seq that is folded then. */
    readonly tidings: (tidings: Tidings) => number
    readonly ping: () => Pong
  }
>()("meridian/core/log/LogDoor") {}

/** Who sequences, for people and metrics. */
export class SequencerView extends Context.Service<
  SequencerView,
  {
    readonly holder: () => Holder | undefined
    readonly epoch: () => number
    readonly isActing: () => boolean
    /** Commands of all agents that wait here for their entry. */
    readonly waiting: () => number
    /** Commands of this agent that are not settled. */
    readonly unsettled: () => number
  }
>()("meridian/core/log/SequencerView") {}

export interface SequencedLogOptions {
  /** Instead of the limits that it goes by. */
  readonly materializer?: Partial<MaterializerOptions>
  readonly residentRunsRefuse?: number
}

export const layer = (
  options: SequencedLogOptions = {}
): Layer.Layer<CommitLog | LogDoor | SequencerView, never, FoldedLog | LogPeers> => Layer.effectContext(make(options))

interface Parts {
  readonly tail: LogTail
  readonly sequencer: Sequencer
  readonly submitter: Submitter
  readonly herald: Herald
  readonly peers: LogPeers["Service"]
  readonly clock: Clock.Clock
  /** When anything was last heard of the sequencer of this epoch, and when the epoch was folded. */
  heardAtMs: number
  epochSinceMs: number
  /** The epoch in which this agent sequences, as people were told. */
  toldEpoch: number | undefined
  /** Session of the agent to which it hands the log over. */
  heirSession: string | undefined
}

export const make = Effect.fnUntraced(function* (
  options: SequencedLogOptions
): Effect.fn.Return<Context.Context<CommitLog | LogDoor | SequencerView>, never, FoldedLog | LogPeers | Scope.Scope> {
  const { store, tail, writer, logClock } = yield* FoldedLog
  const peers = yield* LogPeers
  const clock = yield* Clock.Clock
  const { name, session, region } = peers.self
  const residentRunsRefuse = options.residentRunsRefuse ?? limits.residentRunsRefuse
  const residentRunsMax = options.materializer?.residentRunsMax ?? limits.residentRunsMax
  assert(residentRunsRefuse >= 2 * residentRunsMax, "there is time to write pages before segments are refused")
  const gate = new SegmentGate(tail.fold, residentRunsRefuse)
  const queue = new CommandQueue(gate)
  const sequencer = new Sequencer({ self: { name, session, region }, clock, logClock, tail, writer, queue })
  const submitter = new Submitter({ tail, sequencer, peers, clock })
  const run = yield* FiberSet.makeRuntime<never, void>()
  const herald = new Herald({ peers, clock, run: (effect) => void run(effect) })
  const nowMs = monotonicMsOf(clock)
  const parts: Parts = {
    tail,
    sequencer,
    submitter,
    herald,
    peers,
    clock,
    heardAtMs: Number.NEGATIVE_INFINITY,
    epochSinceMs: nowMs,
    toldEpoch: undefined,
    heirSession: undefined
  }
  tail.onEpoch(() => {
    parts.epochSinceMs = monotonicMsOf(clock)
    parts.heardAtMs = parts.epochSinceMs
  })
  sequencer.onAppended((rows) => herald.proclaim({ ...wordOf(tail), rows }))
  yield* Effect.forkScoped(guardedLoop(tail, sequencer.run))
  yield* Effect.forkScoped(guardedLoop(tail, submitter.run))
  yield* Effect.forkScoped(guardedLoop(tail, submitter.watchDeadlines))
  yield* Effect.forkScoped(guardedLoop(tail, beat(parts)))
  yield* Effect.forkScoped(guardedLoop(tail, watchSuccession(parts)))
  const materializer = makeMaterializer({
    store,
    fold: () => tail.fold,
    submit: (command) => submitHere(sequencer, command),
    shard: tail.fold.shard,
    options: { homeRegion: peers.homeRegion, ...options.materializer }
  })
  const work = Effect.andThen(noteEpoch(parts, store), Effect.raceFirst(materializer.run, gate.watch))
  yield* Effect.forkScoped(guardedLoop(tail, whileActing(parts, work)))
  // Last, so that it comes first: handing over needs the loops.
  yield* Effect.addFinalizer(() => leave(parts))
  return Context.make(
    CommitLog,
    CommitLog.of({
      submit: (command) => submit(submitter, command),
      fold: tail.fold,
      barrier: tail.barrier,
      nowMs: () => logClock.nowMs(),
      onFolded: (listener) => tail.onFolded(listener)
    })
  ).pipe(
    Context.add(LogDoor, doorOf(parts)),
    Context.add(SequencerView, {
      holder: () => tail.fold.holder,
      epoch: () => tail.fold.epoch,
      isActing: () => sequencer.isActing,
      waiting: () => sequencer.waiting,
      unsettled: () => submitter.unsettledCount
    })
  )
})

const wordOf = ({ fold }: LogTail): { readonly epoch: number; readonly tailSeq: number } => ({
  epoch: fold.epoch,
  tailSeq: fold.seq
})

const submit = <C extends Command>(submitter: Submitter, command: C): Effect.Effect<AnswerOf<C>, CommitLogError> =>
  Effect.callback((resume) => {
    const unsound = defectOf(command)
    if (unsound !== undefined) return resume(Effect.die(unsound))
    const withdraw = submitter.submit(command, (outcome) => {
      if ("answer" in outcome) resume(Effect.succeed(outcome.answer as AnswerOf<C>))
      else resume("error" in outcome ? Effect.fail(outcome.error) : Effect.die(outcome.defect))
    })
    return Effect.sync(withdraw)
  })

/**
 * Of whoever sequences, past its own other commands: those behind which it came may wait for the very room that it makes. Its
 * place among them does not matter to anyone.
 */
const submitHere = (
  sequencer: Sequencer,
  command: MarkMaterialized
): Effect.Effect<MarkMaterializedAnswer, CommitLogError> =>
  Effect.timeoutOrElse(offerUntilTaken(sequencer, command), {
    duration: limits.commandSettleMs,
    orElse: () => Effect.fail(unavailable("indefinite", new Error(`not settled within ${limits.commandSettleMs} ms`)))
  })

const offerUntilTaken = Effect.fnUntraced(function* (sequencer: Sequencer, command: MarkMaterialized) {
  for (let attempt = 1; ; attempt += 1) {
    const outcome = yield* Effect.callback<Outcome>((resume) => {
      const submission = sequencer.offer(command, (ended) => resume(Effect.succeed(ended)))
      return Effect.sync(() => submission.withdraw())
    })
    if (outcome.kind === "answer") return outcome.answer as MarkMaterializedAnswer
    if (outcome.kind === "failed") return yield* Effect.fail(outcome.error)
    if (outcome.kind === "defect") return yield* Effect.die(outcome.defect)
    if (outcome.why === "not-sequencer") return yield* Effect.fail(unavailable("indefinite", new Error(outcome.why)))
    yield* backoff(attempt)
  }
})

/** What is wrong with the command itself, before anyone else's commands are judged with it. */
const defectOf = (command: Command): unknown => {
  try {
    return assertCommand(command)
  } catch (defect) {
    return defect
  }
}

const doorOf = (parts: Parts): LogDoor["Service"] => ({
  submit: (submitted, stream) => submitFromOutside(parts, submitted, stream),
  tidings: (tidings) => {
    const { tail, herald, clock } = parts
    if (tidings.epoch >= tail.fold.epoch) parts.heardAtMs = monotonicMsOf(clock)
    tail.told(tidings.rows, tidings.tailSeq)
    if (tidings.relayTo.length > 0) herald.passOn(tidings)
    return tail.fold.seq
  },
  ping: () => ({ ...wordOf(parts.tail), isActing: isGettingOn(parts.sequencer) })
})

const isGettingOn = (sequencer: Sequencer): boolean =>
  sequencer.isActing && sequencer.settlingMs < limits.sequencerStalledMs

const submitFromOutside = (
  { sequencer, tail }: Parts,
  submitted: { readonly command: Uint8Array; readonly epoch: number },
  stream: IncomingStream
): Effect.Effect<SubmitReply> =>
  Effect.callback((resume) => {
    const answer = (reply: SubmitReply): void => resume(Effect.succeed(reply))
    if (stream.isRefused) return answer({ kind: "refused", why: "a command before it was refused" })
    if (submitted.epoch > tail.fold.epoch) {
      stream.isRefused = true
      return answer({ kind: "refused", why: "another epoch has begun" })
    }
    let command: Command
    try {
      command = decodeCommand(submitted.command)
    } catch (error) {
      stream.isRefused = true
      return answer({ kind: "failed", reason: "Unavailable", outcome: "definite", why: String(error) })
    }
    // A stream lives long: nothing of a command may stay with it when the command is answered.
    let forget: (() => void) | undefined
    const submission = sequencer.offer(command, (outcome) => {
      forget?.()
      const reply = replyOf(command, outcome)
      if (reply.kind !== "answer") stream.isRefused = true
      answer(reply)
    })
    if (!submission.isOver) forget = stream.onClose(() => submission.withdraw())
  })

const replyOf = (command: Command, outcome: Outcome): SubmitReply => {
  switch (outcome.kind) {
    case "answer":
      return { kind: "answer", seq: outcome.seq, answer: encodeAnswer(command, outcome.answer as never) }
    case "refused":
      return { kind: "refused", why: outcome.why }
    case "failed": {
      const { reason, outcome: certainty, cause } = outcome.error
      return { kind: "failed", reason, outcome: certainty, why: String(cause) }
    }
    case "defect":
      return { kind: "failed", reason: "Unavailable", outcome: "indefinite", why: String(outcome.defect) }
  }
}

/** The sequencer says so often that it is there, unless it gets nowhere. */
const beat = Effect.fnUntraced(function* ({ tail, sequencer, herald }: Parts) {
  while (tail.ended === undefined) {
    if (isGettingOn(sequencer)) herald.beat(wordOf(tail))
    yield* Effect.sleep(limits.sequencerBeatMs)
  }
})

/** For people who look at the database. */
const noteEpoch = Effect.fnUntraced(function* ({ tail, peers }: Parts, store: FoldedLog["Service"]["store"]) {
  for (let attempt = 1; ; attempt += 1) {
    const { shard, epoch } = tail.fold
    const noted = yield* Effect.result(
      Effect.flatMap(guarded("shardNotes", store.shardNotes), (notes) => {
        const trimmedSeq = notes.find((note) => note.shard === shard)?.trimmedSeq ?? 0
        const { name: holder, region: holderRegion } = peers.self
        const note = { shard, epoch, holder, holderRegion, homeRegion: peers.homeRegion, trimmedSeq }
        return guarded("noteShard", store.noteShard(note))
      })
    )
    if (noted._tag === "Success") return
    yield* backoff(attempt)
  }
})

/** What the sequencer does beside sequencing: begun when this agent acts, cut off when it does no more. */
const whileActing = Effect.fnUntraced(function* ({ tail, sequencer }: Parts, work: Effect.Effect<never>) {
  const noMore = Effect.gen(function* () {
    while (sequencer.isActing) yield* Effect.sleep(limits.successionLookMs)
  })
  while (tail.ended === undefined) {
    if (sequencer.isActing) yield* Effect.raceFirst(work, noMore)
    yield* Effect.sleep(limits.successionLookMs)
  }
})

const watchSuccession = Effect.fnUntraced(function* (parts: Parts) {
  const { tail, sequencer, peers, clock } = parts
  const startedAtMs = monotonicMsOf(clock)
  let suspicion: Suspicion | undefined
  let presence: Presence = new Map()
  while (tail.ended === undefined) {
    yield* tellChange(parts)
    const nowMs = monotonicMsOf(clock)
    presence = presenceAfter(presence, peers.members(), nowMs)
    if (sequencer.isActing) {
      suspicion = undefined
      const heir = heirAtHome(heirsOf(parts), presence, { nowMs, epochSinceMs: parts.epochSinceMs })
      if (heir !== undefined) yield* handOver(parts, heir)
    } else if (!sequencer.isHolder) {
      const sighting = sightingOf(parts, startedAtMs)
      suspicion = suspect(suspicion, sighting, yield* Random.next)
      if (suspicion === undefined) yield* askIfSilent(parts, sighting)
      else if (nowMs >= suspicion.takeOverAtMs) {
        if (!(yield* takeOver(parts, suspicion))) suspicion = retryLater(suspicion, nowMs, yield* Random.next)
      }
    }
    yield* Effect.sleep(suspicion === undefined ? limits.successionLookMs : limits.successionLookSoonMs)
  }
})

const sightingOf = (parts: Parts, startedAtMs: number): Sighting => {
  const { tail, peers, submitter, clock, heardAtMs } = parts
  const nowMs = monotonicMsOf(clock)
  const { holder, epoch } = tail.fold
  const isAtHome = peers.self.region === peers.homeRegion
  const sighting = { nowMs, epoch, isAtHome, silentMs: nowMs - Math.max(heardAtMs, startedAtMs) }
  if (holder === undefined) return { ...sighting, holder: "none" }
  if (holder.session === peers.self.session) return { ...sighting, holder: "self" }
  const isRefusing = submitter.routeFailure?.session === holder.session && submitter.routeFailure.reason === "Gone"
  const isListed = peers.members().some(({ session }) => session === holder.session)
  // A list that is older than the epoch cannot know an agent that came and took over at once.
  const hasLeft =
    !isListed && peers.membersAskedAtMs() > parts.epochSinceMs && nowMs - heardAtMs > 2 * limits.sequencerBeatMs
  const isPredecessor = holder.name === peers.self.name
  return { ...sighting, holder: isRefusing || hasLeft || isPredecessor ? "gone" : "there" }
}

/** One that is well but does not know this agent yet sends it no beats. Its answer is not waited for when it is suspect anyway. */
const askIfSilent = Effect.fnUntraced(function* (parts: Parts, { silentMs }: Sighting) {
  const { tail, peers, clock } = parts
  const { holder, epoch } = tail.fold
  if (holder === undefined || silentMs < limits.sequencerAskAfterMs) return
  const member = peers.members().find(({ session }) => session === holder.session)
  if (member === undefined) return
  const pong = yield* peers.ping(member).pipe(
    Effect.timeoutOption(Math.min(limits.sequencerAskTimeoutMs, limits.sequencerSilentMs - silentMs)),
    Effect.catch((error) => {
      if (error.reason === "Gone") parts.submitter.routeFailure = { session: holder.session, reason: "Gone" }
      return Effect.succeedNone
    })
  )
  if (pong._tag === "None") return
  tail.heardOf(pong.value.tailSeq)
  if (pong.value.isActing && pong.value.epoch >= epoch) parts.heardAtMs = monotonicMsOf(clock)
})

const takeOver = Effect.fnUntraced(function* ({ tail, sequencer, peers }: Parts, { epoch }: Suspicion) {
  // What is not folded yet may say that another has taken over; without the database there is nothing to take over.
  const isReached = yield* Effect.match(tail.barrier, { onFailure: () => false, onSuccess: () => true })
  if (!isReached || tail.fold.epoch !== epoch) return false
  const { name, region, session } = peers.self
  return (yield* sequencer.beginEpoch({ name, region, session })) === "begun"
})

const tellChange = (parts: Parts): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { sequencer, toldEpoch, heirSession } = parts
    const { shard, epoch, holder } = parts.tail.fold
    if (sequencer.isActing) {
      if (toldEpoch === epoch) return Effect.void
      parts.toldEpoch = epoch
      parts.heirSession = undefined
      return Effect.logInfo("this agent sequences the log now", { shard, epoch })
    }
    if (toldEpoch === undefined || sequencer.isHolder) return Effect.void
    parts.toldEpoch = undefined
    if (holder?.session === heirSession) return Effect.void
    return Effect.logWarning("another agent has taken the log over", { shard, epoch, by: holder?.name })
  })

const heirsOf = ({ peers, herald }: Parts): Heirs => ({
  self: peers.self,
  members: peers.members(),
  isAnswering: (member) => herald.isAnswering(member),
  homeRegion: peers.homeRegion
})

const handOver = Effect.fnUntraced(function* (parts: Parts, heir: Holder) {
  const { tail, sequencer } = parts
  parts.heirSession = heir.session
  const begun = yield* sequencer.beginEpoch(heir)
  if (begun === "not-begun") return
  yield* Effect.logInfo("the log is handed over", { shard: tail.fold.shard, epoch: tail.fold.epoch, to: heir.name })
})

/** Without a word the others would miss the sequencer for a second. */
const leave = (parts: Parts): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { tail, sequencer } = parts
    if (!sequencer.isActing || tail.ended !== undefined) return Effect.void
    const heir = heirOnLeaving(heirsOf(parts))
    if (heir === undefined) return Effect.void
    return Effect.asVoid(Effect.timeoutOption(handOver(parts, heir), limits.handOverMs))
  })
