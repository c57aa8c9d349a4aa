/** Seeded randomness for fuzzing: fast, and the same for the same seed on every machine. */

export class FuzzRandom {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** An unsigned number of 32 bits. */
  next(): number {
    this.#state = (this.#state + 0x9e3779b9) | 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad)
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97)
    return (mixed ^ (mixed >>> 15)) >>> 0
  }

  /** 0 <= answer < end. */
  below(end: number): number {
    return Math.floor((this.next() / 2 ** 32) * end)
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.below(times) === 0
  }

  pick<T>(values: ReadonlyArray<T>): T {
    return values[this.below(values.length)]!
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.allocUnsafe(length)
    for (let index = 0; index < length; index++) bytes[index] = this.next()
    return bytes
  }
}

/** Of the environment, else a fresh one. A run prints the seed that it took. */
export const fuzzSeed = (): number => {
  const asked = Number(process.env["MERIDIAN_FUZZ_SEED"])
  return Number.isInteger(asked) && asked > 0 ? asked : 1 + Math.floor(Math.random() * 0x7ffffffe)
}
