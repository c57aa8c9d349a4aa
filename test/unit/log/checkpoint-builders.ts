/** Folds and checkpoints, one from the other, and the golden files. */
import { readFileSync } from "node:fs"
import { assert } from "vitest"
import { restoreFold } from "#core/log/checkpoint.ts"
import { encodeBody, imageOfFold } from "#core/log/checkpoint-body.ts"
import { createFold, type Fold } from "#core/log/fold.ts"
import {
  ACCEPTED_COUNT_MAX,
  NUMBERS_PER_BATCH,
  type ProducerState,
  sequenceCountOf
} from "#core/log/producer-states.ts"
import { limits } from "#core/model/limits.ts"

export const restored = (chunks: ReadonlyArray<Uint8Array>, fold: Fold = createFold(0)): Fold => {
  restoreFold(fold, chunks)
  return fold
}

export const hexOf = (chunks: ReadonlyArray<Uint8Array>): ReadonlyArray<string> =>
  chunks.map((chunk) => Buffer.from(chunk).toString("hex"))

export const bodyOf = (fold: Fold): Buffer => {
  const slices = encodeBody(imageOfFold(fold))
  for (;;) {
    const slice = slices.next()
    if (slice.done === true) return slice.value
  }
}

/** Sequences of the batches that are remembered. */
export const rememberedOf = ({ batches }: ProducerState): number => {
  let count = 0
  for (let at = 0; at < batches.length; at += NUMBERS_PER_BATCH) {
    count += sequenceCountOf(batches[at]!, batches[at + 1]!)
  }
  return count
}

export const goldenOf = (version: 1 | 2): ReadonlyArray<Buffer> =>
  readFileSync(new URL(`../../goldens/log/checkpoint-v${version}.hex`, import.meta.url), "utf8")
    .trim()
    .split("\n")
    .map((line) => Buffer.from(line, "hex"))

/** What every state must be, whoever read it. */
export const assertSound = (state: ProducerState): void => {
  assert.isAtMost(state.batches.length, NUMBERS_PER_BATCH * limits.producerBatchesRemembered)
  assert.isAtLeast(state.acceptedCount, Math.min(rememberedOf(state), ACCEPTED_COUNT_MAX))
  assert.isAtMost(state.acceptedCount, ACCEPTED_COUNT_MAX)
}
