/** The mutations, by the promise that they break. */
import { type Mutation } from "./mutation.ts"

export const MUTATIONS: ReadonlyArray<Mutation> = [
  {
    name: "answer-before-settled",
    doc: "a command is answered when its row is issued, not when it is settled",
    file: "core/log/appender.ts",
    find: "      const judgedFor = this.current\n",
    replace:
      "      const judgedFor = this.current\n      judgedFor.forEach((submission, index) => submission.end({ answer: judged.answers[index]! }))\n",
    scenario: "calm",
    caughtBy: ["acknowledged-before-log"]
  },
  {
    name: "indefinite-is-failure",
    doc: "an append of which nobody knows whether it took effect is told to have failed",
    file: "core/log/appender.ts",
    find: 'if (attempt === 1 && inserted.failure.outcome === "definite") return inserted.failure',
    replace: "if (attempt === 1) return inserted.failure",
    scenario: "database",
    caughtBy: ["definite-failure", "doubled", "fenced", "healthy"]
  },
  {
    name: "quorum-of-one",
    doc: "one bucket is enough",
    file: "replication/quorum/segment-writer.ts",
    find: '  if (domainsOf(work, "acknowledged").size < work.needed) return\n',
    replace: '  if (domainsOf(work, "acknowledged").size < 1) return\n',
    scenario: "calm",
    caughtBy: ["durable-before-log"]
  },
  {
    name: "no-duplicate-check",
    doc: "a batch that comes again is appended again",
    file: "core/log/judge.ts",
    find: "      if (at >= 0)\n",
    replace: "      if (at >= 1_000)\n",
    scenario: "default",
    caughtBy: ["verdicts", "doubled"]
  },
  {
    name: "barrier-from-memory",
    doc: "a linearizable question is answered from what is folded already",
    file: "core/log/log-tail.ts",
    find: "    if (this.barriers.size >= limits.barriersWaiting) return Effect.fail(tooManyBarriers())\n",
    replace: "    if (this.fold.seq > 0) return Effect.void\n",
    scenario: "calm",
    caughtBy: ["visible-at-once"]
  },
  {
    name: "nonce-not-compared",
    doc: "a slot that is taken counts as taken by oneself",
    file: "core/log/log-tail.ts",
    find: "const isMine = slot?.seq === row.seq && slot.nonce === row.nonce",
    replace: "const isMine = slot?.seq === row.seq",
    scenario: "calm",
    caughtBy: ["acknowledged-before-log"]
  },
  {
    name: "followers-not-doomed",
    doc: "what was handed in behind a lost batch of the same producer is committed",
    file: "core/agent/segment-buffer.ts",
    find: "  doomFollowers(state, segment)\n",
    replace: "",
    scenario: "buckets",
    caughtBy: ["fenced", "order"]
  },
  {
    name: "commit-order",
    doc: "segments are committed in the order in which buckets answer",
    file: "core/agent/segment-buffer.ts",
    find: "  yield* Deferred.await(before.submitted)\n",
    replace: "",
    scenario: "buckets",
    caughtBy: ["fenced", "order"]
  }
]
