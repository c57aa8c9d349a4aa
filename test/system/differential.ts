/**
 * Our handlers against a real Apache Kafka: the same requests, in every version that we serve, to both; every answer is
 * compared, and what differs must be one of the gaps below.
 *
 * A gap says why it is meant. One that no longer shows fails the test too: the list stays true.
 */
import { strict as assert } from "node:assert"
import { join } from "node:path"
import { startKafka } from "../peers/apache-kafka/kafka.ts"
import { clusterScenario } from "./differential-cluster.ts"
import { fetchScenario } from "./differential-fetch.ts"
import { type Gap, gaps } from "./differential-gaps.ts"
import { offsetsScenario } from "./differential-offsets.ts"
import { produceScenario } from "./differential-produce.ts"
import { Side } from "./differential-side.ts"
import { topicsScenario } from "./differential-topics.ts"
import { freePorts } from "./harness.ts"
import { type SystemTest } from "./system-test.ts"

const differencesShown = 40
const textShown = 300

export const differential: SystemTest = {
  name: "differential replay: answers as Apache Kafka's",
  needs: ["kafka", "meridian"],
  deadlineMs: 300_000,
  run: async ({ dir, say, startCluster }) => {
    const kafka = await startKafka({ dir: join(dir, "kafka"), port: await freePorts() })
    try {
      const cluster = await startCluster()
      const address = cluster.bootstrap[0]!.split(",")[0]!
      const { differences, compared, unusedGaps } = await replay(portOf(kafka.bootstrap[0]!), portOf(address))
      say(`${compared} answers compared`)
      const shown = differences.slice(0, differencesShown).join("\n")
      assert.equal(differences.length, 0, `${differences.length} differences:\n${shown}`)
      assert.deepEqual(unusedGaps, [], "gaps that no longer show")
    } finally {
      await kafka.stop()
    }
  }
}

export interface Replayed {
  readonly compared: number
  readonly differences: ReadonlyArray<string>
  readonly unusedGaps: ReadonlyArray<string>
}

/** Runs all scenarios on both brokers at once. */
export async function replay(kafkaPort: number, meridianPort: number): Promise<Replayed> {
  const nowMs = Date.now()
  const common = { nowMs, prefix: `d${nowMs.toString(36)}-` }
  const sides = await Promise.all([
    Side.open({ ...common, name: "Apache Kafka", port: kafkaPort }),
    Side.open({ ...common, name: "Meridian", port: meridianPort })
  ])
  try {
    for (const scenario of [clusterScenario, topicsScenario, produceScenario, offsetsScenario, fetchScenario]) {
      await Promise.all(sides.map(scenario))
    }
  } finally {
    for (const side of sides) side.close()
  }
  return judge(sides[0]!.answers, sides[1]!.answers)
}

function judge(theirs: ReadonlyMap<string, unknown>, ours: ReadonlyMap<string, unknown>): Replayed {
  const used = new Set<Gap>()
  const differences: string[] = []
  for (const label of new Set([...theirs.keys(), ...ours.keys()])) {
    for (const { path, their, our } of differencesOf(theirs.get(label), ours.get(label), "")) {
      const gap = gaps.find(({ where }) => where.test(label + path))
      if (gap === undefined) differences.push(`${label}${path}: Kafka ${show(their)}, Meridian ${show(our)}`)
      else used.add(gap)
    }
  }
  const unusedGaps = gaps.filter((gap) => !used.has(gap)).map(({ where }) => String(where))
  return { compared: theirs.size, differences, unusedGaps }
}

interface Difference {
  readonly path: string
  readonly their: unknown
  readonly our: unknown
}

/** The smallest parts that differ, by their paths, such as `/topics/t/partitions/0/errorCode`. */
function differencesOf(their: unknown, our: unknown, path: string): Difference[] {
  if (!isTree(their) || !isTree(our) || Array.isArray(their) !== Array.isArray(our)) {
    return Object.is(their, our) ? [] : [{ path, their, our }]
  }
  if (Array.isArray(their) && Array.isArray(our) && their.length !== our.length) return [{ path, their, our }]
  const keys = new Set([...Object.keys(their), ...Object.keys(our)])
  return [...keys].flatMap((key) => differencesOf(their[key], our[key], `${path}/${nameOf(their[key]) ?? key}`))
}

function isTree(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null
}

function nameOf(value: unknown): string | undefined {
  if (!isTree(value)) return undefined
  const name = value["name"] ?? value["topic"] ?? value["resourceName"] ?? value["key"]
  return typeof name === "string" ? name : undefined
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing"
  return text.length <= textShown ? text : `${text.slice(0, textShown)}… (${text.length} characters)`
}

function portOf(address: string): number {
  return Number(address.split(":").at(-1))
}
