/**
 * An agent's commands on their way to whoever sequences the shard: here or at another agent, now or after a takeover.
 *
 * Invariants: commands are judged in the order of the calls, over refusals, lost connections and changes of the sequencer:
 * there is one stream at a time, whatever was sent on a stream that ended is sent again on the next, in order, before
 * anything newer (go-back-N). That is safe because a command that took effect already is recognised: segments and topics by
 * their ids, the rest by `mayBeDone`. A segment that fails, or whose time is over, takes those behind it along, so that none of
 * them is judged without it. Every command is answered once; at most limits.commandsUnsettled are not.
 */
import { type Clock, Effect, FiberSet, Latch, Result, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { type AnswerOf, type Command } from "./command.ts"
import { decodeAnswer, encodeCommand } from "./command-bytes.ts"
import { type Outcome, type Submission } from "./command-queue.ts"
import { CommitLogError, unavailable } from "./commit-log.ts"
import { type Answer } from "./judge.ts"
import { type LogMember, type LogPeerError, type LogPeers, type SubmitReply } from "./log-peers.ts"
import { type LogTail } from "./log-tail.ts"
import { type Sequencer } from "./sequencer.ts"

export type SubmitOutcome =
  | { readonly answer: Answer }
  | { readonly error: CommitLogError }
  | { readonly defect: unknown }

interface Pending {
  command: Command
  readonly resume: (outcome: SubmitOutcome) => void
  readonly deadlineMs: number
  /** How often it was sent: after the first time it may have been judged. */
  sends: number
  isOver: boolean
}

/** Answered by an entry that is not folded here yet. */
interface Answered {
  readonly pending: Pending
  readonly answer: Answer
  readonly seq: number
  readonly untilMs: number
}

interface Route {
  readonly member: LogMember
  readonly epoch: number
}

/** Where commands go at present. The first refusal or failure ends it. */
interface Stream {
  readonly send: (pending: Pending) => void
}

/** Why the sequencer could not be reached, for whoever judges whether it is alive. */
export interface RouteFailure {
  readonly session: string
  readonly reason: LogPeerError["reason"]
}

export class Submitter {
  /** Of the last attempt to reach the present holder; undefined while it is reached. */
  routeFailure: RouteFailure | undefined
  private readonly tail: LogTail
  private readonly sequencer: Sequencer
  private readonly peers: LogPeers["Service"]
  private readonly clock: Clock.Clock
  private unsettled: Array<Pending> = []
  private answered: Array<Answered> = []
  private stream: Stream | undefined
  private streamEpoch = -1
  private readonly changed = Latch.makeUnsafe()
  private readonly waiting = Latch.makeUnsafe()
  /** Ends the present stream. */
  private endStream: (() => void) | undefined

  constructor(parts: {
    readonly tail: LogTail
    readonly sequencer: Sequencer
    readonly peers: LogPeers["Service"]
    readonly clock: Clock.Clock
  }) {
    this.tail = parts.tail
    this.sequencer = parts.sequencer
    this.peers = parts.peers
    this.clock = parts.clock
    this.tail.onFolded(({ seq }) => {
      if (this.answered.length > 0) this.resumeFolded(seq)
    })
    this.tail.onEpoch(() => this.reroute())
    this.sequencer.onActing(() => this.reroute())
    this.tail.onEnded((error) => this.endAll(error))
  }

  get unsettledCount(): number {
    return this.unsettled.length
  }

  /** Answers with what withdraws it. */
  submit(command: Command, resume: (outcome: SubmitOutcome) => void): () => void {
    if (this.tail.ended !== undefined) {
      resume({ error: this.tail.ended })
      return () => {}
    }
    if (this.unsettled.length >= limits.commandsUnsettled) {
      resume({ error: overloaded() })
      return () => {}
    }
    const deadlineMs = monotonicMsOf(this.clock) + limits.commandSettleMs
    const pending: Pending = { command, resume, deadlineMs, sends: 0, isOver: false }
    this.unsettled.push(pending)
    this.waiting.openUnsafe()
    this.stream?.send(pending)
    return () => {
      pending.isOver = true
    }
  }

  /** The way may have changed: another holder, or one that can be reached now. */
  reroute(): void {
    const route = this.stream === undefined ? undefined : this.route()
    if (this.stream === undefined || route === undefined || route.epoch !== this.streamEpoch) this.endStream?.()
    this.changed.openUnsafe()
  }
  /** Keeps a stream to whoever sequences. Never ends by itself, unless the log ends. */
  readonly run: Effect.Effect<void> = Effect.suspend(() => this.runUntilEnded())

  /** Tells those whose time is over. Never ends by itself, unless the log ends. */
  readonly watchDeadlines: Effect.Effect<void> = Effect.suspend(() => this.watchUntilEnded())

  private readonly runUntilEnded = Effect.fnUntraced(function* (this: Submitter) {
    let failures = 0
    while (this.tail.ended === undefined) {
      this.changed.closeUnsafe()
      const route = this.route()
      if (route === undefined) {
        failures = 0
        // The list of members changes without telling.
        yield* Effect.raceFirst(this.changed.await, Effect.sleep(limits.submitRetryMaxMs))
        continue
      }
      const startedMs = monotonicMsOf(this.clock)
      const used = yield* Effect.result(Effect.scoped(this.use(route)))
      if (Result.isFailure(used)) {
        this.routeFailure = { session: route.member.session, reason: used.failure.reason }
        yield* Effect.logDebug("the sequencer is not reached", { error: used.failure.message })
      }
      const lastedMs = monotonicMsOf(this.clock) - startedMs
      failures = lastedMs > limits.submitRetryMaxMs ? 1 : failures + 1
      const pauseMs = Math.min(limits.submitRetryMaxMs, limits.submitRetryMs * 2 ** Math.min(failures - 1, 10))
      if (this.route()?.epoch === route.epoch) yield* Effect.raceFirst(this.changed.await, Effect.sleep(pauseMs))
    }
  })

  /** The holder, if it is there and can be asked. */
  private route(): Route | undefined {
    const { holder, epoch } = this.tail.fold
    if (holder === undefined) return undefined
    if (this.sequencer.isHolder) return this.sequencer.isActing ? { member: this.peers.self, epoch } : undefined
    const member = this.peers.members().find(({ name, session }) => name === holder.name && session === holder.session)
    return member === undefined ? undefined : { member, epoch }
  }

  /** Sends what is not settled, and then what comes, until the stream ends. */
  private readonly use = Effect.fnUntraced(function* (
    this: Submitter,
    route: Route
  ): Effect.fn.Return<void, LogPeerError, Scope.Scope> {
    const ended = Latch.makeUnsafe()
    const end = () => ended.openUnsafe()
    // From here on: another epoch must also end an attempt to connect.
    this.endStream = end
    const isLocal = route.member.session === this.peers.self.session
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        this.stream = undefined
        this.endStream = undefined
      })
    )
    const opening = isLocal ? this.openLocal(end) : this.openRemote(route.member, end)
    const stream = yield* Effect.raceFirst(opening, Effect.as(ended.await, undefined))
    if (stream === undefined || this.route()?.epoch !== route.epoch) return
    this.routeFailure = undefined
    this.streamEpoch = route.epoch
    this.stream = stream
    for (const pending of this.unsettled.slice()) if (this.stream === stream) stream.send(pending)
    yield* ended.await
  })

  private openLocal(end: () => void): Effect.Effect<Stream, never, Scope.Scope> {
    const submissions = new Set<Submission>()
    const drain = new Drain(end)
    const close = () => {
      drain.stop()
      for (const submission of submissions) submission.withdraw()
    }
    const send = (pending: Pending): void => {
      if (drain.isStopped || pending.isOver) return
      drain.began()
      // A refusal comes before `offer` returns.
      let submission: Submission | undefined
      submission = this.sequencer.offer(this.toSend(pending), (outcome) => {
        if (submission !== undefined) submissions.delete(submission)
        if (outcome.kind === "refused") drain.stop()
        else this.take(pending, outcome)
        drain.ended()
      })
      if (!submission.isOver) submissions.add(submission)
    }
    return Effect.as(
      Effect.addFinalizer(() => Effect.sync(close)),
      { send }
    )
  }

  private readonly openRemote = Effect.fnUntraced(function* (this: Submitter, member: LogMember, end: () => void) {
    const stream = yield* this.peers.openStream(member)
    // A fiber begins at once, so that the order of the calls is the order on the wire.
    const run = yield* FiberSet.makeRuntime<never, void>()
    const drain = new Drain(end)
    stream.onClosed(() => {
      drain.stop()
      end()
    })
    const send = (pending: Pending): void => {
      if (drain.isStopped || pending.isOver) return
      drain.began()
      const command = this.toSend(pending)
      const call = Effect.matchEffect(stream.send(encodeCommand(command), this.tail.fold.epoch), {
        onFailure: () => Effect.sync(end),
        onSuccess: (reply) =>
          Effect.sync(() => {
            const outcome = outcomeOf(command, reply)
            if (outcome.kind === "refused") drain.stop()
            else this.take(pending, outcome)
            drain.ended()
          })
      })
      run(call)
    }
    return { send }
  })

  private toSend(pending: Pending): Command {
    const { command } = pending
    if (pending.sends > 0 && (command.kind === "delete-topic" || command.kind === "create-partitions")) {
      pending.command = { ...command, mayBeDone: true }
    }
    pending.sends += 1
    return pending.command
  }

  /** The sequencer's word on a command. */
  private take(pending: Pending, said: Settled): void {
    if (!this.forget(pending)) return
    // Whoever said it knows nothing of the times before.
    const outcome = pending.sends > 1 ? uncertain(pending.command, said) : said
    if (outcome.kind === "failed") {
      this.end(pending, { error: outcome.error })
      if (pending.command.kind === "commit-segment") this.failSegments()
      return
    }
    if (outcome.kind === "defect") {
      this.end(pending, { defect: outcome.defect })
      if (pending.command.kind === "commit-segment") this.failSegments()
      return
    }
    const { answer, seq } = outcome
    if (this.tail.fold.seq >= seq) return this.end(pending, { answer })
    const untilMs = monotonicMsOf(this.clock) + limits.answerFoldWaitMs
    this.answered.push({ pending, answer, seq, untilMs })
    this.tail.heardOf(seq)
  }

  private resumeFolded(foldedSeq: number): void {
    const { answered } = this
    this.answered = answered.filter(({ seq }) => seq > foldedSeq)
    for (const { pending, answer, seq } of answered) if (seq <= foldedSeq) this.end(pending, { answer })
  }

  private forget(pending: Pending): boolean {
    const index = this.unsettled.indexOf(pending)
    if (index >= 0) this.unsettled.splice(index, 1)
    return index >= 0
  }

  private end(pending: Pending, outcome: SubmitOutcome): void {
    if (pending.isOver) return
    pending.isOver = true
    pending.resume(outcome)
  }

  private readonly watchUntilEnded = Effect.fnUntraced(function* (this: Submitter) {
    while (this.tail.ended === undefined) {
      this.waiting.closeUnsafe()
      if (this.unsettled.length === 0 && this.answered.length === 0) {
        yield* this.waiting.await
        continue
      }
      yield* Effect.sleep(DEADLINE_CHECK_MS)
      this.expire(monotonicMsOf(this.clock))
    }
  })

  private expire(nowMs: number): void {
    // It is settled: only the fold here is late, which must not hold up an answer for ever.
    const late = this.answered.filter(({ untilMs }) => untilMs <= nowMs)
    this.answered = this.answered.filter(({ untilMs }) => untilMs > nowMs)
    for (const { pending, answer } of late) this.end(pending, { answer })
    this.unsettled = this.unsettled.filter((pending) => !(pending.isOver && pending.sends === 0))
    // All have the same time, so the oldest go first.
    for (let first = this.unsettled[0]; first !== undefined && first.deadlineMs <= nowMs; first = this.unsettled[0]) {
      if (first.command.kind === "commit-segment") this.failSegments()
      else {
        this.forget(first)
        this.end(first, { error: notSettled(first.sends > 0 ? "indefinite" : "definite") })
      }
    }
  }

  /**
   * A segment behind one that was not settled must not be: a producer that is not known may begin anywhere, so its second
   * batch would be accepted without its first.
   */
  private failSegments(): void {
    const over = this.unsettled.filter(({ command }) => command.kind === "commit-segment")
    this.unsettled = this.unsettled.filter(({ command }) => command.kind !== "commit-segment")
    for (const pending of over) this.end(pending, { error: notSettled(pending.sends > 0 ? "indefinite" : "definite") })
    // What the sequencer has of them and did not judge yet, it forgets with the stream.
    this.endStream?.()
  }

  private endAll(error: CommitLogError): void {
    const over = this.unsettled
    this.unsettled = []
    for (const { pending, answer } of this.answered.splice(0)) this.end(pending, { answer })
    for (const pending of over) {
      const outcome = pending.sends > 0 ? "indefinite" : "definite"
      this.end(pending, { error: new CommitLogError({ reason: error.reason, outcome, cause: error.cause }) })
    }
    this.endStream?.()
    this.changed.openUnsafe()
    this.waiting.openUnsafe()
  }
}

type Settled = Exclude<Outcome, { readonly kind: "refused" }>

/** Of a command that was sent before: "surely not" may only be said where it was never judged, or was remembered. */
const uncertain = (command: Command, said: Settled): Settled => {
  if (said.kind === "failed" && said.error.outcome === "definite") {
    const { reason, cause } = said.error
    return { kind: "failed", error: new CommitLogError({ reason, outcome: "indefinite", cause }) }
  }
  if (said.kind !== "answer" || command.kind !== "commit-segment") return said
  const { runs } = said.answer as AnswerOf<typeof command>
  if (runs[0]?.[0]?.verdict !== "tooLate") return said
  const cause = new Error("the segment is too old to be committed, and whether an earlier attempt did so is forgotten")
  return { kind: "failed", error: unavailable("indefinite", cause) }
}

/**
 * The end of a stream: after a refusal nothing more is sent, but what was taken before is waited for. To give that up as well
 * would, at a full queue, be to come again with as much for ever.
 */
class Drain {
  isStopped = false
  private underWay = 0
  private readonly end: () => void

  constructor(end: () => void) {
    this.end = end
  }

  began(): void {
    this.underWay += 1
  }

  ended(): void {
    this.underWay -= 1
    if (this.isStopped && this.underWay === 0) this.end()
  }

  stop(): void {
    this.isStopped = true
  }
}

const DEADLINE_CHECK_MS = 100

const outcomeOf = (command: Command, reply: SubmitReply): Outcome => {
  switch (reply.kind) {
    case "refused":
      return { kind: "refused", why: "not-sequencer" }
    case "failed": {
      const { reason, outcome, why } = reply
      return { kind: "failed", error: new CommitLogError({ reason, outcome, cause: new Error(why) }) }
    }
    case "answer":
      try {
        return { kind: "answer", seq: reply.seq, answer: decodeAnswer(command, reply.answer) }
      } catch (defect) {
        return { kind: "defect", defect }
      }
  }
}

const overloaded = (): CommitLogError => {
  const cause = new Error(`${limits.commandsUnsettled} commands are not settled yet`)
  return new CommitLogError({ reason: "Overloaded", outcome: "definite", cause })
}

const notSettled = (outcome: "definite" | "indefinite"): CommitLogError =>
  unavailable(outcome, new Error(`the command was not settled within ${limits.commandSettleMs} ms`))
