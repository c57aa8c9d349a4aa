/** Random numbers that a seed repeats: `MERIDIAN_TEST_SEED=N` in the environment, which a test prints. */
import { type Context } from "./system-test.ts"

/** Says the seed, and gives numbers in [0, 1). */
export function seededRandom(context: Pick<Context, "say">): () => number {
  const seed = Number(process.env["MERIDIAN_TEST_SEED"] ?? process.pid)
  context.say(`seed ${seed} (MERIDIAN_TEST_SEED=${seed} repeats it)`)
  return randomFrom(seed)
}

/** mulberry32: small, and the same everywhere. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
