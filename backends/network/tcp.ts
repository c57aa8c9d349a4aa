/** TCP behind core/ports/network.ts, on node:net. */
import * as net from "node:net"
import { Effect, Layer } from "effect"
import { type AcceptedTransport, type ByteSink, ListenError, Network, type Transport } from "#core/ports/network.ts"

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
const connectedOf = (socket: net.Socket) => ({
  peer: `${socket.remoteAddress ?? "unknown"}:${socket.remotePort ?? 0}`,
  onClose: (listener: () => void) => void socket.once("close", () => listener()),
  onDrain: (listener: () => void) => void socket.on("drain", listener),
  write: (chunks: ReadonlyArray<Uint8Array>, taken: () => void): "more" | "full" => {
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

export const transportOf = (socket: net.Socket): Transport => ({
  ...connectedOf(socket),
  onData: (listener) => void socket.on("data", listener)
})

/**
 * Node reads into memory of the caller's own (`onread`) only for sockets that are made for it, and a server makes its own
 * ones. So the accepted connection's handle, a private field of Node's, moves to a second socket. This is guarded by a test (test/unit/network/tcp.test.ts) and without harm where it should vanish: then bytes are copied once more.
 */
const reopen = (accepted: net.Socket, sink: ByteSink): net.Socket => {
  const owner = accepted as unknown as { _handle: unknown }
  const handle = owner._handle
  if (handle === null || handle === undefined) {
    accepted.on("data", (chunk: Buffer) => copyInto(sink, chunk))
    return accepted
  }
  owner._handle = null
  const onread = {
    buffer: () => sink.room(),
    callback: (bytes: number, memory: Buffer) => {
      // The very first read goes where nobody had said yet.
      if (memory === BEFORE_SINK) copyInto(sink, memory.subarray(0, bytes))
      else sink.received(bytes)
      return true
    }
  }
  return new net.Socket({ handle, onread, readable: true, writable: true } as unknown as net.SocketConstructorOpts)
}

const copyInto = (sink: ByteSink, chunk: Buffer): void => {
  for (let at = 0; at < chunk.length;) {
    const bytes = chunk.copy(sink.room(), 0, at)
    sink.received(bytes)
    at += bytes
  }
}

const BEFORE_SINK = Buffer.allocUnsafeSlow(64 * 1024)

/** Until the owner of a connection says where its bytes go, nothing is read. */
const NOWHERE: ByteSink = { room: () => BEFORE_SINK, received: () => {} }

const accept = (accepted: net.Socket, onConnection: (transport: AcceptedTransport) => void): net.Socket => {
  let sink = NOWHERE
  const socket = reopen(accepted, { room: () => sink.room(), received: (bytes) => sink.received(bytes) })
  // Resets and broken pipes are everyday; "close" follows each of them.
  socket.on("error", () => socket.destroy())
  socket.setNoDelay(true)
  socket.setKeepAlive(true)
  onConnection({
    ...connectedOf(socket),
    readInto: (given) => {
      sink = given
      socket.resume()
    },
    // Node's own count goes down only when a whole write has ended; its handle knows better.
    unsentBytes: () =>
      (socket as unknown as { _handle?: { writeQueueSize?: number } | null })._handle?.writeQueueSize ??
      socket.writableLength
  })
  return socket
}

const listen: Network["Service"]["listen"] = Effect.fn("Network.listen")(function* (options) {
  const { host, port } = options
  const sockets = new Set<net.Socket>()
  const server = net.createServer({ pauseOnConnect: true }, (accepted) => {
    // Node's own maxConnections counts sockets that it made.
    if (sockets.size >= options.connectionsMax) {
      accepted.destroy()
      return options.onRefused?.()
    }
    const socket = accept(accepted, options.onConnection)
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  })
  // Not awaited: Node waits for the sockets that it made, whose connections have moved.
  const close = Effect.sync(() => {
    server.close()
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
