/**
 * The database goes away under load: killed and started again at once, and after a pause; cut off from the sequencer alone;
 * and its connections are reset around commits while sequencers are lost, so that nobody knows whether an append took effect.
 *
 * While it is away nothing is acknowledged, agents hold no more memory, /ready says why and /live stays true, and each of them
 * says so once, not at each attempt. Afterwards everything goes on by itself.
 */
import { strict as assert } from "node:assert"
import { join } from "node:path"
import { installKafka, javaArguments } from "../peers/apache-kafka/installation.ts"
import { delay, type Running, start, stop, waitUntil } from "../peers/child-process.ts"
import { requireQuiet } from "./agent-log.ts"
import { type Agent, type DatabaseCluster, startDatabaseCluster } from "./database-cluster.ts"
import { type Cluster } from "./harness.ts"
import { metadata } from "./metadata-command.ts"
import { flowing, oneInEachRegion, startStreams, type Stream } from "./numbered-streams.ts"
import { type Context, type SystemTest } from "./system-test.ts"
import { seededRandom } from "./seeded-random.ts"
import { enough, judgeAll, loseSequencer, recordsPerSecond, seconds, tellLoss } from "./takeover.ts"

const awayMs = 60_000
const notReadyDeadlineMs = 8_000
/** What had been settled before may arrive so much later. */
const onTheWayMs = 500
const cutTakeoverMsMax = 10_000
const resetChance = 0.15
const resetsMin = 10
const bulkPartitions = 6
const bulkRecordsPerSecond = 4_000
const bulkDeadlineMs = 60_000
const sentPattern = /records sent, (.*\/sec\)),.*\n/
const growthMiBMax = 96

export const killedDatabase: SystemTest = {
  name: "database-outage: the server is killed under load",
  needs: ["postgresql", "kcat", "kafka", "confluent-kafka", "meridian"],
  deadlineMs: 400_000,
  run: async (context) => {
    const database = await startDatabaseCluster(context)
    const streams = await startStreams(context, database.cluster, { plans: oneInEachRegion, recordsPerSecond, enough })
    const bulk = await startBulk(context, database.cluster)
    const pids = database.agents.map(({ pid }) => pid())
    for (const pauseMs of [0, awayMs]) {
      await outage(context, database, streams, pauseMs)
      await database.allReady()
    }
    assert.deepEqual(
      database.agents.map(({ pid }) => pid()),
      pids,
      "no agent has ended over it"
    )
    await stop(bulk)
    await judgeAll(context, database, streams)
    await showToOperator(context, database.cluster)
  }
}

async function showToOperator(context: Context, { dir }: Cluster): Promise<void> {
  const config = ["--config", join(dir, "topology.yaml")]
  const status = await metadata(["status", ...config])
  for (const line of status.text.trimEnd().split("\n")) context.say(line)
  // The shards come first, and name an agent too.
  const agents = status.text.slice(status.text.indexOf("clients"))
  assert.equal((agents.match(/^\d+ +\S+-1 +/gm) ?? []).length, 3, "three agents are alive")
  assert.match((await metadata(["check", ...config])).text, /can be used/)
  assert.match((await metadata(["migrate", ...config])).text, /nothing to do: schema version \d+/)
}

/** So many bytes a second that an agent which kept what it cannot commit would grow. Nobody judges these records. */
async function startBulk(context: Context, cluster: Cluster): Promise<Running> {
  await cluster.createTopic("bulk", bulkPartitions)
  const load = ["--record-size", "1000", "--throughput", String(bulkRecordsPerSecond), "--num-records", "100000000"]
  const properties = [`bootstrap.servers=${cluster.bootstrapOfAll}`, "acks=all", "request.timeout.ms=5000"]
  const program = [...javaArguments(`${await installKafka()}/*`, 256), "org.apache.kafka.tools.ProducerPerformance"]
  const args = [...program, "--topic", "bulk", ...load, "--producer-props", ...properties]
  let heard = ""
  const logFile = join(context.dir, "bulk.log")
  const bulk = start("java", args, { logFile, onStdout: (text) => void (heard += text) })
  context.onEnd(() => stop(bulk))
  await waitUntil(`the bulk producer has sent for some seconds (see ${logFile})`, bulkDeadlineMs, () => {
    assert(bulk.isRunning(), `the bulk producer has ended, see ${logFile}`)
    return sentPattern.test(heard)
  })
  context.say(`bulk load: ${sentPattern.exec(heard)?.[1]}`)
  return bulk
}

export const cutSequencer: SystemTest = {
  name: "database-outage: the sequencer alone is cut off",
  needs: ["postgresql", "kcat", "kafka", "confluent-kafka", "meridian"],
  deadlineMs: 300_000,
  run: async (context) => {
    const database = await startDatabaseCluster(context)
    const streams = await startStreams(context, database.cluster, { plans: oneInEachRegion, recordsPerSecond, enough })
    for (const kind of ["refuse", "hang"] as const) {
      const { proxy, log } = database
      const logBefore = log().length
      const loss = await loseSequencer(database, `database connections ${kind}`, ({ application }) =>
        proxy.setFor(application, { kind })
      )
      const { lost, takeoverMs } = loss
      await flowing(
        streams.filter(({ region }) => region !== lost.region),
        enough
      )
      await notReady(lost)
      proxy.setFor(lost.application, undefined)
      await flowing(streams, enough)
      tellLoss(context, streams, loss)
      assert(takeoverMs <= cutTakeoverMsMax, `nobody took over for ${seconds(takeoverMs)}`)
      context.say(`${requireQuiet(log().slice(logBefore))} warnings in the agents' logs`)
      await database.allReady()
    }
    await judgeAll(context, database, streams)
  }
}

export const resetConnections: SystemTest = {
  name: "database-outage: connections are reset around commits, and sequencers are lost",
  needs: ["postgresql", "kcat", "kafka", "confluent-kafka", "meridian"],
  deadlineMs: 300_000,
  run: async (context) => {
    const random = seededRandom(context)
    const database = await startDatabaseCluster(context)
    const { proxy } = database
    const streams = await startStreams(context, database.cluster, { plans: oneInEachRegion, recordsPerSecond, enough })
    proxy.set({ kind: "resets", statement: "append", chance: resetChance, random })
    for (const signal of ["SIGKILL", "SIGSTOP", "SIGKILL"] as const) {
      await delay(random() * 1_000)
      const loss = await loseSequencer(database, signal, (agent) => agent.signal(signal))
      if (signal === "SIGSTOP") loss.lost.signal("SIGCONT")
      await flowing(streams, enough)
      tellLoss(context, streams, loss)
      await database.allReady()
    }
    proxy.set({ kind: "pass" })
    const { before, after } = proxy.resets()
    context.say(`${before} appends were cut off before they reached the server, ${after} before their answer came back`)
    assert(before >= resetsMin && after >= resetsMin, "too few resets to say anything")
    await judgeAll(context, database, streams)
  }
}

async function outage(
  context: Context,
  { server, agents, log }: DatabaseCluster,
  streams: readonly Stream[],
  pauseMs: number
): Promise<void> {
  const before = agents.map(({ rssMiB }) => rssMiB())
  const logBefore = log().length
  await server.kill("SIGKILL")
  const atMs = Date.now()
  if (pauseMs > 0) {
    await Promise.all(agents.map(notReady))
    await delay(Math.max(0, atMs + pauseMs - Date.now()))
  }
  const during = agents.map(({ rssMiB }) => rssMiB())
  const startedAtMs = Date.now()
  await server.startAgain()
  await flowing(streams, enough)
  for (const { topic, producer } of streams) {
    const early = producer.acknowledged.filter((ack) => ack.atMs > atMs + onTheWayMs && ack.atMs < startedAtMs)
    assert.deepEqual(early, [], `${topic}: acknowledged without a database`)
  }
  const back = streams.map(({ producer }) => {
    const first = producer.acknowledged.find((ack) => ack.atMs >= startedAtMs)
    return (first?.atMs ?? Number.NaN) - startedAtMs
  })
  context.say(
    `server away for ${seconds(startedAtMs - atMs)} and its start; first acknowledgements ${back.map(seconds).join(", ")} after that; ` +
      `memory of agents ${before.join(", ")} MiB before, ${during.join(", ")} MiB at the end of it`
  )
  for (const [index, { name }] of agents.entries()) {
    const grown = (during[index] ?? 0) - (before[index] ?? 0)
    assert(grown <= growthMiBMax, `${name} has grown by ${grown} MiB while the database was away`)
  }
  context.say(`${requireQuiet(log().slice(logBefore))} warnings in the agents' logs`)
}

/** Says why, and that it is alive. */
async function notReady({ name, http }: Agent): Promise<void> {
  await waitUntil(`${name} says that the database does not answer`, notReadyDeadlineMs, async () => {
    const { status, text } = await http("/ready")
    return status === 503 && /the database has not answered for \d+ s/.test(text)
  })
  assert.equal((await http("/live")).status, 200, `${name} is alive`)
}
