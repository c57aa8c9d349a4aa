/**
 * Port: segments in a set of buckets (implemented by replication/quorum).
 *
 * The agent knows neither how many buckets there are nor which answer: it hands over a segment and learns where it is
 * durable; it asks for bytes and gets bytes that passed its own check, from the nearest bucket that has them.
 */
import { Context, type Effect, Schema } from "effect"
import { type Uuid } from "#core/model/uuid.ts"

/** What identifies a segment and says where it should be; part of every log entry that refers to it. */
export interface SegmentAddress {
  readonly segmentId: Uuid
  /** Milliseconds since the epoch at its author; with the id it makes the object key (core/segment/segment-key.ts). */
  readonly createdAtMs: number
  /** Name of the bucket set (`quorum`). */
  readonly bucketSet: string
}

export interface SegmentWritten {
  /** Names of the buckets that had acknowledged the whole segment when the quorum was reached. */
  readonly ackedBuckets: ReadonlyArray<string>
}

/** Fewer than W buckets in distinct failure domains acknowledged. Copies may exist: the segment id is never used again. */
export class QuorumNotReached extends Schema.TaggedError<QuorumNotReached>()("QuorumNotReached", {
  segmentId: Schema.String,
  needed: Schema.Number,
  acked: Schema.Array(Schema.String),
  /** A line per bucket that failed or did not answer in time. */
  failures: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `segment ${this.segmentId}: ${this.acked.length} of ${this.needed} needed buckets acknowledged; ${this.failures.join("; ")}`
  }
}

/** No bucket has bytes that pass the check. */
export class SegmentUnreadable extends Schema.TaggedError<SegmentUnreadable>()("SegmentUnreadable", {
  segmentId: Schema.String,
  failures: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `segment ${this.segmentId} cannot be read: ${this.failures.join("; ")}`
  }
}

export class SegmentStore extends Context.Service<
  SegmentStore,
  {
    /**
     * Puts the segment to all buckets of its set at once and ends when W of them, in distinct failure domains, have it.
     * The others go on in the background; a copy that fails is recorded as missing. The chunks must not change until
     * `released` is called, once, when the last put has ended; never where a put was given up and may still read them.
     */
    readonly write: (
      address: SegmentAddress,
      chunks: ReadonlyArray<Uint8Array>,
      released?: () => void
    ) => Effect.Effect<SegmentWritten, QuorumNotReached>
    /**
     * `length` bytes from `offset` that pass `isSound`, from the nearest bucket that has them: the buckets are tried by
     * nearness; one that lacks the object, fails, or gives bytes that fail the check is reported and the next is asked.
     * The bytes belong to the caller, who may change them.
     */
    readonly read: (
      address: SegmentAddress & { readonly ackedBuckets: ReadonlyArray<string> },
      range: { readonly offset: number; readonly length: number },
      isSound: (bytes: Buffer) => boolean
    ) => Effect.Effect<Buffer, SegmentUnreadable>
  }
>()("meridian/core/ports/SegmentStore") {}
