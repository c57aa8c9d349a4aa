/**
 * One run: a cluster, a workload and a schedule of faults, all from one seed, with the checkers looking on.
 *
 * In order: the cluster starts and topics are made, in peace; then faults and work, for a while; then everything heals, and
 * what was begun must come to its end within a bounded time; then everything that is there is read once more through every
 * agent, and the agents are compared.
 */
import { type Effect, type Fiber } from "effect"
import { Acknowledgements } from "./checkers/acknowledgements.ts"
import { Reads } from "./checkers/reads.ts"
import { Truth } from "./checkers/truth.ts"
import { Written } from "./checkers/written.ts"
import { checkBounds } from "./checkers/bounds.ts"
import { checkAtEnd } from "./checkers/at-end.ts"
import { Cluster, WRITES } from "./cluster/cluster.ts"
import { hostName, REGIONS } from "./cluster/regions.ts"
import { type CheckFailed } from "./engine/check-failed.ts"
import { Process } from "./engine/process.ts"
import { type Prng, streamOf } from "./engine/prng.ts"
import { World } from "./engine/world.ts"
import { Injector } from "./faults/inject.ts"
import { type ScenarioName } from "./faults/scenarios.ts"
import { turnKnobs } from "./knobs.ts"
import { makePlan, type Plan } from "./plan.ts"
import { type Actor, guarded } from "./workload/actor.ts"
import { SimClient } from "./workload/client.ts"
import { fetch } from "./workload/fetcher.ts"
import { probe } from "./workload/prober.ts"
import { produce } from "./workload/producer.ts"
import { ensureTopics } from "./workload/topics.ts"

export interface RunOptions {
  readonly seed: number
  readonly scenario: ScenarioName
  readonly trace: "lines" | "none"
}

export interface RunResult {
  readonly seed: number
  readonly scenario: ScenarioName
  readonly failure: CheckFailed | undefined
  readonly simulatedMs: number
  readonly lines: ReadonlyArray<string>
  readonly counts: Counts
}

export interface Counts {
  readonly events: number
  readonly tasks: number
  readonly faults: number
  readonly rows: number
  readonly voidRows: number
  readonly acknowledged: number
  /** Of them, those without an offset: old duplicates. */
  readonly withoutOffset: number
  readonly recordsRead: number
  /** From the end of the faults until all work was done. */
  readonly recoveryMs: number
}

const BOUNDS_MS = 250
/** Agents start and topics are made within this time. */
const START_MS_MAX = 20_000
/** Work goes on for a while after everything has healed. */
const AFTERMATH_MS = 1_500
/** Everything that was begun ends within this time after everything has healed: copies that hang hold what they hold for a minute. */
const RECOVERY_MS_MAX = 90_000

export const run = (options: RunOptions): RunResult => {
  const plan = makePlan(options.seed, options.scenario)
  const turnBack = turnKnobs(plan.knobs)
  try {
    const simulation = new Simulation(options, plan)
    simulation.run()
    return simulation.result(options)
  } finally {
    turnBack()
  }
}

class Simulation {
  readonly world: World
  readonly cluster: Cluster
  readonly truth: Truth
  readonly acknowledgements: Acknowledgements
  readonly reads = new Reads()
  readonly #plan: Plan
  readonly #random: Prng
  readonly #injector: Injector
  readonly #processes: Array<Process> = []
  #isOver = false
  #clients = 0
  #recoveryMs = 0

  constructor(options: RunOptions, plan: Plan) {
    const { seed } = options
    this.#plan = plan
    this.world = new World(options)
    this.#random = streamOf(seed, "clients")
    this.cluster = new Cluster(this.world, {
      agentsPerRegion: plan.agentsPerRegion,
      settings: plan.settings,
      clockOf: (host) => plan.clocks.get(host)!
    })
    this.acknowledgements = new Acknowledgements(() => this.truth, this.reads)
    this.truth = new Truth({
      readObject: (bucket, key) => this.cluster.bucketOf(bucket).stored(key),
      writes: WRITES,
      regionOf: (bucket) => bucket,
      latestMs: () => this.cluster.database.latestMs,
      accepted: (record, partition, offset) => this.acknowledgements.accepted(record, partition, offset)
    })
    this.cluster.database.watcher = { appended: (row) => this.truth.append(row) }
    const written = new Written()
    for (const bucket of this.cluster.buckets) {
      bucket.watcher = { put: (name, key, body, outcome) => written.put(name, key, body, outcome) }
    }
    this.#injector = new Injector(this.cluster, () => this.truth.holder)
  }

  run(): void {
    const { world, cluster } = this
    this.#tellPlan()
    cluster.start()
    this.#makeTopics()
    const work = this.#startWork()
    this.#watchBounds()
    this.#injector.schedule(this.#plan.schedule)
    world.runUntil(world.nowMs + this.#plan.activeMs)
    this.#injector.healAll()
    const healedAtMs = world.nowMs
    world.runUntil(world.nowMs + AFTERMATH_MS)
    this.#isOver = true
    const isDone = (): boolean => work.every(({ fiber }) => fiber.pollUnsafe() !== undefined)
    world.runUntil(healedAtMs + RECOVERY_MS_MAX, isDone)
    this.#recoveryMs = world.nowMs - healedAtMs
    if (!isDone()) {
      const unfinished = work.filter(({ fiber }) => fiber.pollUnsafe() === undefined).map(({ actor }) => actor.name)
      world.fail("liveness", `work is not done ${RECOVERY_MS_MAX} ms after everything has healed`, { unfinished })
    }
    if (world.failure === undefined) checkAtEnd(this)
  }

  result({ seed, scenario }: RunOptions): RunResult {
    const { world, truth, acknowledgements, reads } = this
    return {
      seed,
      scenario,
      failure: world.failure,
      simulatedMs: world.nowMs,
      lines: world.trace.lines,
      counts: {
        events: world.eventCount,
        tasks: world.taskCount,
        faults: this.#injector.injected,
        rows: truth.rows.length,
        voidRows: truth.voidRows,
        acknowledged: acknowledgements.acknowledged.length,
        withoutOffset: acknowledgements.withoutOffset,
        recordsRead: reads.recordsChecked,
        recoveryMs: this.#recoveryMs
      }
    }
  }

  /** An actor in a process of its own; its agents are those of its region, then the others, unless they are named. */
  actor(
    kind: string,
    region: string,
    agents: ReadonlyArray<string> = this.#agentsFor(region),
    requestTimeoutMs = 30_000
  ): Actor {
    const { world, truth, acknowledgements, reads } = this
    const name = hostName(region, kind, ++this.#clients)
    const process = new Process(world, { name, region, generation: 1 })
    this.#processes.push(process)
    const network = this.cluster.network.layerOf(process)
    const client = new SimClient({ process, network, agents, requestTimeoutMs })
    return {
      name,
      world,
      client,
      random: process.random,
      truth,
      acknowledgements,
      reads,
      isOver: () => this.#isOver
    }
  }

  /** Their connections are reset. */
  killClients(): void {
    for (const process of this.#processes) {
      process.kill()
      this.cluster.network.died(process, "reset")
    }
  }

  start(actor: Actor, effect: Effect.Effect<void>): Fiber.Fiber<void> {
    return actor.client.process.fork(guarded(actor, effect))
  }

  #agentsFor(region: string): ReadonlyArray<string> {
    const near = this.cluster.agents.filter((agent) => agent.region === region)
    const far = this.cluster.agents.filter((agent) => agent.region !== region)
    const random = this.#random
    return [...random.sample(near, near.length), ...random.sample(far, far.length)].map(({ name }) => name)
  }

  #makeTopics(): void {
    const { world } = this
    const admin = this.actor("admin", REGIONS[0])
    const made = this.start(admin, ensureTopics(admin, this.#plan.topics))
    world.runUntil(START_MS_MAX, () => made.pollUnsafe() !== undefined)
    if (made.pollUnsafe() === undefined) world.fail("liveness", `the cluster did not start in ${START_MS_MAX} ms`)
  }

  #watchBounds(): void {
    const { world, cluster } = this
    for (const { name, running } of cluster.agents) {
      if (running !== undefined) checkBounds(name, running, cluster.settings)
    }
    world.after(BOUNDS_MS, undefined, () => this.#watchBounds())
  }

  /** What must come to its end; fetchers go on for ever. */
  #startWork(): ReadonlyArray<{ readonly actor: Actor; readonly fiber: Fiber.Fiber<void> }> {
    const { producers, fetchers, probers } = this.#plan
    const work: Array<{ actor: Actor; fiber: Fiber.Fiber<void> }> = []
    for (const options of producers) {
      const actor = this.actor("producer", options.region, undefined, options.requestTimeoutMs)
      work.push({ actor, fiber: this.start(actor, produce(actor, options)) })
    }
    for (const options of probers) {
      const actor = this.actor("prober", options.region)
      const all = this.cluster.agents.map(({ name }) => name)
      const other = new SimClient({
        process: actor.client.process,
        network: actor.client.network,
        agents: this.#random.sample(all, all.length),
        requestTimeoutMs: 30_000
      })
      work.push({ actor, fiber: this.start(actor, probe(actor, { ...options, other })) })
    }
    for (const options of fetchers) {
      const actor = this.actor("fetcher", options.region)
      this.start(actor, fetch(actor, options))
    }
    return work
  }

  #tellPlan(): void {
    const { schedule: _schedule, clocks, ...rest } = this.#plan
    this.world.trace.add("plan", () => JSON.stringify({ ...rest, clocks: Object.fromEntries(clocks) }))
  }
}

export type { Simulation }
