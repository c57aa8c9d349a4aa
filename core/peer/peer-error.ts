/** Why an agent got no answer of another one, and whether its request may have taken effect. */
import { Schema } from "effect"
import { type ClientError } from "#core/client/client-error.ts"
import { ConnectError } from "#core/ports/connector.ts"

export class PeerError extends Schema.TaggedError<PeerError>()("PeerError", {
  reason: Schema.Literals([
    /** Nobody listens there: its process is gone. */
    "Refused",
    /** No connection could be opened, for another reason. */
    "Unreachable",
    /** No answer in time: to the request, or to the attempt to connect. */
    "TimedOut",
    /** The connection ended before the answer came, or was over already. */
    "Closed",
    /** Another cluster, another agent than expected, or no agent at all. */
    "Foreign",
    /** Too many requests wait, or too many connections are open. */
    "Overloaded",
    /** The other side broke the protocol or does not know the API; or the request is too long. */
    "Malformed"
  ]),
  /** `indefinite`: the request was sent and may have taken effect. */
  outcome: Schema.Literals(["definite", "indefinite"]),
  /** The agent's name and address. */
  peer: Schema.String,
  /** `PeerSubmit v0`, or `connect`. */
  operation: Schema.String,
  cause: Schema.Defect()
}) {
  /** Whether the same request may succeed later. */
  get isRetryable(): boolean {
    return this.reason !== "Foreign" && this.reason !== "Malformed"
  }
  override get message(): string {
    return `${this.operation} to ${this.peer}: ${this.reason} (${this.outcome}): ${String(this.cause)}`
  }
}

export const peerErrorOf = (error: ClientError, peer: string): PeerError => {
  const { outcome, operation } = error
  return new PeerError({ reason: reasonOf(error), outcome, peer, operation, cause: error.cause })
}

const reasonOf = ({ reason, cause }: ClientError): PeerError["reason"] => {
  switch (reason) {
    case "Unreachable":
      return cause instanceof ConnectError && cause.reason === "Refused" ? "Refused" : "Unreachable"
    case "UnsupportedVersion":
    case "Unencodable":
      return "Malformed"
    default:
      return reason
  }
}
