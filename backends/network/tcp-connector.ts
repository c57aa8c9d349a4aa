/** TCP behind core/ports/connector.ts, on node:net. */
import * as net from "node:net"
import { Effect, Layer } from "effect"
import { limits } from "#core/model/limits.ts"
import { ConnectError, Connector } from "#core/ports/connector.ts"
import { transportOf } from "./tcp.ts"

const reasonOf = (code: string | undefined): ConnectError["reason"] => {
  switch (code) {
    case "ECONNREFUSED":
      return "Refused"
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return "NameNotFound"
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return "Unreachable"
    case "ETIMEDOUT":
      return "TimedOut"
    default:
      return "Other"
  }
}

const open = (host: string, port: number): Effect.Effect<net.Socket, ConnectError> =>
  Effect.callback<net.Socket, ConnectError>((resume) => {
    const socket = net.connect({ host, port, noDelay: true, keepAlive: true })
    const failed = (cause: NodeJS.ErrnoException) =>
      resume(Effect.fail(new ConnectError({ reason: reasonOf(cause.code), host, port, cause })))
    socket.once("error", failed)
    socket.once("connect", () => {
      socket.off("error", failed)
      // "close" follows each error; without a listener the event would end the process.
      socket.on("error", () => socket.destroy())
      resume(Effect.succeed(socket))
    })
    return Effect.sync(() => socket.destroy())
  })

const connect: Connector["Service"]["connect"] = Effect.fn("Connector.connect")(function* ({ host, port }) {
  const timedOut = new ConnectError({ reason: "TimedOut", host, port, cause: "no answer in time" })
  const socket = yield* Effect.acquireRelease(
    Effect.timeoutOrElse(open(host, port), {
      duration: limits.clientConnectTimeoutMs,
      orElse: () => Effect.fail(timedOut)
    }),
    (socket) => Effect.sync(() => socket.destroy()),
    { interruptible: true }
  )
  return transportOf(socket)
})

export const layer = Layer.succeed(Connector, Connector.of({ connect }))
