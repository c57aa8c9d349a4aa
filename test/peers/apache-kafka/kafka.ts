/**
 * A real Apache Kafka in KRaft mode on loopback, and its command-line tools.
 *
 * One process is broker and controller. Each node has a port for clients and one for controllers; brokers talk to each
 * other on the client port. A cluster that is stopped keeps its data: starting it again in the same folder goes on.
 * Invariant: a node that was started here is ended by `stop`, or with this process at the latest.
 */
import { randomBytes } from "node:crypto"
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Finished, type Running, start, stop, waitUntil } from "../child-process.ts"
import { installKafka, javaArguments, runJava } from "./installation.ts"

export interface KafkaOptions {
  /** Data, logs and configuration of the cluster. */
  readonly dir: string
  /** Clients on `port`, `port + 1`, … (one per node); controllers on the ports after those. */
  readonly port: number
  readonly nodes?: number
  /** Lines of server.properties; they win over what stands here. */
  readonly properties?: Readonly<Record<string, string>>
  readonly heapMiB?: number
}

export interface KafkaCluster {
  /** One address per node. */
  readonly bootstrap: readonly string[]
  readonly pids: readonly number[]
  readonly kill: (node: number, signal: NodeJS.Signals) => void
  readonly stop: () => Promise<void>
}

const startDeadlineMs = 60_000
const tools: Readonly<Record<string, string>> = {
  "api-versions": "org.apache.kafka.tools.BrokerApiVersionsCommand",
  cluster: "org.apache.kafka.tools.ClusterTool",
  configs: "kafka.admin.ConfigCommand",
  "console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
  "console-producer": "org.apache.kafka.tools.ConsoleProducer",
  "consumer-perf": "org.apache.kafka.tools.ConsumerPerformance",
  "delete-records": "org.apache.kafka.tools.DeleteRecordsCommand",
  features: "org.apache.kafka.tools.FeatureCommand",
  "get-offsets": "org.apache.kafka.tools.GetOffsetShell",
  "producer-perf": "org.apache.kafka.tools.ProducerPerformance",
  topics: "org.apache.kafka.tools.TopicCommand",
  "verifiable-producer": "org.apache.kafka.tools.VerifiableProducer"
}

/** Runs one of Kafka's tools by the name of its shell script without `kafka-` and `.sh`. */
export async function kafkaTool(
  name: string,
  args: readonly string[],
  options: { readonly deadlineMs: number; readonly input?: Buffer | string; readonly heapMiB?: number }
): Promise<Finished> {
  const main = tools[name]
  if (main === undefined) throw new Error(`no tool ${name}: one of ${Object.keys(tools).join(", ")}`)
  return await runJava(`${await installKafka()}/*`, main, args, options)
}

/** Starts a cluster and returns when every node said that it is up. */
export async function startKafka(options: KafkaOptions): Promise<KafkaCluster> {
  const nodes = options.nodes ?? 1
  const jars = await installKafka()
  mkdirSync(options.dir, { recursive: true })
  for (let node = 0; node < nodes; node++) writeFileSync(propertiesFile(options.dir, node), properties(options, node))
  if (!existsSync(join(options.dir, "node-0", "meta.properties"))) await format(options, jars)
  const running: Running[] = []
  try {
    for (let node = 0; node < nodes; node++) running.push(await launch(options, jars, node))
    for (let node = 0; node < nodes; node++) await ready(options.dir, node, running)
  } catch (error) {
    await Promise.all(running.map(stop))
    throw error
  }
  return {
    bootstrap: running.map((_, node) => `127.0.0.1:${options.port + node}`),
    pids: running.map(({ pid }) => pid),
    kill: (node, signal) => running[node]?.kill(signal),
    stop: async () => {
      await Promise.all(running.map(stop))
    }
  }
}

async function launch(options: KafkaOptions, jars: string, node: number): Promise<Running> {
  const args = [...javaArguments(`${jars}/*`, options.heapMiB ?? 512), "kafka.Kafka", propertiesFile(options.dir, node)]
  // Truncated: the line that says "up" must be of this start.
  writeFileSync(logFile(options.dir, node), "")
  return start("java", args, { logFile: logFile(options.dir, node) })
}

async function ready(dir: string, node: number, running: readonly Running[]): Promise<void> {
  const log = logFile(dir, node)
  await waitUntil(`node ${node} of Apache Kafka starts (see ${log})`, startDeadlineMs, () => {
    if (readFileSync(log, "utf8").includes("Kafka Server started")) return true
    if (running[node]?.isRunning() === true) return false
    throw new Error(`node ${node} of Apache Kafka ended:\n${readFileSync(log, "utf8").slice(-2_000)}`)
  })
}

/** All nodes get the same cluster id and the same first controllers, or they will not find each other. */
async function format(options: KafkaOptions, jars: string): Promise<void> {
  const nodes = options.nodes ?? 1
  const cluster = uuid()
  const controllers = Array.from({ length: nodes }, (_, node) => `${node}@${controllerOf(options, node)}:${uuid()}`)
  const list = controllers.join(",")
  await Promise.all(
    controllers.map((_, node) =>
      runJava(
        `${jars}/*`,
        "kafka.tools.StorageTool",
        ["format", "-t", cluster, "-c", propertiesFile(options.dir, node), "--initial-controllers", list],
        { deadlineMs: startDeadlineMs }
      )
    )
  )
}

function properties(options: KafkaOptions, node: number): string {
  const nodes = options.nodes ?? 1
  const replicas = String(Math.min(nodes, 3))
  const minIsr = nodes < 3 ? "1" : "2"
  const controllers = Array.from({ length: nodes }, (_, other) => controllerOf(options, other))
  const client = `127.0.0.1:${options.port + node}`
  const settings: Record<string, string> = {
    "process.roles": "broker,controller",
    "node.id": String(node),
    "log.dirs": join(options.dir, `node-${node}`),
    listeners: `CLIENT://${client},CONTROLLER://${controllerOf(options, node)}`,
    "advertised.listeners": `CLIENT://${client}`,
    "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "CLIENT",
    "controller.listener.names": "CONTROLLER",
    "controller.quorum.bootstrap.servers": controllers.join(","),
    "default.replication.factor": replicas,
    "min.insync.replicas": minIsr,
    "offsets.topic.replication.factor": replicas,
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": replicas,
    "transaction.state.log.min.isr": minIsr,
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    ...options.properties
  }
  return Object.entries(settings)
    .map(([key, value]) => `${key}=${value}\n`)
    .join("")
}

function controllerOf(options: KafkaOptions, node: number): string {
  return `127.0.0.1:${options.port + (options.nodes ?? 1) + node}`
}

/** Kafka's own form of a UUID; the letter in front keeps it from looking like an option. */
function uuid(): string {
  return `M${randomBytes(15).toString("base64url")}A`
}

function propertiesFile(dir: string, node: number): string {
  return join(dir, `node-${node}.properties`)
}

function logFile(dir: string, node: number): string {
  return join(dir, `node-${node}.log`)
}
