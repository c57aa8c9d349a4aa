/**
 * Goal: of a command that was sent before, nobody is told "surely not" by one who knows nothing of that time.
 * Method: the submitter alone, before agents that say what they are told to.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { encodeAnswer } from "#core/log/command-bytes.ts"
import { type CommitLogError } from "#core/log/commit-log.ts"
import { type LogPeers, LogPeerError, type SubmitReply } from "#core/log/log-peers.ts"
import { type LogTail } from "#core/log/log-tail.ts"
import { type Sequencer } from "#core/log/sequencer.ts"
import { Submitter, type SubmitOutcome } from "#core/log/submitter.ts"
import { batchOf, commitOf, runOf } from "./log-builders.ts"
import { inTime, setClock } from "./log-harness.ts"

const HOLDER = { name: "b", session: "b".repeat(32), region: "home", nodeId: 2 }
const COMMAND = commitOf(1, [runOf([batchOf()])])
const REFUSED: SubmitReply = { kind: "failed", reason: "Unavailable", outcome: "definite", why: "a right is missing" }
const TOO_LATE: SubmitReply = {
  kind: "answer",
  seq: 5,
  answer: encodeAnswer(COMMAND, {
    runs: COMMAND.runs.map(({ batches }) =>
      batches.map(() => ({ verdict: "tooLate" as const, baseOffset: -1, appendTimeMs: -1 }))
    )
  })
}

/** Each stream answers with what is next; "lost": its end, without an answer. */
const submitOne = Effect.fnUntraced(function* (replies: ReadonlyArray<SubmitReply | "lost">) {
  yield* setClock
  const fold = { seq: 10, epoch: 1, holder: HOLDER }
  const tail = { ended: undefined, fold, onFolded() {}, onEpoch() {}, onEnded() {}, heardOf() {} }
  const sequencer = { isHolder: false, isActing: false, onActing() {} }
  let opened = 0
  const peers = {
    self: { name: "a", session: "a".repeat(32), region: "west", nodeId: 1 },
    homeRegion: "home",
    members: () => [HOLDER],
    openStream: () =>
      Effect.sync(() => {
        const reply = replies[opened++]!
        const lost = new LogPeerError({ reason: "Unreachable", member: "b", cause: new Error("lost") })
        return { onClosed() {}, send: () => (reply === "lost" ? Effect.fail(lost) : Effect.succeed(reply)) }
      })
  }
  const submitter = new Submitter({
    tail: tail as unknown as LogTail,
    sequencer: sequencer as unknown as Sequencer,
    peers: peers as unknown as LogPeers["Service"],
    clock: yield* Clock.Clock
  })
  yield* Effect.forkChild(submitter.run, { startImmediately: true })
  const outcome = yield* inTime(
    Effect.callback<SubmitOutcome>((resume) => {
      submitter.submit(COMMAND, (said) => resume(Effect.succeed(said)))
    })
  )
  return { outcome, opened }
})

const errorOf = (outcome: SubmitOutcome): CommitLogError => {
  assert("error" in outcome)
  return outcome.error
}

describe("a command that was sent", () => {
  it.effect("once is refused as surely as the sequencer says", () =>
    Effect.gen(function* () {
      const { outcome } = yield* submitOne([REFUSED])
      assert.strictEqual(errorOf(outcome).outcome, "definite")
    })
  )

  it.effect("before may be in the log, whatever the next sequencer could not do", () =>
    Effect.gen(function* () {
      const { outcome, opened } = yield* submitOne(["lost", REFUSED])
      assert.strictEqual(opened, 2)
      assert.strictEqual(errorOf(outcome).outcome, "indefinite")
    })
  )

  it.effect("once and is too late is told so; before, that an earlier attempt may have been in time", () =>
    Effect.gen(function* () {
      const once = yield* submitOne([TOO_LATE])
      assert.isTrue("answer" in once.outcome)
      const again = yield* submitOne(["lost", TOO_LATE])
      assert.strictEqual(errorOf(again.outcome).outcome, "indefinite")
    })
  )
})
