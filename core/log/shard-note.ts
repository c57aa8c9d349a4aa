/**
 * Says in the database who sequences a shard, for people (`meridian metadata status`): never authority, the log alone is.
 *
 * Whoever sequences notes it once per epoch, off the path of commands, and again until the database has taken it. What was
 * noted of the log's front stays.
 */
import { Effect, Result } from "effect"
import { limits } from "#core/model/limits.ts"
import { type MetadataStore } from "#core/ports/metadata-store.ts"
import { guarded, type LogTail } from "./log-tail.ts"
import { type Sequencer } from "./sequencer.ts"

/** Never ends by itself, unless the log ends. */
export const noteSequencer = Effect.fnUntraced(function* (parts: {
  readonly tail: LogTail
  readonly sequencer: Sequencer
  readonly store: MetadataStore["Service"]
  readonly homeRegion: string
}) {
  const { tail, sequencer, store, homeRegion } = parts
  let notedEpoch: number | undefined
  while (tail.ended === undefined) {
    const { shard, epoch } = tail.fold
    if (sequencer.isActing && notedEpoch !== epoch) {
      const { name: holder, region: holderRegion } = sequencer.self
      const noted = yield* Effect.result(
        Effect.flatMap(guarded("shardNotes", store.shardNotes), (notes) => {
          const trimmedSeq = notes.find((note) => note.shard === shard)?.trimmedSeq ?? 0
          return guarded("noteShard", store.noteShard({ shard, epoch, holder, holderRegion, homeRegion, trimmedSeq }))
        })
      )
      if (Result.isSuccess(noted)) notedEpoch = epoch
    }
    yield* Effect.sleep(limits.sequencerNoteMs)
  }
})
