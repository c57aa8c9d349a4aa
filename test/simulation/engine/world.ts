/**
 * One simulated world: its time, what is about to happen, and who may run [the only loop of the simulation].
 *
 * Invariants: everything that happens is a function of the seed. Time stands still while anything can run; then it goes on
 * to the next event. Among those who can run the seed picks, or the first comes first, by the seed as well. Code of a
 * process runs only from here, as an event or task of that process: so a dead one never runs again, and a frozen one not
 * until it thaws. No promise, timer or clock of the real world takes part: the loop is one synchronous call.
 */
import { CheckFailed, type CheckName } from "./check-failed.ts"
import { EventQueue, type SimEvent } from "./event-queue.ts"
import { type Process } from "./process.ts"
import { type Prng, streamOf } from "./prng.ts"
import { Trace } from "./trace.ts"

/** Simulated time 0 on a clock that is right. */
export const EPOCH_MS = 1_790_000_000_000

/** Tasks at one instant: more are a loop that waits for something without letting time pass. */
const TASKS_PER_INSTANT_MAX = 200_000

interface Task {
  readonly process: Process
  readonly run: () => void
}

export class World {
  readonly seed: number
  readonly trace: Trace
  /** Milliseconds since the beginning, with fractions. */
  nowMs = 0
  /** The first check that failed; nothing happens after that. */
  failure: CheckFailed | undefined = undefined
  eventCount = 0
  taskCount = 0
  readonly #events = new EventQueue()
  readonly #random: Prng
  readonly #order: "random" | "first"
  #runnable: Array<Task> = []
  /** Of `#runnable`, where the first comes first: so many have run. */
  #taken = 0

  constructor(options: { readonly seed: number; readonly trace: "lines" | "none" }) {
    this.seed = options.seed
    this.trace = new Trace(options.trace, () => this.nowMs)
    this.#random = streamOf(options.seed, "scheduler")
    this.#order = this.#random.chance(0.8) ? "random" : "first"
  }

  /** Runs at that time, or as soon as it can: not before the process thaws, never where it is dead. */
  at(atMs: number, process: Process | undefined, run: () => void): SimEvent {
    return this.#events.add(Math.max(atMs, this.nowMs), process, run)
  }

  after(delayMs: number, process: Process | undefined, run: () => void): SimEvent {
    return this.#events.add(this.nowMs + Math.max(0, delayMs), process, run)
  }

  /** Runs before time goes on. */
  task(process: Process, run: () => void): void {
    this.#runnable.push({ process, run })
  }

  fail(check: CheckName, message: string, facts: Readonly<Record<string, unknown>> = {}): void {
    if (this.failure !== undefined) return
    this.failure = new CheckFailed(check, message, facts)
    this.trace.add("check", () => `FAILED ${check}: ${message} ${JSON.stringify(facts)}`)
  }

  /** Until that time, or until `isDone` says so (asked after each event), or a check has failed. */
  runUntil(untilMs: number, isDone: () => boolean = () => false): void {
    this.#runTasks()
    while (this.failure === undefined && !isDone()) {
      const next = this.#events.peek()
      if (next === undefined || next.atMs > untilMs) {
        this.nowMs = Math.max(this.nowMs, untilMs)
        return
      }
      this.#events.take()
      this.#runEvent(next)
      this.#runTasks()
    }
  }

  #runEvent(event: SimEvent): void {
    const { run, process } = event
    if (run === undefined) return
    this.nowMs = event.atMs
    if (process === undefined) {
      this.eventCount++
      this.#guarded(run, undefined)
    } else if (process.state === "running") {
      this.eventCount++
      this.#guarded(run, process)
    } else if (process.state === "frozen") {
      process.defer(() => event.run?.())
    }
  }

  #runTasks(): void {
    let count = 0
    for (let task = this.#take(); task !== undefined && this.failure === undefined; task = this.#take()) {
      const { process, run } = task
      if (process.state === "running") {
        this.#guarded(run, process)
        count++
        if (count > TASKS_PER_INSTANT_MAX) {
          this.fail("simulator", `${process.name} runs and runs without letting time pass`)
          return
        }
      } else if (process.state === "frozen") process.defer(run)
    }
    this.taskCount += count
  }

  #take(): Task | undefined {
    const runnable = this.#runnable
    const size = runnable.length - this.#taken
    if (size === 0) {
      if (this.#taken > 0) {
        this.#runnable = []
        this.#taken = 0
      }
      return undefined
    }
    if (this.#order === "first") return runnable[this.#taken++]
    const index = size === 1 ? 0 : this.#random.below(size)
    const task = runnable[index]!
    runnable[index] = runnable[size - 1]!
    runnable.pop()
    return task
  }

  /** What is thrown outside of any fiber would end a real process. */
  #guarded(run: () => void, process: Process | undefined): void {
    try {
      run()
    } catch (error) {
      if (error instanceof CheckFailed) this.fail(error.check, error.message, error.facts)
      else {
        const check = process === undefined ? "simulator" : "healthy"
        const stack = error instanceof Error ? error.stack : String(error)
        this.fail(check, `${process?.name ?? "the world"} threw: ${String(error)}`, { stack })
      }
    }
  }
}
