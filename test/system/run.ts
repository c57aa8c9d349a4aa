/**
 * Runs the system tests, one after another: `npm run test:system [-- OPTIONS] [NAME…]`.
 *
 *   NAME              only tests whose name holds one of these
 *   --list            names, needs, and whether they can run here
 *   --against kafka   a real Apache Kafka of three nodes instead of Meridian: to try the tests themselves
 *   --keep            leaves the folders of all tests, not only of failed ones
 *
 * Prints PASS, FAIL or SKIP with a reason and the time, and ends with a line alone, `N passed, N failed, N skipped`.
 * Exit code 1 when a test failed, 2 for wrong options or no test. Whatever happens, nothing that was started lives on.
 */
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { killAll } from "../peers/child-process.ts"
import { benchmarkSmoke } from "./benchmark-smoke.ts"
import { azureStore, gcsStore } from "./cloud-stores.ts"
import { confluentKafka, franzGo, javaConsole, kafkajs, platformatic } from "./clients.ts"
import { agentWaits } from "./database-agents.ts"
import { cockroachdbContainer, cockroachdbStore, postgresStore } from "./database-store.ts"
import { cutSequencer, killedDatabase, resetConnections } from "./database-outage.ts"
import { differential } from "./differential.ts"
import { type Cluster, startCluster } from "./harness.ts"
import { kafkaTools } from "./kafka-tools.ts"
import { leaders } from "./leaders.ts"
import { messageSchema } from "./message-schema.ts"
import { s3OnS3Proxy } from "./object-store.ts"
import {
  bucketOutage,
  randomKills,
  regionOutage,
  regionOutageOnPostgres,
  totalOutage,
  totalOutageOnPostgres
} from "./outage.ts"
import { realInput } from "./real-input.ts"
import { type Against, Requirements } from "./requirements.ts"
import { segmentInspection } from "./segment-inspection.ts"
import { sqlGrammar } from "./sql-grammar.ts"
import { type Context, type SystemTest } from "./system-test.ts"
import { frozenSequencer, killedSequencer } from "./takeover.ts"

/** Short ones first: what is broken altogether shows early. */
const tests: readonly SystemTest[] = [
  messageSchema,
  sqlGrammar,
  agentWaits,
  postgresStore,
  cockroachdbStore,
  cockroachdbContainer,
  s3OnS3Proxy,
  gcsStore,
  azureStore,
  differential,
  leaders,
  kafkajs,
  platformatic,
  confluentKafka,
  franzGo,
  javaConsole,
  kafkaTools,
  segmentInspection,
  realInput,
  regionOutage,
  bucketOutage,
  totalOutage,
  randomKills,
  regionOutageOnPostgres,
  totalOutageOnPostgres,
  killedSequencer,
  frozenSequencer,
  killedDatabase,
  cutSequencer,
  resetConnections,
  benchmarkSmoke
]

const logLinesShown = 15
const stopDeadlineMs = 30_000

interface Options {
  readonly against: Against
  readonly keep: boolean
  readonly list: boolean
  readonly names: readonly string[]
}

interface Count {
  passed: number
  failed: number
  skipped: number
}

async function main(): Promise<number> {
  const options = readOptions()
  const chosen = tests.filter(({ name }) => options.names.length === 0 || options.names.some((n) => name.includes(n)))
  if (chosen.length === 0) throw new UsageError(`no test has a name with ${options.names.join(" or ")}`)
  const requirements = new Requirements(options.against)
  if (options.list) {
    for (const { name, needs } of chosen) {
      const reason = await requirements.missing(needs)
      console.log(`${name}\n  needs ${needs.join(", ")}${reason === undefined ? "" : `; cannot run: ${reason}`}`)
    }
    return 0
  }
  const base = mkdtempSync(join(tmpdir(), "meridian-system-"))
  const count: Count = { passed: 0, failed: 0, skipped: 0 }
  for (const [index, test] of chosen.entries()) {
    const reason = await requirements.missing(test.needs)
    if (reason !== undefined) {
      count.skipped++
      console.log(`SKIP ${test.name}: ${reason}`)
      continue
    }
    await runOne(test, join(base, String(index + 1)), options, count)
  }
  if (!options.keep && count.failed === 0) rmSync(base, { recursive: true, force: true })
  console.log(`${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`)
  return count.failed === 0 ? 0 : 1
}

async function runOne(test: SystemTest, dir: string, options: Options, count: Count): Promise<void> {
  mkdirSync(dir, { recursive: true })
  const clusters: Promise<Cluster>[] = []
  const ends: Array<() => Promise<void>> = []
  const descriptions: Array<() => Promise<readonly string[]>> = []
  const context: Context = {
    dir,
    say: (line) => console.log(`     ${line}`),
    startCluster: (clusterOptions) => {
      const cluster = startCluster(options.against, join(dir, `cluster-${clusters.length + 1}`), clusterOptions)
      clusters.push(cluster)
      return cluster
    },
    onEnd: (end) => void ends.unshift(end),
    onFailure: (describe) => void descriptions.push(describe)
  }
  console.log(`RUN  ${test.name}`)
  const startedAtMs = performance.now()
  const took = (): string => `${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`
  try {
    await within(test.deadlineMs, `the test took longer than ${test.deadlineMs / 1000} s`, test.run(context))
    count.passed++
    console.log(`PASS ${test.name} (${took()})`)
    await endAll(clusters, ends)
    if (!options.keep) rmSync(dir, { recursive: true, force: true })
  } catch (error) {
    count.failed++
    console.log(`FAIL ${test.name} (${took()}): ${error instanceof Error ? error.message : String(error)}`)
    await describeAll(descriptions)
    await endAll(clusters, ends)
    showLogs(dir)
  }
}

async function describeAll(descriptions: ReadonlyArray<() => Promise<readonly string[]>>): Promise<void> {
  for (const describe of descriptions) {
    const lines = await within(stopDeadlineMs, "describe", describe()).catch((error: unknown) => [String(error)])
    for (const line of lines) console.log(`  ${line}`)
  }
}

async function endAll(clusters: readonly Promise<Cluster>[], ends: ReadonlyArray<() => Promise<void>>): Promise<void> {
  for (const starting of clusters) {
    const stopped = starting.then((cluster) => cluster.stop())
    // A cluster that did not start, or does not stop, has said so already; killAll takes what is left of it.
    await within(stopDeadlineMs, "stop", stopped).catch(() => undefined)
  }
  for (const end of ends) await within(stopDeadlineMs, "end", end()).catch(() => undefined)
  killAll()
}

/** The last lines of every log of a failed test; the folder itself stays. */
function showLogs(dir: string): void {
  for (const name of readdirSync(dir, { recursive: true, encoding: "utf8" })) {
    const file = join(dir, name)
    // Not the data of Apache Kafka, which are called .log too.
    if (!name.endsWith(".log") || /\d{20}\.log$/.test(name)) continue
    if (!statSync(file).isFile() || statSync(file).size === 0) continue
    console.log(`  ${file}`)
    const lines = readFileSync(file, "utf8").trimEnd().split("\n").slice(-logLinesShown)
    for (const line of lines) console.log(`    ${line.slice(0, 300)}`)
  }
  console.log(`  everything of this test stays in ${dir}`)
}

async function within<T>(deadlineMs: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(what)), deadlineMs)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

class UsageError extends Error {}

function readOptions(): Options {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      against: { type: "string", default: "meridian" },
      keep: { type: "boolean", default: false },
      list: { type: "boolean", default: false },
      help: { type: "boolean", default: false }
    }
  })
  if (values.help)
    throw new UsageError("usage: npm run test:system -- [--list] [--keep] [--against meridian|kafka] [NAME…]")
  const { against } = values
  if (against !== "meridian" && against !== "kafka") throw new UsageError("--against is meridian or kafka")
  return { against, keep: values.keep, list: values.list, names: positionals }
}

try {
  process.exitCode = await main()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 2
} finally {
  killAll()
}
// A client that left a socket open must not keep the run alive.
process.exit()
