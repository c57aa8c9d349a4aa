/**
 * A simulated process on a host: an agent's or a client's. Its effects run on the world's loop, by its own clock and its own
 * randomness, from its first task until it is killed.
 *
 * Killed means kill -9: nothing of it ever runs again, no finalizer either. Frozen means SIGSTOP: nothing of it runs until
 * it thaws; then everything that fell due meanwhile is due at once. A host that is started again is another process of the
 * same name.
 */
import { Clock, Context, Duration, Effect, type Fiber, Logger, Random, References, Scheduler } from "effect"
import { Entropy } from "#core/ports/entropy.ts"
import { uuidFromRandom } from "#core/model/uuid.ts"
import { Prng } from "./prng.ts"
import { EPOCH_MS, type World } from "./world.ts"

/** Where something is on the network. */
export interface Place {
  readonly name: string
  readonly region: string
}

export interface ClockError {
  /** How far ahead of the right time. */
  readonly offsetMs: number
  /** Of elapsed time: 1.001 runs a thousandth too fast. */
  readonly rate: number
}

export interface ProcessOptions extends Place {
  /** Counts the processes of this name. */
  readonly generation: number
  readonly clock?: ClockError
  readonly logger?: Logger.Logger<unknown, void>
}

export class Process implements Place {
  readonly world: World
  readonly name: string
  readonly region: string
  readonly generation: number
  state: "running" | "frozen" | "dead" = "running"
  readonly random: Prng
  readonly clock: ProcessClock
  readonly entropy: Entropy["Service"]
  /** Of every effect that runs here. */
  readonly context: Context.Context<never>
  #deferred: Array<() => void> = []
  readonly #onDeath: Array<() => void> = []

  constructor(world: World, options: ProcessOptions) {
    this.world = world
    this.name = options.name
    this.region = options.region
    this.generation = options.generation
    const stream = `${world.seed}/${options.name}/${options.generation}`
    this.random = new Prng(`${stream}/random`)
    const ids = new Prng(`${stream}/entropy`)
    this.entropy = Entropy.of({ uuid: () => uuidFromRandom(bytesOf(ids)) })
    this.clock = new ProcessClock(this, options.clock ?? { offsetMs: 0, rate: 1 })
    this.context = Context.make(Scheduler.Scheduler, schedulerOf(this)).pipe(
      Context.add(Clock.Clock, this.clock),
      Context.add(Random.Random, {
        nextIntUnsafe: () => (this.random.uint32() - 2 ** 31) * 2 ** 21 + (this.random.uint32() >>> 11),
        nextDoubleUnsafe: () => this.random.next()
      }),
      // Spans cost more than all else here, and nobody looks at them.
      Context.add(References.TracerEnabled, false),
      Context.add(Logger.CurrentLoggers, new Set(options.logger === undefined ? [] : [options.logger]))
    )
  }

  fork<A, E>(effect: Effect.Effect<A, E>): Fiber.Fiber<A, E> {
    return Effect.runForkWith(this.context)(effect)
  }

  kill(): void {
    if (this.state === "dead") return
    this.state = "dead"
    this.#deferred = []
    for (const listener of this.#onDeath.splice(0)) listener()
  }

  freeze(): void {
    if (this.state === "running") this.state = "frozen"
  }

  thaw(): void {
    if (this.state !== "frozen") return
    this.state = "running"
    for (const run of this.#deferred.splice(0)) this.world.task(this, run)
  }

  /** For the world alone: runs when it thaws. */
  defer(run: () => void): void {
    this.#deferred.push(run)
  }

  /** For the outside world: called at once when it is killed. */
  onDeath(listener: () => void): void {
    this.#onDeath.push(listener)
  }
}

const bytesOf = (random: Prng): Buffer => {
  const bytes = Buffer.allocUnsafe(16)
  for (let at = 0; at < 16; at += 4) bytes.writeUInt32BE(random.uint32(), at)
  return bytes
}

/** Clocks are wrong by hours, beyond every horizon; but whole milliseconds since 1970 stay such. */
const OFFSET_MS_MAX = 20_000_000

/** Wall time with its error; elapsed time only drifts, also where wall time jumps. */
export class ProcessClock implements Clock.Clock {
  readonly #process: Process
  readonly #rate: number
  #offsetMs: number

  constructor(process: Process, error: ClockError) {
    this.#process = process
    this.#rate = error.rate
    this.#offsetMs = error.offsetMs
  }

  jump(byMs: number): void {
    this.#offsetMs = Math.min(OFFSET_MS_MAX, Math.max(-OFFSET_MS_MAX, this.#offsetMs + byMs))
  }

  setRight(): void {
    const { nowMs } = this.#process.world
    this.#offsetMs = nowMs - nowMs * this.#rate
  }

  /** Whole, as of any real machine. */
  currentTimeMillisUnsafe(): number {
    return Math.floor(EPOCH_MS + this.#offsetMs + this.#process.world.nowMs * this.#rate)
  }

  currentTimeNanosUnsafe(): bigint {
    return BigInt(this.currentTimeMillisUnsafe()) * 1_000_000n
  }

  monotonicTimeNanosUnsafe(): bigint {
    return BigInt(Math.floor(this.#process.world.nowMs * this.#rate * 1_000_000))
  }

  readonly currentTimeMillis = Effect.sync(() => this.currentTimeMillisUnsafe())
  readonly currentTimeNanos = Effect.sync(() => this.currentTimeNanosUnsafe())
  readonly monotonicTimeNanos = Effect.sync(() => this.monotonicTimeNanosUnsafe())

  /** Timers of a real process have whole milliseconds, and are late. */
  sleep(duration: Duration.Duration): Effect.Effect<void> {
    const ms = Duration.toMillis(duration)
    if (ms <= 0) return Effect.yieldNow
    if (!Number.isFinite(ms)) return Effect.never
    return Effect.callback<void>((resume) => {
      const { world, random } = this.#process
      const lateMs = random.next()
      const timer = world.after(Math.max(1, ms) / this.#rate + lateMs, this.#process, () => resume(Effect.void))
      return Effect.sync(() => {
        timer.run = undefined
      })
    })
  }
}

/** Operations of a fiber before another may run, where it does not wait by itself: seldom few, so that all is interleaved. */
const OPERATIONS_MIN = 64
const OPERATIONS_MAX = 2_048

const schedulerOf = (process: Process): Scheduler.Scheduler => {
  const { world, random } = process
  const dispatcher: Scheduler.SchedulerDispatcher = {
    scheduleTask: (run) => world.task(process, run),
    flush: () => {}
  }
  let operations = OPERATIONS_MAX
  return {
    executionMode: "async",
    shouldYield: (fiber) => {
      if (fiber.currentOpCount < operations) return false
      operations = Math.floor(random.magnitude(OPERATIONS_MIN, OPERATIONS_MAX))
      return true
    },
    makeDispatcher: () => dispatcher
  }
}
