/** Why a request of our Kafka client got no answer, and whether it may have taken effect. */
import { Schema } from "effect"

export class ClientError extends Schema.TaggedError<ClientError>()("ClientError", {
  reason: Schema.Literals([
    /** No connection could be opened. */
    "Unreachable",
    /** The connection ended, by either side. */
    "Closed",
    /** No answer in time; ConnectOptions.onTimeout says what becomes of the connection. */
    "TimedOut",
    /** Too many requests wait on this connection. */
    "Overloaded",
    /** The other side broke the protocol; the connection is closed. */
    "Malformed",
    /** The other side does not do this API in a version that we do. */
    "UnsupportedVersion",
    /** The body cannot be written in this version: a mistake of the caller. */
    "Unencodable"
  ]),
  /** `indefinite`: the request was sent and may have taken effect. */
  outcome: Schema.Literals(["definite", "indefinite"]),
  /** `host:port`. */
  peer: Schema.String,
  /** `Fetch v12`, or `connect`. */
  operation: Schema.String,
  cause: Schema.Defect()
}) {
  /** Whether the same request may succeed on a new connection. */
  get isRetryable(): boolean {
    return (
      this.reason === "Unreachable" ||
      this.reason === "Closed" ||
      this.reason === "TimedOut" ||
      this.reason === "Overloaded"
    )
  }
  override get message(): string {
    return `${this.operation} to ${this.peer}: ${this.reason} (${this.outcome}): ${String(this.cause)}`
  }
}
