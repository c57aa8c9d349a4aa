/** Port: randomness for ids and nonces. Seeded in simulation; node:crypto in the product (backends/entropy.ts). */
import { Context } from "effect"
import { type Uuid } from "#core/model/uuid.ts"

export class Entropy extends Context.Service<
  Entropy,
  {
    /** A new version 4 UUID. */
    readonly uuid: () => Uuid
  }
>()("meridian/core/ports/Entropy") {}
