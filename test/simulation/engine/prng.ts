/**
 * Seeded randomness of the simulation [pure]: the same name gives the same numbers, on every machine.
 *
 * Each part draws from a stream of its own (`streamOf(seed, "network")`), so that one more draw in one part does not change
 * what the others do: a schedule of faults stays the same when a checker is added.
 */

const TWO_TO_32 = 2 ** 32

/** sfc32: fast, and good enough for schedules. */
export class Prng {
  #a: number
  #b: number
  #c: number
  #counter = 1

  constructor(name: string) {
    const [a, b, c] = hashOf(name)
    this.#a = a
    this.#b = b
    this.#c = c
    // The first numbers of a sfc32 still show its seed.
    for (let index = 0; index < 12; index++) this.uint32()
  }

  uint32(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0
    this.#counter = (this.#counter + 1) | 0
    this.#a = this.#b ^ (this.#b >>> 9)
    this.#b = (this.#c + (this.#c << 3)) | 0
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum
    return sum >>> 0
  }

  /** From 0 to 1, without 1. */
  next(): number {
    return this.uint32() / TWO_TO_32
  }

  /** A whole number from 0 to `count` - 1. */
  below(count: number): number {
    return Math.floor(this.next() * count)
  }

  between(min: number, max: number): number {
    return min + this.next() * (max - min)
  }

  /** A whole number, both ends included. */
  whole(min: number, max: number): number {
    return min + this.below(max - min + 1)
  }

  /** From `min` to `max`, each order of magnitude equally often. */
  magnitude(min: number, max: number): number {
    return min * (max / min) ** this.next()
  }

  chance(probability: number): boolean {
    return this.next() < probability
  }

  pick<T>(list: ReadonlyArray<T>): T {
    return list[this.below(list.length)]!
  }

  /** So many of the list, in a random order. */
  sample<T>(list: ReadonlyArray<T>, count: number): Array<T> {
    const rest = [...list]
    const taken: Array<T> = []
    while (taken.length < count && rest.length > 0) taken.push(rest.splice(this.below(rest.length), 1)[0]!)
    return taken
  }
}

export const streamOf = (seed: number, name: string): Prng => new Prng(`${seed}/${name}`)

/** cyrb128, shortened. */
const hashOf = (text: string): readonly [number, number, number] => {
  let a = 1_779_033_703
  let b = 3_144_134_277
  let c = 1_013_904_242
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    a = b ^ Math.imul(a ^ unit, 597_399_067)
    b = c ^ Math.imul(b ^ unit, 2_869_860_233)
    c = a ^ Math.imul(c ^ unit, 951_274_213)
  }
  a = Math.imul(c ^ (a >>> 18), 597_399_067)
  b = Math.imul(a ^ (b >>> 22), 2_869_860_233)
  c = Math.imul(b ^ (c >>> 17), 951_274_213)
  return [a | 0, b | 0, c | 0]
}
