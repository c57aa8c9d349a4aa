/**
 * The one exception of this folder [pure]: bytes that cannot be what they claim to be.
 *
 * Whoever reads foreign batches (validator, cursor, lookups, decompression) either returns or throws this; nothing else
 * may escape on bad input. Callers branch on `reason`, never on the message, which is for people.
 */

export type RecordErrorReason =
  /** The bytes end before what their own length fields promise. */
  | "truncated"
  /** A field has a value that the format does not allow. */
  | "malformed"
  /** The CRC-32C of a batch does not match its bytes. */
  | "checksum"
  /** A codec id that Kafka does not know, or whose native module this machine lacks. */
  | "unsupported-codec"
  /** The compressed bytes are not of their codec. */
  | "corrupt-compression"
  /** Uncompressed, the records would exceed the caller's bound. */
  | "too-large"

export class RecordError extends Error {
  override readonly name = "RecordError"
  readonly reason: RecordErrorReason

  constructor(reason: RecordErrorReason, message: string) {
    super(message)
    this.reason = reason
  }
}
