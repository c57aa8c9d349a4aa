/**
 * Port: byte streams that we open to others (a foreign Kafka cluster, an agent under test). TCP in the product
 * (backends/network/tcp-connector.ts), memory in simulation.
 */
import { Context, type Effect, Schema, type Scope } from "effect"
import { type Transport } from "./network.ts"

export class ConnectError extends Schema.TaggedError<ConnectError>()("ConnectError", {
  reason: Schema.Literals(["Refused", "NameNotFound", "Unreachable", "TimedOut", "Other"]),
  host: Schema.String,
  port: Schema.Number,
  cause: Schema.Defect()
}) {
  override get message(): string {
    return `cannot connect to ${this.host}:${this.port}: ${this.reason}`
  }
}

export class Connector extends Context.Service<
  Connector,
  {
    /** A connected stream, destroyed when the scope ends. Data that comes before `onData` was called is kept. */
    readonly connect: (options: {
      readonly host: string
      readonly port: number
    }) => Effect.Effect<Transport, ConnectError, Scope.Scope>
  }
>()("meridian/core/ports/Connector") {}
