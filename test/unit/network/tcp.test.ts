// Goal: accepted connections read into the memory that their owner names, also through pauses, resets and the bound on
// connections. Method: real sockets on loopback.
import * as net from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as tcp from "#backends/network/tcp.ts"
import { type AcceptedTransport, ListenError, Network } from "#core/ports/network.ts"

const ROOM_BYTES = 10_000

/** A sink whose rooms are the test's own, and what came into them. */
const collector = () => {
  const rooms: Array<Buffer> = []
  let bytes = Buffer.alloc(0)
  let waiting: { readonly count: number; readonly resolve: () => void } | undefined
  return {
    rooms,
    sink: {
      room: () => {
        const room = Buffer.alloc(ROOM_BYTES)
        rooms.push(room)
        return room
      },
      received: (count: number) => {
        bytes = Buffer.concat([bytes, rooms.at(-1)!.subarray(0, count)])
        if (waiting !== undefined && bytes.length >= waiting.count) waiting.resolve()
      }
    },
    received: () => bytes,
    until: (count: number) =>
      Effect.promise(
        () =>
          new Promise<void>((resolve) => {
            waiting = { count, resolve }
            if (bytes.length >= count) resolve()
          })
      )
  }
}

const listen = (connectionsMax = 100) =>
  Effect.gen(function* () {
    const accepted: Array<AcceptedTransport> = []
    let refused = 0
    let wake = () => {}
    const network = yield* Network
    const port = yield* network.listen({
      host: "127.0.0.1",
      port: 0,
      connectionsMax,
      onConnection: (transport) => {
        accepted.push(transport)
        wake()
      },
      onRefused: () => {
        refused += 1
      }
    })
    const connect = Effect.promise(async () => {
      const client = net.connect({ host: "127.0.0.1", port })
      client.on("error", () => {})
      const isAccepted = new Promise<void>((resolve) => (wake = resolve))
      await Promise.race([isAccepted, new Promise<void>((resolve) => client.once("close", () => resolve()))])
      return client
    })
    return { accepted, connect, port, refused: () => refused }
  })

const closed = (client: net.Socket) =>
  Effect.promise(
    () => new Promise<void>((resolve) => (client.closed ? resolve() : client.once("close", () => resolve())))
  )

describe("tcp", () => {
  it.live("reads into the memory that its owner names, whatever came before it was named", () =>
    Effect.gen(function* () {
      const { accepted, connect } = yield* listen()
      const client = yield* connect
      client.write("early ")
      const { sink, received, rooms, until } = collector()
      accepted[0]!.readInto(sink)
      const large = Buffer.alloc(1_000_000, "x")
      client.write(large)
      yield* until(6 + large.length)
      assert.isTrue(received().equals(Buffer.concat([Buffer.from("early "), large])))
      assert.isAbove(rooms.length, large.length / ROOM_BYTES - 1, "Node still reads into the rooms")
      client.destroy()
    }).pipe(Effect.provide(tcp.layer), Effect.scoped)
  )

  it.live("reads nothing while paused, and everything in order afterwards", () =>
    Effect.gen(function* () {
      const { accepted, connect } = yield* listen()
      const client = yield* connect
      const { sink, received, until } = collector()
      accepted[0]!.readInto(sink)
      client.write("a")
      yield* until(1)
      accepted[0]!.pause()
      client.write(Buffer.alloc(3_000_000, "b"))
      yield* Effect.sleep(50)
      assert.isBelow(received().length, 200_000, "at most what was under way")
      accepted[0]!.resume()
      yield* until(3_000_001)
      client.destroy()
    }).pipe(Effect.provide(tcp.layer), Effect.scoped)
  )

  it.live("writes chunks in order and says when they were taken", () =>
    Effect.gen(function* () {
      const { accepted, connect } = yield* listen()
      const client = yield* connect
      accepted[0]!.readInto(collector().sink)
      let echoed = ""
      client.on("data", (chunk) => (echoed += chunk.toString()))
      yield* Effect.promise(
        () => new Promise<void>((resolve) => accepted[0]!.write([Buffer.from("one "), Buffer.from("two")], resolve))
      )
      yield* Effect.promise(
        () => new Promise<void>((resolve) => (echoed === "one two" ? resolve() : client.once("data", () => resolve())))
      )
      assert.strictEqual(echoed, "one two")
      client.destroy()
    }).pipe(Effect.provide(tcp.layer), Effect.scoped)
  )

  it.live("tells of the end once, by the peer's close and by its reset, and lets go of what was not taken", () =>
    Effect.gen(function* () {
      const { accepted, connect } = yield* listen()
      for (const end of ["end", "resetAndDestroy"] as const) {
        const client = yield* connect
        const transport = accepted.at(-1)!
        let ends = 0
        const ended = new Promise<void>((resolve) =>
          transport.onClose(() => {
            ends++
            resolve()
          })
        )
        transport.readInto(collector().sink)
        let taken = 0
        client.pause()
        for (let index = 0; index < 20; index++) transport.write([Buffer.alloc(1_000_000)], () => taken++)
        client[end]()
        if (end === "end") client.destroy()
        yield* Effect.promise(() => ended)
        yield* Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
        assert.strictEqual(ends, 1)
        assert.strictEqual(taken, 20, "memory of all writes is given back")
      }
    }).pipe(Effect.provide(tcp.layer), Effect.scoped)
  )

  it.live("closes connections beyond the bound and accepts again when one has gone", () =>
    Effect.gen(function* () {
      const { accepted, connect, refused } = yield* listen(2)
      const clients = [yield* connect, yield* connect]
      for (const transport of accepted) transport.readInto(collector().sink)
      const third = yield* connect
      yield* closed(third)
      assert.strictEqual(accepted.length, 2)
      assert.strictEqual(refused(), 1)
      const gone = new Promise<void>((resolve) => accepted[0]!.onClose(resolve))
      clients[0]!.destroy()
      yield* Effect.promise(() => gone)
      yield* connect
      assert.strictEqual(accepted.length, 3)
      assert.strictEqual(refused(), 1)
    }).pipe(Effect.provide(tcp.layer), Effect.scoped)
  )

  it.live("destroys its connections and frees the port at the end of its scope", () =>
    Effect.gen(function* () {
      const { client, port } = yield* Effect.scoped(
        Effect.gen(function* () {
          const { accepted, connect, port } = yield* listen()
          const client = yield* connect
          accepted[0]!.readInto(collector().sink)
          return { client, port }
        })
      )
      yield* closed(client)
      const network = yield* Network
      const again = yield* network.listen({ host: "127.0.0.1", port, connectionsMax: 1, onConnection: () => {} })
      assert.strictEqual(again, port)
    }).pipe(Effect.provide(tcp.layer), Effect.scoped)
  )

  it.live("says that a port is in use", () =>
    Effect.gen(function* () {
      const network = yield* Network
      const options = { host: "127.0.0.1", connectionsMax: 1, onConnection: () => {} }
      const port = yield* network.listen({ ...options, port: 0 })
      const error = yield* Effect.flip(network.listen({ ...options, port }))
      assert.instanceOf(error, ListenError)
      assert.strictEqual(error.reason, "AddressInUse")
    }).pipe(Effect.provide(tcp.layer), Effect.scoped)
  )
})
