/**
 * Goal: index pages, checkpoints and a trimmed log hold on a real server what they hold in memory.
 * Method: the story of test/unit/log/materializer.test.ts, each on a new database.
 */
import { describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { materializeAlong } from "../unit/log/materializer-harness.ts"
import { serverUrl, storeOn } from "./postgres-store.ts"

describe("a materializer on PostgreSQL", () => {
  for (const seed of [1, 3]) {
    it.live(`leaves every record findable, and agents that start now or follow along the same, seed ${seed}`, () =>
      Effect.flatMap(
        Effect.suspend(() => storeOn(serverUrl())),
        (store) => materializeAlong(store, seed)
      )
    )
  }
})
