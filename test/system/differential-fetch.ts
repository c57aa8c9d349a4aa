/** Differential replay: Fetch, every version. */
import { UUID_ZERO } from "#core/model/uuid.ts"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { type RequestInput } from "#core/protocol/schema.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { UNKNOWN_ID, versionsOf } from "./differential-cluster.ts"
import { type Side } from "./differential-side.ts"

type Request = RequestInput<typeof Fetch>
type Partition = Request["topics"][number]["partitions"][number]

/** First version with topic ids instead of names. */
const FETCH_IDS = 13
const valueBytes = 1_000
const batches = 5
const recordsPerBatch = 3
const longWaitMs = 20_000
const recordCount = batches * recordsPerBatch

export async function fetchScenario(side: Side): Promise<void> {
  await fill(side)
  for (const version of versionsOf(Fetch)) {
    await offsets(side, version)
    await limitsOf(side, version)
    await absent(side, version)
    if (version >= 7) await sessions(side, version)
    if (version >= 9) await epochs(side, version)
    await replicas(side, version)
    await deletion(side, version)
  }
}

/** A consumer's ids are -1 and, for debugging, -2; brokers fetch otherwise. */
async function replicas(side: Side, version: number): Promise<void> {
  const f2 = request(version, of(side, version, "f2", from(12)))
  for (const replicaId of [-2, -3]) {
    const body = version < 15 ? { ...f2, replicaId } : { ...f2, replicaState: { replicaId, replicaEpoch: -1 } }
    await side.ask(`replica ${replicaId}`, Fetch, version, body)
  }
}

/** A long poll whose topic is deleted meanwhile ends at once. */
async function deletion(side: Side, version: number): Promise<void> {
  const name = `f-deleted-v${version}`
  await side.createTopic(name)
  const body = request(version, of(side, version, name, from(0)), of(side, version, "f2", from(recordCount)))
  const startedMs = performance.now()
  const waiting = side.ask("of a topic that is deleted meanwhile", Fetch, version, { ...body, maxWaitMs: longWaitMs })
  await side.deleteBeside(name)
  await waiting
  const hasEndedAtOnce = performance.now() - startedMs < longWaitMs / 2
  side.answers.set(`Fetch v${version} of a topic that is deleted meanwhile, at once`, hasEndedAtOnce)
}

async function fill(side: Side): Promise<void> {
  await side.createTopic("f1", { partitions: 2 })
  await side.createTopic("f2")
  await side.createTopic("f-empty")
  for (let batch = 0; batch < batches; batch++) {
    const records = buildBatch({
      records: Array.from({ length: recordsPerBatch }, (_, index) => ({
        key: null,
        value: Buffer.alloc(valueBytes, `${batch}${index}`)
      })),
      timestampMs: side.nowMs - 1_000_000 + batch
    })
    for (const [name, index] of [
      ["f1", 0],
      ["f1", 1],
      ["f2", 0]
    ] as const) {
      await side.request(Produce, 9, {
        transactionalId: null,
        acks: -1,
        timeoutMs: 30_000,
        topicData: [{ name: side.topic(name), partitionData: [{ index, records }] }]
      })
    }
  }
}

const from = (fetchOffset: number, more: Partial<Partition> = {}): Partition => ({
  partition: 0,
  fetchOffset,
  partitionMaxBytes: 1_000_000,
  ...more
})

const of = (side: Side, version: number, name: string, ...partitions: ReadonlyArray<Partition>) =>
  version >= FETCH_IDS ? { topicId: side.idOf(name), partitions } : { topic: side.topic(name), partitions }

const request = (version: number, ...topics: Request["topics"]): Request => ({
  ...(version < 15 ? { replicaId: -1 } : {}),
  maxWaitMs: 0,
  minBytes: 1,
  topics,
  ...(version < 7 ? {} : { forgottenTopicsData: [] })
})

async function offsets(side: Side, version: number): Promise<void> {
  const f1 = (...partitions: ReadonlyArray<Partition>) => request(version, of(side, version, "f1", ...partitions))
  const ask = (what: string, body: Request): Promise<void> => side.ask(what, Fetch, version, body)
  for (const offset of [0, 1, recordsPerBatch, recordCount - 1, recordCount, recordCount + 1, -1, 2 ** 52]) {
    await ask(`from ${offset}`, f1(from(offset)))
    await ask(`committed from ${offset}`, { ...f1(from(offset)), isolationLevel: 1 })
  }
  await ask("of an empty topic", request(version, of(side, version, "f-empty", from(0))))
  await ask("of an empty topic, from 1", request(version, of(side, version, "f-empty", from(1))))
  await ask("a short wait at the end", { ...f1(from(recordCount)), maxWaitMs: 20 })
  await ask("no bytes wanted", { ...f1(from(recordCount)), maxWaitMs: 20_000, minBytes: 0 })
  await ask("of two topics", request(version, of(side, version, "f2", from(0)), of(side, version, "f1", from(3))))
  await ask("an error ends the wait", {
    ...f1(from(recordCount), from(99, { partition: 1 })),
    maxWaitMs: 20_000
  })
  await ask("the same partition twice", f1(from(12), from(0)))
  if (version >= 5) await ask("from a log start", f1(from(0, { logStartOffset: 5 })))
}

async function limitsOf(side: Side, version: number): Promise<void> {
  const both = (a: number, b: number) =>
    request(
      version,
      of(side, version, "f1", from(0, { partitionMaxBytes: a }), from(0, { partition: 1, partitionMaxBytes: b }))
    )
  const ask = (what: string, body: Request): Promise<void> => side.ask(what, Fetch, version, body)
  await ask("one byte per partition", both(1, 1))
  await ask("no byte per partition", both(0, 0))
  await ask("negative bytes per partition", both(-1, -1))
  await ask("two batches per partition", both(7_000, 7_000))
  await ask("one byte in all", { ...both(1_000_000, 1_000_000), maxBytes: 1 })
  await ask("no byte in all", { ...both(1_000_000, 1_000_000), maxBytes: 0 })
  await ask("negative bytes in all", { ...both(1_000_000, 1_000_000), maxBytes: -1 })
  await ask("the second partition's rest", { ...both(4_000, 1_000_000), maxBytes: 11_000 })
  await ask("at the end first", {
    ...request(version, of(side, version, "f1", from(recordCount), from(0, { partition: 1, partitionMaxBytes: 1 }))),
    maxBytes: 1
  })
}

async function absent(side: Side, version: number): Promise<void> {
  const ask = (what: string, ...topics: Request["topics"]): Promise<void> =>
    side.ask(what, Fetch, version, request(version, ...topics))
  const f2 = of(side, version, "f2", from(12))
  await ask("of nothing")
  await ask(
    "of absent partitions",
    of(side, version, "f1", from(0, { partition: 2 }), from(0, { partition: -1 }), from(12))
  )
  if (version >= FETCH_IDS) {
    await ask("of absent topics", { topicId: UNKNOWN_ID, partitions: [from(0)] }, f2)
    await ask("of the zero id", { topicId: UUID_ZERO, partitions: [from(0)] }, f2)
    return
  }
  for (const name of ["absent", "", "a b"]) {
    await ask(`of "${name}"`, { topic: name === "absent" ? side.topic(name) : name, partitions: [from(0)] }, f2)
  }
}

async function sessions(side: Side, version: number): Promise<void> {
  const f2 = request(version, of(side, version, "f2", from(12)))
  for (const [sessionId, sessionEpoch] of [
    [0, -1],
    [0, 0],
    [0, 1],
    [77, 0],
    [77, 1],
    [77, -1],
    [0, -2],
    [-5, 3]
  ] as const) {
    await side.ask(`session ${sessionId}, epoch ${sessionEpoch}`, Fetch, version, { ...f2, sessionId, sessionEpoch })
  }
}

async function epochs(side: Side, version: number): Promise<void> {
  const ask = (what: string, more: Partial<Partition>): Promise<void> =>
    side.ask(what, Fetch, version, request(version, of(side, version, "f2", from(12, more))))
  for (const currentLeaderEpoch of [0, 1, 1_000, -2])
    await ask(`current epoch ${currentLeaderEpoch}`, { currentLeaderEpoch })
  if (version < 12) return
  for (const lastFetchedEpoch of [0, 1, -2]) await ask(`last epoch ${lastFetchedEpoch}`, { lastFetchedEpoch })
  await ask("last epoch 0, current 0", { lastFetchedEpoch: 0, currentLeaderEpoch: 0 })
}
