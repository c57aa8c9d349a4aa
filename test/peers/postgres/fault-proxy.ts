/**
 * A TCP proxy before a database server that does what networks do: refuses, hangs, resets; the last two also exactly around one
 * statement, before it reaches the server or after its answer has left it.
 *
 * A statement is known by its name, which the driver sends with each execution of a prepared statement.
 */
import { connect, createServer, type Server, type Socket } from "node:net"

export type ProxyMode =
  | { readonly kind: "pass" }
  /** New connections are reset; those that are there too. */
  | { readonly kind: "refuse" }
  /** Nothing goes through any more, in either direction; connections are taken. */
  | { readonly kind: "hang" }
  /** The next time the statement comes: resets. `before`: it does not reach the server. `after`: its answer is lost. */
  | { readonly kind: "reset"; readonly statement: string; readonly when: "before" | "after" }

export interface FaultProxy {
  readonly port: number
  /** Connections that are open through it. */
  readonly connections: () => number
  /** Statements of that name that came by. */
  readonly seen: (statement: string) => number
  readonly set: (mode: ProxyMode) => void
  readonly close: () => Promise<void>
}

export async function startFaultProxy(targetPort: number): Promise<FaultProxy> {
  const state: State = { mode: { kind: "pass" }, pairs: new Set(), seen: new Map(), targetPort }
  const server = createServer((client) => accept(state, client))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    port: portOf(server),
    connections: () => state.pairs.size,
    seen: (statement) => state.seen.get(statement) ?? 0,
    set: (mode) => {
      state.mode = mode
      if (mode.kind === "refuse") for (const pair of state.pairs) reset(state, pair)
      if (mode.kind === "pass")
        for (const { client, upstream } of state.pairs) [client, upstream].forEach((s) => s.resume())
    },
    close: async () => {
      for (const pair of state.pairs) reset(state, pair)
      await new Promise<void>((resolve) => server.close(() => resolve()))
    }
  }
}

interface Pair {
  readonly client: Socket
  readonly upstream: Socket
  /** The answer that comes next is not to be seen. */
  isAnswerLost: boolean
}

interface State {
  mode: ProxyMode
  readonly pairs: Set<Pair>
  readonly seen: Map<string, number>
  readonly targetPort: number
}

/** Statements of the store that tests ask about. */
const WATCHED = ["append", "read", "tail", "agents", "renew", "write-checkpoint-chunk"]

function accept(state: State, client: Socket): void {
  client.on("error", () => undefined)
  if (state.mode.kind === "refuse") return void client.resetAndDestroy()
  const upstream = connect(state.targetPort, "127.0.0.1")
  upstream.on("error", () => undefined)
  const pair: Pair = { client, upstream, isAnswerLost: false }
  state.pairs.add(pair)
  client.setNoDelay(true)
  upstream.setNoDelay(true)
  client.on("data", (data) => fromClient(state, pair, data))
  upstream.on("data", (data) => fromServer(state, pair, data))
  for (const [socket, other] of [
    [client, upstream],
    [upstream, client]
  ] as const) {
    socket.on("end", () => {
      if (state.mode.kind !== "hang") other.end()
    })
    socket.on("close", () => {
      state.pairs.delete(pair)
      if (state.mode.kind !== "hang") other.destroy()
    })
  }
}

function fromClient(state: State, pair: Pair, data: Buffer): void {
  for (const name of WATCHED) {
    if (isExecutionOf(data, name)) state.seen.set(name, (state.seen.get(name) ?? 0) + 1)
  }
  const { mode } = state
  if (mode.kind === "hang") return hold(pair.client, data)
  if (mode.kind === "reset" && isExecutionOf(data, mode.statement)) {
    state.mode = { kind: "pass" }
    if (mode.when === "before") return reset(state, pair)
    pair.isAnswerLost = true
  }
  pair.upstream.write(data)
}

function fromServer(state: State, pair: Pair, data: Buffer): void {
  if (state.mode.kind === "hang") return hold(pair.upstream, data)
  if (pair.isAnswerLost) return reset(state, pair)
  pair.client.write(data)
}

/** What has come is read again when things pass. */
function hold(socket: Socket, data: Buffer): void {
  socket.pause()
  socket.unshift(data)
}

/** A Bind message: its portal has no name, and its statement this one. */
function isExecutionOf(data: Buffer, statement: string): boolean {
  return data.includes(Buffer.from(`\0${statement}\0`, "latin1"))
}

function reset(state: State, pair: Pair): void {
  state.pairs.delete(pair)
  pair.client.resetAndDestroy()
  pair.upstream.resetAndDestroy()
}

function portOf(server: Server): number {
  const address = server.address()
  if (typeof address !== "object" || address === null) throw new Error("the proxy has no port")
  return address.port
}
