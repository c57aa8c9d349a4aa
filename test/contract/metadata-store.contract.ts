/**
 * What every metadata store must do (core/ports/metadata-store.ts), as one suite.
 *
 * Method: the suite is a function of a factory; each test has an empty store of its own and sees it through the port only.
 * Real time: a store's clock is its own. Waiting is for a state, with the test's time as its bound.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import {
  type AgentRegistration,
  type LogRow,
  type MetadataError,
  type MissingCopy
} from "#core/ports/metadata-store.ts"
import { checkpoints } from "./metadata-store-checkpoints.contract.ts"
import { indexPages, shardNotes, trimming } from "./metadata-store-history.contract.ts"
import { assertDies, fill, type Make, nonceOf, readAll, rowOf, type Store } from "./metadata-store-rows.ts"

export interface MetadataStoreContract {
  readonly name: string
  /** An empty store of its own for each test. */
  readonly make: Make
}

export const metadataStoreContract = ({ name, make }: MetadataStoreContract): void => {
  describe(`metadata store contract: ${name}`, () => {
    unsoundArguments(make)
    appending(make)
    reading(make)
    membership(make)
    missingCopies(make)
    trimming(make)
    checkpoints(make)
    indexPages(make)
    shardNotes(make)
  })
}

const unsoundArguments = (make: Make): void => {
  describe("refuses as a programmer's error", () => {
    const rows: ReadonlyArray<readonly [what: string, row: LogRow]> = [
      ["a seq below 1", rowOf(1, { seq: 0 })],
      ["a seq that is no whole number", rowOf(1, { seq: 1.5 })],
      ["a shard below 0", rowOf(1, { shard: -1 })],
      ["an epoch below 0", rowOf(1, { epoch: -1 })],
      ["a nonce that is no UUID", rowOf(1, { nonce: "x" })],
      ["an entry without bytes", rowOf(1, { entry: new Uint8Array(0) })],
      ["an entry above the limit", rowOf(1, { entry: new Uint8Array(limits.entryBytesMax + 1) })]
    ]
    for (const [what, row] of rows) {
      it.live(`${what}, and writes nothing`, () =>
        Effect.gen(function* () {
          const store = yield* make
          yield* assertDies(store.append(row))
          assert.deepEqual(yield* store.tail(0), { seq: 0, nonce: UUID_ZERO })
        })
      )
    }

    it.live("lists without a bound, and agents without a name", () =>
      Effect.gen(function* () {
        const store = yield* make
        const calls: ReadonlyArray<Effect.Effect<unknown, MetadataError>> = [
          store.read({ shard: 0, after: 0, limit: 0 }),
          store.read({ shard: 0, after: 0, limit: limits.logRowsPerRead + 1 }),
          store.missingCopies({ limit: 0 }),
          store.register(agentOf("", 1), 1_000),
          store.register({ ...agentOf("a", 1), port: 65_536 }, 1_000),
          store.register({ ...agentOf("a", 1), peerPort: 65_536 }, 1_000)
        ]
        for (const call of calls) yield* assertDies(call)
      })
    )
  })
}

const appending = (make: Make): void => {
  describe("append", () => {
    it.live("takes a slot once: the second writer is told, and changes nothing", () =>
      Effect.gen(function* () {
        const store = yield* make
        assert.equal(yield* store.append(rowOf(1)), "appended")
        assert.equal(yield* store.append(rowOf(1, { nonce: nonceOf(99), entry: Buffer.from("other") })), "taken")
        assert.equal(yield* store.append(rowOf(1)), "taken", "also one's own row again")
        const [row, ...more] = yield* readAll(store)
        assert.deepEqual([row!.nonce, Buffer.from(row!.entry).toString(), more.length], [nonceOf(1), "entry 1", 0])
      })
    )

    it.live("gives a slot to one of many writers, and every slot to someone", () =>
      Effect.gen(function* () {
        const store = yield* make
        const writers = 8
        const won: Array<string> = []
        for (let seq = 1; seq <= 20; seq += 1) {
          const outcomes = yield* Effect.forEach(
            Array.from({ length: writers }, (_, writer) => nonceOf(seq * 1_000 + writer)),
            (nonce) => Effect.map(store.append(rowOf(seq, { nonce })), (outcome) => ({ outcome, nonce })),
            { concurrency: "unbounded" }
          )
          const winners = outcomes.filter(({ outcome }) => outcome === "appended")
          assert.equal(winners.length, 1)
          won.push(winners[0]!.nonce)
        }
        assert.deepEqual(
          (yield* readAll(store)).map((row) => row.nonce),
          won
        )
      })
    )

    it.live("is seen by every read and tail that comes after it", () =>
      Effect.gen(function* () {
        const store = yield* make
        for (let seq = 1; seq <= 50; seq += 1) {
          yield* store.append(rowOf(seq))
          const [tail, rows] = yield* Effect.all([store.tail(0), readAll(store, seq - 1)], { concurrency: "unbounded" })
          assert.deepEqual(tail, { seq, nonce: nonceOf(seq) })
          assert.deepEqual(
            rows.map((row) => row.seq),
            [seq]
          )
        }
      })
    )

    it.live("keeps all fields, and the caller its bytes", () =>
      Effect.gen(function* () {
        const store = yield* make
        const around = Buffer.from("0123456789")
        const row = rowOf(1, { shard: 3, epoch: 2 ** 40, entry: around.subarray(2, 5) })
        yield* store.append(row)
        around.fill("x")
        assert.equal(around.toString(), "xxxxxxxxxx")
        const [read] = yield* store.read({ shard: 3, after: 0, limit: 1 })
        assert.deepEqual({ ...read!, entry: Buffer.from(read!.entry).toString() }, { ...row, entry: "234" })
      })
    )

    it.live("keeps an entry of the largest size", () =>
      Effect.gen(function* () {
        const store = yield* make
        const entry = Buffer.alloc(limits.entryBytesMax, 7)
        entry.writeUInt32BE(0xcafebabe, entry.length - 4)
        assert.equal(yield* store.append(rowOf(1, { entry })), "appended")
        const [row] = yield* readAll(store)
        assert.isTrue(entry.equals(Buffer.from(row!.entry)))
      })
    )
  })
}

const reading = (make: Make): void => {
  describe("now", () => {
    it.live("is a time that goes on: milliseconds since 1970, whole", () =>
      Effect.gen(function* () {
        const store = yield* make
        const before = yield* store.now
        assert.isTrue(Number.isSafeInteger(before))
        assert.isAbove(before, Date.UTC(2020))
        let after = yield* store.now
        while (after <= before) after = yield* store.now
        assert.isBelow(after - before, 60_000)
      })
    )
  })

  describe("read and tail", () => {
    it.live("of an empty log give nothing", () =>
      Effect.gen(function* () {
        const store = yield* make
        assert.deepEqual(yield* readAll(store), [])
        assert.deepEqual(yield* store.tail(0), { seq: 0, nonce: UUID_ZERO })
      })
    )

    it.live("keep shards apart", () =>
      Effect.gen(function* () {
        const store = yield* make
        yield* fill(store, 3, 0)
        yield* fill(store, 2, 1)
        assert.equal((yield* store.tail(0)).seq, 3)
        assert.equal((yield* store.tail(1)).seq, 2)
        assert.equal((yield* store.tail(2)).seq, 0)
        assert.deepEqual(
          (yield* store.read({ shard: 1, after: 0, limit: 10 })).map((row) => row.shard),
          [1, 1]
        )
      })
    )

    it.live("page in order, after the given seq, at most as many as asked", () =>
      Effect.gen(function* () {
        const store = yield* make
        yield* fill(store, 25)
        const seen: Array<number> = []
        for (;;) {
          const page = yield* readAll(store, seen.at(-1) ?? 0, 10)
          assert.isAtMost(page.length, 10)
          if (page.length === 0) break
          seen.push(...page.map((row) => row.seq))
        }
        assert.deepEqual(
          seen,
          Array.from({ length: 25 }, (_, index) => index + 1)
        )
        assert.deepEqual(yield* readAll(store, 25), [])
        assert.deepEqual(yield* readAll(store, 1_000), [])
      })
    )

    it.live("stop at so many bytes of entries, but give at least one row", () =>
      Effect.gen(function* () {
        const store = yield* make
        const large = Buffer.alloc(limits.entryBytesMax, 1)
        for (let seq = 1; seq <= 4; seq += 1) yield* store.append(rowOf(seq, { entry: large }))
        const page = yield* readAll(store)
        const bytes = page.reduce((sum, row) => sum + row.entry.length, 0)
        assert.isAtMost(bytes, limits.logBytesPerRead)
        assert.isAtLeast(page.length, 1)
        assert.equal((yield* readAll(store, page.length)).length, 4 - page.length)
      })
    )
  })
}

const agentOf = (name: string, session: number): AgentRegistration => ({
  name,
  session: nonceOf(session),
  region: "east",
  zone: "east-1",
  host: `${name}.example`,
  port: 9_092,
  peerHost: `${name}.peer.example`,
  peerPort: 7_092
})

const LONG_MS = 600_000

const namesOf = (store: Store) => Effect.map(store.agents, (agents) => agents.map((agent) => agent.name))

/** Until the agents are those; the test's own time is the bound. */
const untilNames = (store: Store, expected: ReadonlyArray<string>) =>
  Effect.repeat(namesOf(store), { until: (names) => names.join() === expected.join() })

const membership = (make: Make): void => {
  describe("membership", () => {
    it.live("gives each name a node id of its own, the same for ever", () =>
      Effect.gen(function* () {
        const store = yield* make
        const names = ["c", "a", "b"]
        const ids = yield* Effect.forEach(names, (name, n) => store.register(agentOf(name, n), LONG_MS))
        assert.equal(new Set(ids).size, 3)
        for (const id of ids) assert.isTrue(Number.isSafeInteger(id) && id >= 0)
        yield* store.deregister(agentOf("c", 0))
        assert.equal(yield* store.register(agentOf("d", 9), LONG_MS), Math.max(...ids) + 1, "an id is not given again")
        assert.equal(yield* store.register(agentOf("c", 10), LONG_MS), ids[0])
        const agents = yield* store.agents
        assert.deepEqual(
          agents.map((agent) => agent.nodeId),
          [...ids, Math.max(...ids) + 1].toSorted((a, b) => a - b)
        )
        assert.deepEqual(
          agents.find((agent) => agent.name === "c"),
          { ...agentOf("c", 10), nodeId: ids[0]! }
        )
      })
    )

    it.live("gives agents that come at once different ids", () =>
      Effect.gen(function* () {
        const store = yield* make
        const names = Array.from({ length: 20 }, (_, n) => `agent-${n}`)
        const ids = yield* Effect.forEach(names, (name, n) => store.register(agentOf(name, n), LONG_MS), {
          concurrency: "unbounded"
        })
        assert.equal(new Set(ids).size, names.length)
      })
    )

    it.live("ends when it is not renewed in time, and goes on when it is", () =>
      Effect.gen(function* () {
        const store = yield* make
        yield* store.register(agentOf("stays", 1), 50)
        yield* store.register(agentOf("goes", 2), 50)
        assert.equal(yield* store.renew(agentOf("stays", 1), LONG_MS), "renewed")
        yield* untilNames(store, ["stays"])
        assert.equal(yield* store.renew(agentOf("goes", 2), LONG_MS), "renewed", "nobody took its name")
        assert.deepEqual(yield* namesOf(store), ["stays", "goes"])
      })
    )

    it.live("belongs to the latest session of a name: earlier ones are told, and can end nothing", () =>
      Effect.gen(function* () {
        const store = yield* make
        yield* store.register(agentOf("a", 1), LONG_MS)
        const moved = { ...agentOf("a", 2), port: 9_999, peerHost: "elsewhere", peerPort: 0 }
        yield* store.register(moved, LONG_MS)
        assert.equal(yield* store.renew(agentOf("a", 1), LONG_MS), "superseded")
        yield* store.deregister(agentOf("a", 1))
        const [agent] = yield* store.agents
        assert.deepEqual(agent, { ...moved, nodeId: agent!.nodeId })
        assert.equal(yield* store.renew(agentOf("a", 2), LONG_MS), "renewed")
      })
    )

    it.live("ends at once by a clean stop, and a late renewal does not bring it back", () =>
      Effect.gen(function* () {
        const store = yield* make
        yield* store.register(agentOf("a", 1), LONG_MS)
        yield* store.deregister(agentOf("a", 1))
        assert.deepEqual(yield* store.agents, [])
        assert.equal(yield* store.renew(agentOf("a", 1), LONG_MS), "superseded")
        assert.deepEqual(yield* store.agents, [])
        assert.equal(yield* store.renew(agentOf("nobody", 1), LONG_MS), "superseded")
      })
    )
  })
}

const missingCopies = (make: Make): void => {
  const copyOf = (segment: number, bucket: string): MissingCopy => ({
    segmentId: nonceOf(segment),
    objectKey: `segments/${segment}`,
    bucket
  })

  describe("missing copies", () => {
    it.live("are recorded once, and forgotten once, however often that is asked", () =>
      Effect.gen(function* () {
        const store = yield* make
        const [one, two] = [copyOf(1, "east"), copyOf(2, "east")]
        yield* store.recordMissingCopies([one, two])
        yield* store.recordMissingCopies([two, one, one])
        yield* store.recordMissingCopies([])
        assert.deepEqual(yield* store.missingCopies({ limit: 10 }), [one, two])
        yield* store.forgetMissingCopies([one, copyOf(3, "east"), copyOf(2, "west")])
        yield* store.forgetMissingCopies([one])
        assert.deepEqual(yield* store.missingCopies({ limit: 10 }), [two])
      })
    )

    it.live("page in order of segment and bucket", () =>
      Effect.gen(function* () {
        const store = yield* make
        const copies = [1, 2, 3, 4].flatMap((segment) => ["east", "north", "west"].map((name) => copyOf(segment, name)))
        yield* store.recordMissingCopies(copies.toReversed())
        const seen: Array<MissingCopy> = []
        for (;;) {
          const after = seen.at(-1)
          const page = yield* store.missingCopies({ limit: 5, ...(after === undefined ? {} : { after }) })
          assert.isAtMost(page.length, 5)
          if (page.length === 0) break
          seen.push(...page)
        }
        assert.deepEqual(seen, copies)
      })
    )
  })
}
