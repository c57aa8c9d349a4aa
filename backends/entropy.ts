/** Randomness from the operating system, behind core/ports/entropy.ts. */
import { randomFillSync } from "node:crypto"
import { Layer } from "effect"
import { Entropy } from "#core/ports/entropy.ts"
import { uuidFromRandom } from "#core/model/uuid.ts"

export const layer = Layer.succeed(
  Entropy,
  Entropy.of({ uuid: () => uuidFromRandom(randomFillSync(Buffer.alloc(16))) })
)
