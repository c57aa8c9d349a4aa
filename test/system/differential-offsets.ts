/** Differential replay: ListOffsets and OffsetForLeaderEpoch, over batches of all codecs. */
import { ListOffsets } from "#core/protocol/api/02-list-offsets.ts"
import { OffsetForLeaderEpoch } from "#core/protocol/api/23-offset-for-leader-epoch.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { type RequestInput } from "#core/protocol/schema.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { versionsOf } from "./differential-cluster.ts"
import { type NewTopic, type Side } from "./differential-side.ts"

type Asked = RequestInput<typeof ListOffsets>["topics"][number]["partitions"][number]

const codecs = [0, 1, 2, 3, 4]
const special = [-1, -2, -3, -4, -5, -6, -7, -100]

export async function offsetsScenario(side: Side): Promise<void> {
  await fill(side, "o-codecs", codecs)
  // One batch: two could get the same time or not.
  await fill(side, "o-append", [1], { configs: { "message.timestamp.type": "LogAppendTime" } })
  await side.createTopic("o-empty")
  await listing(side)
  await epochs(side)
}

/** Times of the records of batch n, n hours before the run and some minutes; not in order, some equal. */
const timesOf = (side: Side, batch: number): ReadonlyArray<number> =>
  [0, 20, 10, 20].map((minutes) => side.nowMs - (10 - batch) * 3_600_000 + minutes * 60_000)

async function fill(side: Side, topic: string, ofCodecs: ReadonlyArray<number>, options: NewTopic = {}): Promise<void> {
  await side.createTopic(topic, options)
  for (const codec of ofCodecs) {
    const records = buildBatch({
      codec,
      records: timesOf(side, codec).map((timestampMs, index) => ({
        key: null,
        value: Buffer.from(`record ${index}`.repeat(10)),
        timestampMs
      }))
    })
    const answer = await side.request(Produce, 9, {
      transactionalId: null,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [{ name: side.topic(topic), partitionData: [{ index: 0, records }] }]
    })
    const { errorCode } = answer.responses[0]!.partitionResponses[0]!
    if (errorCode !== 0) throw new Error(`${side.name} does not take a batch of codec ${codec}: error ${errorCode}`)
  }
}

async function listing(side: Side): Promise<void> {
  const ends = [0, 4].flatMap((batch) => timesOf(side, batch)).flatMap((time) => [time - 1, time, time + 1])
  const times = [...special, 0, 1, ...codecs.flatMap((batch) => timesOf(side, batch)), ...ends, side.nowMs * 2]
  for (const version of versionsOf(ListOffsets)) {
    const ask = (what: string, topic: string, partitions: ReadonlyArray<Asked>, more: object = {}): Promise<void> => {
      const name = topic === "" || topic === "a b" ? topic : side.topic(topic)
      return side.ask(what, ListOffsets, version, { replicaId: -1, topics: [{ name, partitions }], ...more })
    }
    const at = (timestamp: number, partitionIndex = 0): Asked => ({ partitionIndex, timestamp })
    for (const topic of ["o-codecs", "o-append", "o-empty"]) {
      for (const timestamp of new Set(times)) {
        await ask(`${topic} at ${whenOf(side, timestamp)}`, topic, [at(timestamp)])
      }
    }
    if (version >= 2) {
      for (const timestamp of [-1, -3, timesOf(side, 3)[1]!]) {
        await ask(`committed at ${whenOf(side, timestamp)}`, "o-codecs", [at(timestamp)], { isolationLevel: 1 })
      }
    }
    if (version >= 4) {
      for (const currentLeaderEpoch of [-1, 0, 1, 1_000]) {
        await ask(`epoch ${currentLeaderEpoch}`, "o-codecs", [{ ...at(-1), currentLeaderEpoch }])
      }
    }
    await ask("of nothing", "o-codecs", [])
    await ask("partitions that are absent", "o-codecs", [at(-1), at(-1, 1), at(-2, -1)])
    for (const topic of ["absent", "", "a b"]) await ask(`of "${topic}"`, topic, [at(-1)])
    await ask("a partition twice", "o-codecs", [at(-1), at(-2), at(-1, 1)])
    await ask("for debugging", "o-codecs", [at(-1)], { replicaId: -2 })
  }
}

const whenOf = (side: Side, timestamp: number): string =>
  timestamp > 1_000 ? `now - ${(side.nowMs - timestamp) / 1000} s` : String(timestamp)

async function epochs(side: Side): Promise<void> {
  for (const version of versionsOf(OffsetForLeaderEpoch)) {
    const ask = (what: string, topic: string, partitions: ReadonlyArray<readonly [number, number, number]>) =>
      side.ask(what, OffsetForLeaderEpoch, version, {
        ...(version >= 3 ? { replicaId: -1 } : {}),
        topics: [
          {
            topic: topic === "" ? "" : side.topic(topic),
            partitions: partitions.map(([partition, currentLeaderEpoch, leaderEpoch]) => ({
              partition,
              currentLeaderEpoch,
              leaderEpoch
            }))
          }
        ]
      })
    for (const topic of ["o-codecs", "o-empty"]) {
      for (const leaderEpoch of [0, 1, -1, -2, 2_147_483_647]) {
        await ask(`${topic}, epoch ${leaderEpoch}`, topic, [[0, -1, leaderEpoch]])
      }
      for (const current of [-1, 0, 1]) await ask(`${topic}, current ${current}`, topic, [[0, current, 0]])
    }
    await ask("of partitions that are absent", "o-codecs", [
      [1, -1, 0],
      [-1, -1, 0],
      [0, -1, 0]
    ])
    await ask("of an absent topic", "absent", [[0, -1, 0]])
    await ask("of an empty name", "", [[0, -1, 0]])
    await ask("of a partition twice", "o-codecs", [
      [0, -1, 0],
      [0, -1, 5]
    ])
  }
}
