/**
 * The benchmarks: `npm run bench [-- --quick] [-- NAME…]`.
 *
 * Prints a table per benchmark and, last, one line of JSON with all figures. Names are those of the benchmarks below
 * and of the micro benchmarks (files NAME.bench.ts of this folder). Benchmarks that compare with Apache
 * Kafka are left out, with the reason, where Java or Maven is missing. Nothing that was started lives on.
 *
 * Exit code 1 when a benchmark failed, 2 for a name that nothing has.
 */
import { mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs"
import { availableParallelism, cpus, tmpdir } from "node:os"
import { basename, join } from "node:path"
import { parseArgs } from "node:util"
import { pathToFileURL } from "node:url"
import { kafkaMissing } from "../peers/apache-kafka/installation.ts"
import { killAll, run } from "../peers/child-process.ts"
import { type Benchmark, type BenchmarkOptions, type Figures } from "./benchmark.ts"
import { coldStart } from "./cold-start.ts"
import { latency } from "./latency.ts"
import { memory } from "./memory.ts"
import { partitions } from "./partitions.ts"
import { produceConsume } from "./produce-consume.ts"
import { startUp } from "./start-up.ts"
import { takeover } from "./takeover.ts"

const suffix = ".bench.ts"
const microDeadlineMs = 300_000
const benchmarks: readonly Benchmark[] = [
  startUp,
  coldStart,
  latency,
  produceConsume,
  partitions,
  memory,
  takeover,
  ...microBenchmarks()
]

async function main(): Promise<number> {
  const known = benchmarks.map(({ name }) => name)
  const usage = `usage: npm run bench -- [--quick] [NAME…]\n\n  --quick  short runs, to see that all of it works\n  names    ${known.join(", ")} (default: all)`
  const given = readArguments()
  if (typeof given === "string") {
    console.error(`${given}\n${usage}`)
    return 2
  }
  const { values, positionals } = given
  if (values.help) {
    console.log(usage)
    return 0
  }
  const unknown = positionals.filter((name) => !known.includes(name))
  if (unknown.length > 0) {
    console.error(`no benchmark ${unknown.join(", ")}\n${usage}`)
    return 2
  }
  const chosen = benchmarks.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
  console.log(`${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores, Node ${process.version}`)
  const noKafka = chosen.some(({ needsKafka }) => needsKafka) ? await kafkaMissing() : undefined
  const all: Record<string, Figures> = {}
  let failures = 0
  for (const { name, needsKafka, run: runBenchmark } of chosen) {
    console.log(`\n${name}`)
    if (needsKafka && noKafka !== undefined) {
      console.log(`  left out: ${noKafka}`)
      continue
    }
    const dir = mkdtempSync(join(tmpdir(), `meridian-bench-${name}-`))
    try {
      all[name] = await runBenchmark({ quick: values.quick, dir })
      rmSync(dir, { recursive: true, force: true })
    } catch (error) {
      failures++
      console.log(`  FAILED: ${error instanceof Error ? error.message : String(error)}\n  its folder stays: ${dir}`)
    }
    killAll()
  }
  console.log(`\n${JSON.stringify(all)}`)
  return failures === 0 ? 0 : 1
}

/** Or what is wrong with them. */
function readArguments() {
  try {
    const options = { quick: { type: "boolean", default: false }, help: { type: "boolean", default: false } } as const
    return parseArgs({ allowPositionals: true, options })
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** One benchmark per file: its function `run`, or where it has none the file as a program, except in quick mode. */
function microBenchmarks(): Benchmark[] {
  return readdirSync(import.meta.dirname)
    .filter((file) => file.endsWith(suffix))
    .map((file) => ({ name: basename(file, suffix), needsKafka: false, run: (options) => runFile(file, options) }))
}

async function runFile(file: string, { quick, dir }: BenchmarkOptions): Promise<Figures> {
  const path = join(import.meta.dirname, file)
  if (/^export (const|function|async function) run\b/m.test(readFileSync(path, "utf8"))) {
    const module = (await import(pathToFileURL(path).href)) as { readonly run: (options: object) => unknown }
    return figuresOf(await module.run({ quick, dir }))
  }
  if (quick) {
    console.log("  left out of quick mode: a program that knows no short run")
    return {}
  }
  const { stdout } = await run(process.execPath, [path, dir], { deadlineMs: microDeadlineMs })
  console.log(stdout.toString().trimEnd())
  return {}
}

function figuresOf(result: unknown): Figures {
  return typeof result === "object" && result !== null ? (result as Figures) : {}
}

try {
  process.exitCode = await main()
} finally {
  killAll()
}
process.exit()
