/**
 * A host on which an agent runs, and its supervisor: which process is the present one, how it dies and comes back.
 *
 * An agent that ends by itself is started again, as the playground's supervisor does. Whether it may have ended is judged
 * here: never by a defect or a stopped fold; because its name was taken over only after it had run before under that name;
 * because it could not start only while its database does not answer.
 */
import { Cause, Exit, type Fiber, Logger, References } from "effect"
import { type Settings } from "#core/config/settings.ts"
import { type TopologyBucketSet } from "#regions/topology.ts"
import { type ClockError, type Place, Process } from "../engine/process.ts"
import { type World } from "../engine/world.ts"
import { type SimNetwork } from "../network/network.ts"
import { type SimBucket } from "../outside/bucket.ts"
import { type SimDatabase } from "../outside/database.ts"
import { runAgent, type RunningAgent } from "./agent.ts"

/** A supervisor's pause before it starts an agent again. */
const RESTART_MS = 200

export interface AgentHostOptions extends Place {
  readonly world: World
  readonly network: SimNetwork
  readonly database: SimDatabase
  readonly buckets: ReadonlyArray<SimBucket>
  readonly bucketSet: TopologyBucketSet
  readonly settings: Settings
  readonly clock: ClockError
}

export class AgentHost implements Place {
  readonly name: string
  readonly region: string
  /** The present process; undefined while there is none. */
  process: Process | undefined = undefined
  /** Of the present process, once it serves clients. */
  running: RunningAgent | undefined = undefined
  generation = 0
  /** Faults that hold it down: it is started again when there are none. */
  #holds = 0
  #main: Fiber.Fiber<string, unknown> | undefined = undefined
  readonly #options: AgentHostOptions
  #clock: ClockError

  constructor(options: AgentHostOptions) {
    this.#options = options
    this.#clock = options.clock
    this.name = options.name
    this.region = options.region
  }

  start(): void {
    if (this.process !== undefined || this.#holds > 0) return
    const { world, network, database, buckets, bucketSet, settings } = this.#options
    this.generation++
    const process = new Process(world, {
      name: this.name,
      region: this.region,
      generation: this.generation,
      clock: this.#clock,
      logger: loggerOf(world, this)
    })
    this.process = process
    world.trace.add(this.name, () => `starts, generation ${this.generation}`)
    const main = process.fork(
      runAgent(
        {
          process,
          network: network.layerOf(process),
          store: database.storeOf(process),
          buckets: buckets.map((bucket) => ({
            name: bucket.truth.bucket,
            region: bucket.region,
            zone: bucket.region,
            store: bucket.storeOf(process)
          })),
          bucketSet,
          settings
        },
        (running) => {
          if (this.process !== process) return
          this.running = running
          world.trace.add(this.name, () => "serves clients")
        }
      )
    )
    this.#main = main
    main.addObserver((exit) => this.#ended(process, exit))
  }

  /** kill -9, until the answer is called. `vanish`: the machine is gone as well, so that nobody is told. */
  kill(manner: "reset" | "vanish"): () => void {
    const release = this.hold()
    this.#bury(manner)
    return release
  }

  /** An orderly stop, until the answer is called. */
  stop(): () => void {
    const release = this.hold()
    const { process } = this
    const main = this.#main
    // A signal reaches a frozen process when it thaws.
    if (process !== undefined && main !== undefined) {
      this.#options.world.task(process, () => main.interruptUnsafe())
    }
    return release
  }

  freeze(): () => void {
    const { process } = this
    process?.freeze()
    return () => process?.thaw()
  }

  /** Somebody has set the host's clock right; it still runs a bit too fast or too slow. */
  healClock(): void {
    this.#clock = { ...this.#clock, offsetMs: 0 }
    this.process?.clock.setRight()
  }

  /** Keeps it from being started again, until the answer is called. */
  hold(): () => void {
    this.#holds++
    let isReleased = false
    return () => {
      if (isReleased) return
      isReleased = true
      this.#holds--
      this.start()
    }
  }

  #bury(manner: "reset" | "vanish"): void {
    const { process } = this
    if (process === undefined) return
    this.#options.world.trace.add(this.name, () => `is dead (${manner})`)
    process.kill()
    this.#options.network.died(process, manner)
    this.process = undefined
    this.running = undefined
    this.#main = undefined
  }

  #ended(process: Process, exit: Exit.Exit<string, unknown>): void {
    if (this.process !== process) return
    const { world } = this.#options
    const hasServed = this.running !== undefined
    this.#bury("reset")
    // Not the stack: where it was loaded from must not be in a trace.
    world.trace.add(this.name, () => `has ended: ${endText(exit).split("\n")[0]}`)
    const isOrderly = Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
    const isSuperseded = Exit.isSuccess(exit) && exit.value === "superseded" && this.generation > 1
    const couldNotStart = Exit.isFailure(exit) && !hasServed && !Cause.hasDies(exit.cause)
    if (!isOrderly && !isSuperseded && !couldNotStart) {
      world.fail("healthy", `${this.name} ended by itself`, { why: endText(exit) })
      return
    }
    const release = this.hold()
    world.after(RESTART_MS, undefined, release)
  }
}

const endText = (exit: Exit.Exit<string, unknown>): string =>
  Exit.isSuccess(exit) ? exit.value : causeText(exit.cause)

/** Log events by which an agent that was superseded says so: allowed where it may be superseded. */
const SUPERSEDED = "another process has taken this agent's name"

const loggerOf = (world: World, host: AgentHost) =>
  Logger.make<unknown, void>(({ message, logLevel, cause, fiber }) => {
    const isError = logLevel === "Error" || logLevel === "Fatal"
    if (!isError && !world.trace.isOn) return
    const parts = (Array.isArray(message) ? message : [message]).map((part) => textOf(part))
    for (const [name, value] of Object.entries(fiber.getRef(References.CurrentLogAnnotations))) {
      parts.push(`${name}=${textOf(value)}`)
    }
    if (cause.reasons.length > 0) parts.push(causeText(cause))
    const text = parts.join(" ")
    world.trace.add(host.name, () => `${logLevel}: ${text}`)
    if (!isError || (text.startsWith(SUPERSEDED) && host.generation > 1)) return
    world.fail("healthy", `${host.name} logs an error`, { text })
  })

/** Without stacks: they hold paths, which are not the same everywhere. */
const causeText = (cause: Cause.Cause<unknown>): string => String(Cause.squash(cause))

const textOf = (part: unknown): string => {
  if (typeof part === "string") return part
  if (Cause.isCause(part)) return causeText(part)
  if (part instanceof Error) return String(part)
  return JSON.stringify(part) ?? String(part)
}
