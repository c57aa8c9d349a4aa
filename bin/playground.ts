/**
 * `meridian playground`: three regions on one machine, each agent a process of its own.
 *
 * Everything that can be wrong beforehand (ports, directory, another playground, the topology file) is checked before
 * the first process starts, so that a mistake leaves nothing half started. Then agents are supervised: one that dies is
 * started again unless told otherwise. All ends with the scope: on Ctrl-C agents stop cleanly and data stays.
 *
 * Standard output holds the summary for people, standard error what agents log and what happens to them.
 */
import { existsSync, renameSync, writeFileSync } from "node:fs"
import { join, relative, resolve } from "node:path"
import { Effect, Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { renderJson } from "#core/telemetry/log.ts"
import { monotonicMs } from "#core/telemetry/monotonic.ts"
import { parseTopology } from "#regions/topology.ts"
import { type AgentProcess, supervise } from "./agent-process.ts"
import { type CommandFailed, failed, invalid } from "./command-failed.ts"
import * as DirectoryLock from "./directory-lock.ts"
import { makeDirectories } from "./directories.ts"
import { explainFileError } from "./file-error.ts"
import {
  type AgentPlan,
  PLAYGROUND_HOST,
  PLAYGROUND_REGIONS,
  type PlaygroundOptions,
  bucketDirectories,
  planAgents,
  topologyText
} from "./playground-plan.ts"
import { conflictProblem, flagProblem, requireUsable } from "./playground-database.ts"
import { checkPort } from "./port-check.ts"
import { readTopology } from "./topology-file.ts"

/** Runs until interrupted. */
export const run = (options: PlaygroundOptions): Effect.Effect<void, CommandFailed> =>
  Effect.scoped(playground(options))

const playground = Effect.fnUntraced(function* (options: PlaygroundOptions) {
  const startedAtMs = yield* monotonicMs
  const agents = planAgents(options)
  if (typeof agents === "string") return yield* invalid(agents)
  const problem = options.metadata === undefined ? undefined : flagProblem(options.metadata)
  if (problem !== undefined) return yield* invalid(problem)
  const dir = resolve(options.dir)
  yield* makeDirectory(dir)
  const lock = yield* DirectoryLock.acquire(join(dir, "playground.lock"))
  yield* portsFree(agents, lock.wasStale ? limits.playgroundPortsFreeMs : 0)
  const topologyFile = yield* prepare(dir, options.metadata)
  // Parallel: at the end all agents stop at the same time.
  const agentScope = yield* Scope.fork(yield* Effect.scope, "parallel")
  const processes = yield* Effect.forEach(agents, (agent) => start(options, agent, dir, topologyFile)).pipe(
    Scope.provide(agentScope)
  )
  yield* Effect.timeoutOrElse(
    Effect.forEach(processes, (process) => process.ready, { concurrency: "unbounded", discard: true }),
    {
      duration: limits.agentStartMs,
      orElse: () => failed(`the agents were not ready within ${limits.agentStartMs / 1000} s; see what they log above`)
    }
  )
  const readySeconds = ((yield* monotonicMs) - startedAtMs) / 1000
  process.stdout.write(summary(options, agents, dir, readySeconds))
  yield* Effect.onInterrupt(
    Effect.forEach(processes, (process) => process.gone, { concurrency: "unbounded", discard: true }),
    () => Effect.sync(() => process.stdout.write("stopping …\n"))
  )
  return yield* failed("no agent is left")
})

const makeDirectory = (dir: string): Effect.Effect<void, CommandFailed> =>
  Effect.try({
    try: () => makeDirectories(join(dir, "agents")),
    catch: (error) => invalid(`cannot use the directory ${dir}: ${explainFileError(error)}; choose another with --dir`)
  })

/** After a playground that was killed its agents take a moment to notice. */
const portsFree = Effect.fnUntraced(function* (agents: ReadonlyArray<AgentPlan>, waitMs: number) {
  const deadlineMs = (yield* monotonicMs) + waitMs
  const ports = agents.flatMap(({ kafkaPort, peerPort, httpPort }) => [
    { port: kafkaPort, flag: "--port-base" },
    { port: peerPort, flag: "--port-base" },
    { port: httpPort, flag: "--http-port-base" }
  ])
  for (const { port, flag } of ports) {
    let state = yield* checkPort(PLAYGROUND_HOST, port)
    while (state === "in use" && (yield* monotonicMs) < deadlineMs) {
      yield* Effect.sleep(100)
      state = yield* checkPort(PLAYGROUND_HOST, port)
    }
    if (state !== "free") return yield* invalid(`port ${port} is ${state}: choose others with ${flag}`)
  }
})

/** The topology file and the buckets, where they are not there yet. Answers with the file's path. */
const prepare = Effect.fnUntraced(function* (dir: string, metadataUrl: string | undefined) {
  const file = join(dir, "topology.yaml")
  const text = existsSync(file) ? undefined : topologyText(metadataUrl)
  const topology = yield* text === undefined
    ? readTopology(file)
    : Effect.mapError(Effect.fromResult(parseTopology(text, file)), ({ message }) => failed(message))
  const conflict = metadataUrl === undefined ? undefined : conflictProblem(topology, metadataUrl, file)
  if (conflict !== undefined) return yield* invalid(conflict)
  if (topology.metadata.kind === "postgres") yield* requireUsable(topology)
  if (text === undefined) return file
  yield* Effect.try({
    try: () => {
      // A bucket is made with its playground only. One that has gone missing later is an outage, and must not come back empty.
      for (const bucket of bucketDirectories) makeDirectories(join(dir, bucket))
      // It may hold a password.
      writeFileSync(`${file}.new`, text, { mode: 0o600 })
      renameSync(`${file}.new`, file)
    },
    catch: (error) =>
      invalid(`cannot write into ${dir}: ${explainFileError(error)}; choose another directory with --dir`)
  })
  return file
})

const start = (
  options: PlaygroundOptions,
  agent: AgentPlan,
  dir: string,
  topologyFile: string
): Effect.Effect<AgentProcess, never, Scope.Scope> =>
  supervise({
    name: agent.name,
    args: agentArgs(options, agent, topologyFile),
    pidFile: join(dir, "agents", `${agent.name}.pid`),
    restart: options.restart,
    onLine: (line) => say(options, agent.name, line),
    onEvent: (text) => sayEvent(options, text)
  })

const agentArgs = (options: PlaygroundOptions, agent: AgentPlan, topologyFile: string): ReadonlyArray<string> =>
  [
    ["--config", topologyFile],
    ["--region", agent.region],
    ["--zone", agent.zone],
    ["--name", agent.name],
    ["--host", PLAYGROUND_HOST],
    ["--port", String(agent.kafkaPort)],
    ["--peer-port", String(agent.peerPort)],
    ["--http-port", String(agent.httpPort)],
    ["--log-format", options.logFormat],
    ["--log-level", options.logLevel.toLowerCase()]
  ].flat()

/** Agents' JSON lines say themselves where they come from. */
const say = ({ logFormat }: PlaygroundOptions, name: string, line: string): void => {
  process.stderr.write(logFormat === "json" && line.startsWith("{") ? `${line}\n` : `${name} | ${line}\n`)
}

const sayEvent = ({ logFormat }: PlaygroundOptions, text: string): void => {
  const json = (): string =>
    renderJson({ time: new Date(), level: "Info", event: text, fields: { agent: "playground" } })
  process.stderr.write(logFormat === "json" ? `${json()}\n` : `playground | ${text}\n`)
}

const summary = (
  options: PlaygroundOptions,
  agents: ReadonlyArray<AgentPlan>,
  dir: string,
  readySeconds: number
): string => {
  const rows = PLAYGROUND_REGIONS.map((region) => {
    const own = agents.filter((agent) => agent.region === region)
    const kafka = own.map((agent) => `${PLAYGROUND_HOST}:${agent.kafkaPort}`).join(",")
    return `  ${region.padEnd(10)}  Kafka ${kafka}   http://${PLAYGROUND_HOST}:${own[0]!.httpPort}/ready`
  })
  const first = agents[0]!.kafkaPort
  const third = agents.at(-options.agentsPerRegion)!.kafkaPort
  const shownDir = relative(process.cwd(), dir)
  return `
Meridian playground: three regions on this machine

${rows.join("\n")}

  write in one region      echo hello | kcat -P -b ${PLAYGROUND_HOST}:${first} -t greetings
  read in another          kcat -C -b ${PLAYGROUND_HOST}:${third} -t greetings -e
  data (kept over stops)   ${shownDir === "" || shownDir.startsWith("..") ? dir : shownDir}
  stop                     Ctrl-C

ready in ${readySeconds.toFixed(1)} s
`
}
