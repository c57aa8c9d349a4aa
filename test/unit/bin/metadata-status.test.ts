/** Goal: an operator sees what the database holds, and how far behind what is materialised is. Method: a store in memory. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as memory from "#backends/metadata/memory.ts"
import { statusText } from "../../../bin/metadata-status.ts"
import { fill, nonceOf, writeCheckpoint } from "../../contract/metadata-store-rows.ts"

const TOPOLOGY = { cluster: "orders", home: "east" }

/** Cells of the lines, by their column's title. */
const tableOf = (text: string, first: string): ReadonlyArray<Readonly<Record<string, string>>> => {
  const lines = text.split("\n")
  const start = lines.findIndex((line) => line.startsWith(first))
  const titles = lines[start]!.split(/ {2,}/)
  const end = lines.indexOf("", start)
  return lines.slice(start + 1, end).map((line) => {
    const cells = line.split(/ {2,}/)
    return Object.fromEntries(titles.map((title, index) => [title, cells[index] ?? ""]))
  })
}

describe("the status of a metadata database", () => {
  it.effect("of an empty one has one shard without rows, and no agents", () =>
    Effect.gen(function* () {
      const text = yield* statusText(yield* memory.make, TOPOLOGY)
      assert.match(text, /^cluster orders, home region east\n/)
      assert.deepInclude(tableOf(text, "shard")[0], { shard: "0", holder: "-", epoch: "-", "last seq": "-", rows: "0" })
      assert.match(text, /no agent is alive/)
    })
  )

  it.effect("has each shard's holder, rows, newest checkpoint, trim and lag", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      yield* fill(store, 20)
      yield* fill(store, 3, 2)
      yield* writeCheckpoint(store, { shard: 0, seq: 8, chunks: [Buffer.from("a")] })
      yield* writeCheckpoint(store, { shard: 0, seq: 15, chunks: [Buffer.from("b")] })
      yield* store.trim({ shard: 0, through: 12 })
      const note = { epoch: 4, holder: "west-1", holderRegion: "west", homeRegion: "east" }
      yield* store.noteShard({ ...note, shard: 0, trimmedSeq: 12 })
      yield* store.noteShard({ ...note, shard: 2, epoch: 1, trimmedSeq: 0 })
      const [first, second] = tableOf(yield* statusText(store, TOPOLOGY), "shard")
      assert.deepEqual(first, {
        shard: "0",
        holder: "west-1",
        region: "west",
        home: "east",
        epoch: "4",
        "first seq": "13",
        "last seq": "20",
        rows: "8",
        checkpoint: "15",
        trimmed: "12",
        lag: "5"
      })
      assert.deepInclude(second, {
        shard: "2",
        epoch: "1",
        "first seq": "1",
        "last seq": "3",
        checkpoint: "-",
        lag: "3"
      })
    })
  )

  it.effect("has the agents that are alive, with their addresses", () =>
    Effect.gen(function* () {
      const store = yield* memory.make
      const agent = { session: nonceOf(1), region: "east", zone: "east-a", host: "10.0.0.1", port: 9092 }
      yield* store.register({ ...agent, name: "east-1", peerHost: "10.0.0.1", peerPort: 7092 }, 60_000)
      yield* store.register({ ...agent, name: "east-2", session: nonceOf(2), peerHost: "", peerPort: 0 }, 60_000)
      yield* store.deregister({ name: "east-1", session: nonceOf(1) })
      assert.deepEqual(tableOf(yield* statusText(store, TOPOLOGY), "node"), [
        { node: "2", agent: "east-2", region: "east", zone: "east-a", clients: "10.0.0.1:9092", peers: "-" }
      ])
    })
  )
})
