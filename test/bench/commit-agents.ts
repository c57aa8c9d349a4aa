/**
 * A process of the benchmark `commit`: some agents' commit logs, with what is below them in the product, and their load.
 *
 * The product's own code from the submitter down to real sockets and a real database; only segments are made up, because
 * nothing here reads them. Its parent says by messages when to begin and gets the figures; without a parent it ends.
 */
import { monitorEventLoopDelay, performance } from "node:perf_hooks"
import { type Context, Effect, Layer, References, Result, type Scope } from "effect"
import * as entropy from "#backends/entropy.ts"
import * as postgres from "#backends/metadata/postgres.ts"
import * as sqlite from "#backends/metadata/sqlite.ts"
import * as tcp from "#backends/network/tcp.ts"
import * as tcpConnector from "#backends/network/tcp-connector.ts"
import { type CommitSegment } from "#core/log/command.ts"
import { CommitLog } from "#core/log/commit-log.ts"
import * as foldedLog from "#core/log/folded-log.ts"
import { SequencerView } from "#core/log/sequenced-log.ts"
import { limits } from "#core/model/limits.ts"
import * as peeredLog from "#core/peer/peered-log.ts"
import { Connector } from "#core/ports/connector.ts"
import { type MetadataError, MetadataStore } from "#core/ports/metadata-store.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import * as membership from "#regions/membership.ts"
import { parsePostgresUrl } from "#regions/postgres-url.ts"
import { delay, waitUntil } from "../peers/child-process.ts"
import { commitOf, createTopic, IdempotentLoad } from "./commit-commands.ts"
import { delayedConnector, delayedStore } from "./wan.ts"

export interface AgentPlace {
  readonly name: string
  readonly region: string
  readonly peerPort: number
}

export interface Wan {
  readonly quorumMs: number
  /** Round trips by "REGION REGION"; nothing for those that are not there. */
  readonly roundTripsMs: Readonly<Record<string, number>>
}

export type Database =
  | { readonly kind: "postgresql"; readonly url: string }
  | { readonly kind: "sqlite"; readonly file: string }

/** `flush`: one segment in each interval, whatever became of the last. `saturate`: so many under way at all times. */
export type Load =
  | { readonly kind: "none" }
  | { readonly kind: "flush"; readonly intervalMs: number; readonly runs: number }
  | { readonly kind: "saturate"; readonly inFlight: number; readonly runs: number }

export interface AgentsOptions {
  readonly database: Database
  readonly homeRegion: string
  /** All of them. */
  readonly agents: ReadonlyArray<AgentPlace>
  /** Which of them are in this process, from index to before index. */
  readonly here: readonly [first: number, after: number]
  readonly wan: Wan
  readonly load: Load
  readonly warmUpMs: number
  readonly measureMs: number
}

export interface AgentsFigures {
  /** Of commits that were submitted and answered in the time measured. */
  readonly latenciesMs: ReadonlyArray<number>
  readonly submitted: number
  readonly answered: number
  /** Commits that were not settled in their time, and batches that were not accepted: none where all is well. */
  readonly failed: number
  readonly refused: number
  /** Rows appended to the log meanwhile, as these agents folded them. */
  readonly rows: number
  /** Whether the sequencer was here all the time, or never. */
  readonly sequencer: "here" | "elsewhere" | "moved"
  readonly cpuMs: number
  /** Part of the time in which the event loop was busy, and how late it was. */
  readonly loopBusy: number
  readonly loopLateP99Ms: number
  readonly elapsedMs: number
}

/** What the parent says. */
export type Order = "go" | "end"
/** What it is told, in this order: the agents run; they know each other and the sequencer; the load is over. */
export type Report =
  | { readonly kind: "up" }
  | { readonly kind: "ready" }
  | { readonly kind: "figures"; readonly figures: AgentsFigures }

const readyDeadlineMs = 60_000
const loopResolutionMs = 10

interface Agent {
  readonly index: number
  readonly log: CommitLog["Service"]
  readonly view: SequencerView["Service"]
  readonly members: () => number
}

const storeLayer = ({ database, agents, homeRegion }: AgentsOptions): Layer.Layer<MetadataStore, MetadataError> => {
  if (database.kind === "sqlite") return sqlite.layer({ file: database.file, fsync: false })
  const location = parsePostgresUrl(database.url, process.cwd())
  if (typeof location === "string") throw new Error(location)
  const regions = [...new Set(agents.map(({ region }) => region))]
  return postgres.layer({
    servers: [{ field: "metadata.url", ...location }],
    cluster: "bench",
    placement: { regions, home: homeRegion }
  })
}

/** An agent's log as bin/ puts it together, behind the delays of its region. */
const agentLayer = (options: AgentsOptions, place: AgentPlace) => {
  const { homeRegion, wan, agents } = options
  const roundTripMs = (region: string): number =>
    wan.roundTripsMs[`${place.region} ${region}`] ?? wan.roundTripsMs[`${region} ${place.region}`] ?? 0
  const store = Layer.effect(
    MetadataStore,
    Effect.map(MetadataStore, (inner) =>
      delayedStore(inner, { oneWayMs: roundTripMs(homeRegion) / 2, quorumMs: wan.quorumMs })
    )
  ).pipe(Layer.provide(storeLayer(options)))
  const connector = Layer.effect(
    Connector,
    Effect.map(Connector, (inner) => {
      const regionOf = new Map(agents.map(({ peerPort, region }) => [peerPort, region]))
      return delayedConnector(inner, (port) => roundTripMs(regionOf.get(port)!) / 2)
    })
  ).pipe(Layer.provide(tcpConnector.layer))
  const { name, region, peerPort } = place
  const host = "127.0.0.1"
  const agent = { name, region, zone: region, host, port: 0, peerHost: host, peerPort }
  return peeredLog
    .layer({ shard: 0, homeRegion, host, port: peerPort })
    .pipe(
      Layer.provideMerge(membership.layer({ agent, ttlMs: limits.membershipTtlMs })),
      Layer.provide(foldedLog.layer({ shard: 0 })),
      Layer.provide(Layer.mergeAll(store, connector, entropy.layer, tcp.layer, Metrics.layerNoop))
    )
}

const agentOf = (
  index: number,
  context: Context.Context<CommitLog | SequencerView | membership.Membership>
): Effect.Effect<Agent> =>
  Effect.gen(function* () {
    const { agents } = yield* membership.Membership
    return { index, log: yield* CommitLog, view: yield* SequencerView, members: () => agents().length }
  }).pipe(Effect.provideContext(context))

const agentsUp = Effect.fnUntraced(function* (
  options: AgentsOptions
): Effect.fn.Return<ReadonlyArray<Agent>, unknown, Scope.Scope> {
  const [first, after] = options.here
  return yield* Effect.forEach(
    options.agents.slice(first, after),
    (place, offset) =>
      Effect.flatMap(Layer.build(agentLayer(options, place)), (context) => agentOf(first + offset, context)),
    { concurrency: 4 }
  )
})

interface Count {
  readonly latenciesMs: Array<number>
  submitted: number
  answered: number
  failed: number
  refused: number
}

/** Submits, and counts what falls into the time measured. */
const submit = async (agent: Agent, command: CommitSegment, count: Count): Promise<void> => {
  const startedAtMs = performance.now()
  count.submitted++
  const answer = await Effect.runPromise(Effect.result(agent.log.submit(command)))
  if (Result.isFailure(answer)) return void count.failed++
  count.latenciesMs.push(performance.now() - startedAtMs)
  count.answered++
  for (const batches of answer.success.runs)
    for (const { verdict } of batches) if (verdict !== "accepted") count.refused++
}

const flush = async (agent: Agent, load: Load & { kind: "flush" }, until: Stop, count: () => Count): Promise<void> => {
  const commands = new IdempotentLoad(agent.index)
  const underWay = new Set<Promise<void>>()
  await delay(Math.random() * load.intervalMs)
  while (!until.isOver) {
    const submitted = submit(agent, commands.next(load.runs), count())
    underWay.add(submitted)
    void submitted.finally(() => underWay.delete(submitted))
    // By chance a little more or less, so that agents and ticks do not stay in step.
    await delay(load.intervalMs * (0.9 + 0.2 * Math.random()))
  }
  await Promise.all(underWay)
}

const saturate = async (
  agent: Agent,
  load: Load & { kind: "saturate" },
  until: Stop,
  count: () => Count
): Promise<void> => {
  const batches = Array.from({ length: load.runs }, (_, partition) => ({
    partition,
    producerId: -1,
    baseSequence: -1
  }))
  // Made once: the load must cost less than what it loads.
  const command = commitOf(batches)
  const one = async (): Promise<void> => {
    while (!until.isOver) {
      await submit(agent, { ...command, segmentId: crypto.randomUUID().replaceAll("-", "") }, count())
    }
  }
  await Promise.all(Array.from({ length: load.inFlight }, one))
}

/** Until when the load lasts. */
class Stop {
  isOver = false
  end: () => void = () => {}
  readonly over = new Promise<void>((resolve) => {
    this.end = () => {
      this.isOver = true
      resolve()
    }
  })
}

const newCount = (): Count => ({ latenciesMs: [], submitted: 0, answered: 0, failed: 0, refused: 0 })

const measure = async (options: AgentsOptions, agents: ReadonlyArray<Agent>): Promise<AgentsFigures> => {
  const { load, warmUpMs, measureMs } = options
  const until = new Stop()
  let count = newCount()
  const loads = agents.map((agent) => {
    if (load.kind === "none") return until.over
    return load.kind === "flush" ? flush(agent, load, until, () => count) : saturate(agent, load, until, () => count)
  })
  const running = Promise.all(loads)
  await Promise.race([delay(warmUpMs), running])
  const [lateness, before] = [monitorEventLoopDelay({ resolution: loopResolutionMs }), snapshot(agents)]
  lateness.enable()
  count = newCount()
  const { latenciesMs } = count
  await Promise.race([delay(measureMs), running])
  const [after, counted] = [snapshot(agents), { ...count, latenciesMs: latenciesMs.slice() }]
  lateness.disable()
  until.end()
  await running
  const { user, system } = process.cpuUsage(before.cpu)
  return {
    ...counted,
    rows: after.rows - before.rows,
    sequencer: before.epoch !== after.epoch ? "moved" : after.isSequencing ? "here" : "elsewhere",
    cpuMs: (user + system) / 1_000,
    loopBusy: performance.eventLoopUtilization(after.loop, before.loop).utilization,
    loopLateP99Ms: Math.max(0, lateness.percentile(99) / 1e6 - loopResolutionMs),
    elapsedMs: after.atMs - before.atMs
  }
}

const snapshot = (agents: ReadonlyArray<Agent>) => ({
  rows: agents[0]!.log.fold.seq,
  epoch: agents[0]!.view.epoch(),
  isSequencing: agents.some(({ view }) => view.isActing()),
  cpu: process.cpuUsage(),
  loop: performance.eventLoopUtilization(),
  atMs: performance.now()
})

const report = (message: Report): void => void process.send!(message)

const ordered = (order: Order): Promise<void> =>
  new Promise((resolve) => {
    const take = (message: unknown): void => {
      if (message !== order) return
      process.off("message", take)
      resolve()
    }
    process.on("message", take)
  })

/** All know each other, the sequencer and the topic. */
const untilReady = async (options: AgentsOptions, agents: ReadonlyArray<Agent>): Promise<void> => {
  await waitUntil("the agents know each other, the sequencer and the topic", readyDeadlineMs, () =>
    agents.every(
      ({ log, view, members }) =>
        view.holder() !== undefined &&
        log.fold.topicById(createTopic.topicId) !== undefined &&
        members() === options.agents.length
    )
  )
}

const main = (options: AgentsOptions): Effect.Effect<never, unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const agents = yield* agentsUp(options)
    if (options.here[0] === 0) yield* agents[0]!.log.submit(createTopic)
    report({ kind: "up" })
    const go = ordered("go")
    yield* Effect.promise(() => untilReady(options, agents))
    report({ kind: "ready" })
    yield* Effect.promise(() => go)
    report({ kind: "figures", figures: yield* Effect.promise(() => measure(options, agents)) })
    return yield* Effect.never
  })

if (import.meta.main) {
  process.once("disconnect", () => process.exit(1))
  // At once: nobody needs what is in the database, nor an orderly goodbye.
  void ordered("end").then(() => process.exit(0))
  const options = JSON.parse(process.argv[2]!) as AgentsOptions
  await Effect.runPromise(
    Effect.scoped(main(options)).pipe(Effect.provideService(References.MinimumLogLevel, "Warn"))
  ).catch((error: unknown) => {
    console.error(error)
    process.exit(1)
  })
}
