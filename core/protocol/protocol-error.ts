/**
 * The one error of the wire protocol [pure].
 *
 * Decoding is total: bytes either decode or throw this, and it says where. Encoding throws it for a value that the
 * version cannot carry. It never holds bytes or values of the message: those may be secrets.
 */

export type ProtocolErrorReason =
  /** The bytes end before the value does; also a length or count that promises more than there is. */
  | "truncated"
  /** A length, count, varint or tag that no encoder writes. */
  | "malformed"
  /** Bytes are left over after the message. */
  | "trailing-bytes"
  | "unknown-api"
  | "unsupported-version"
  /** Encoding: a value of the wrong type or range, or one that this version cannot carry. */
  | "unencodable"

export interface ProtocolErrorDetails {
  readonly reason: ProtocolErrorReason
  /** Name of the API and direction (`ProduceRequest`), or `header`, or the number of an unknown key. */
  readonly message: string
  /** -1 where there is none (yet). */
  readonly version: number
  /** Path of the field, arrays as `[]`: `topicData[].partitionData[].index`; empty for the message as a whole. */
  readonly field: string
  /** Byte offset in the frame, -1 where there is none. */
  readonly offset: number
  /** What is wrong, in words. */
  readonly problem: string
}

export class ProtocolError extends Error {
  override readonly name = "ProtocolError"
  readonly reason: ProtocolErrorReason
  readonly api: string
  readonly version: number
  readonly field: string
  readonly offset: number

  constructor(details: ProtocolErrorDetails) {
    const version = details.version < 0 ? "" : ` v${details.version}`
    const field = details.field === "" ? "" : ` at ${details.field}`
    const offset = details.offset < 0 ? "" : ` (byte ${details.offset})`
    super(`${details.message}${version}: ${details.reason}${field}${offset}: ${details.problem}`)
    this.reason = details.reason
    this.api = details.message
    this.version = details.version
    this.field = details.field
    this.offset = details.offset
  }
}
