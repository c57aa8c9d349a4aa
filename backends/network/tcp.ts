/** TCP behind core/ports/network.ts, on node:net. */
import * as net from "node:net"
import { Effect, Layer } from "effect"
import { ListenError, Network, type Transport } from "#core/ports/network.ts"

const reasonOf = (code: string | undefined): ListenError["reason"] => {
  switch (code) {
    case "EADDRINUSE":
      return "AddressInUse"
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return "AddressNotAvailable"
    case "EACCES":
    case "EPERM":
      return "AccessDenied"
    default:
      return "Other"
  }
}

/** A connected socket as the port has it, whichever side opened it. */
export const transportOf = (socket: net.Socket): Transport => ({
  peer: `${socket.remoteAddress ?? "unknown"}:${socket.remotePort ?? 0}`,
  onData: (listener) => void socket.on("data", listener),
  onClose: (listener) => void socket.once("close", () => listener()),
  onDrain: (listener) => void socket.on("drain", listener),
  write: (chunks, taken) => {
    if (socket.destroyed || chunks.length === 0) {
      queueMicrotask(taken)
      return "more"
    }
    // One writev for all chunks: nothing is concatenated on the way to the kernel.
    socket.cork()
    for (let index = 0; index < chunks.length - 1; index++) socket.write(chunks[index]!)
    const more = socket.write(chunks[chunks.length - 1]!, () => taken())
    socket.uncork()
    return more ? "more" : "full"
  },
  pause: () => void socket.pause(),
  resume: () => void socket.resume(),
  destroy: () => void socket.destroy()
})

const listen: Network["Service"]["listen"] = Effect.fn("Network.listen")(function* (options) {
  const { host, port } = options
  const sockets = new Set<net.Socket>()
  const server = net.createServer({ noDelay: true, keepAlive: true, highWaterMark: 256 * 1024 }, (socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
    // Resets and broken pipes are everyday; "close" follows each of them.
    socket.on("error", () => socket.destroy())
    options.onConnection(transportOf(socket))
  })
  server.maxConnections = options.connectionsMax
  const close = Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    for (const socket of sockets) socket.destroy()
  })
  yield* Effect.acquireRelease(
    Effect.callback<void, ListenError>((resume) => {
      const failed = (cause: NodeJS.ErrnoException) =>
        resume(Effect.fail(new ListenError({ reason: reasonOf(cause.code), host, port, cause })))
      server.once("error", failed)
      server.listen({ host, port, backlog: 511 }, () => {
        server.off("error", failed)
        // EMFILE on accept: node goes on listening; without a listener the event would end the process.
        server.on("error", () => {})
        resume(Effect.void)
      })
    }),
    () => close
  )
  return (server.address() as net.AddressInfo).port
})

export const layer = Layer.succeed(Network, Network.of({ listen }))
