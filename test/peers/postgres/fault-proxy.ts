/**
 * A TCP proxy before a database server that does what networks do: refuses, hangs, resets; the last also exactly around one
 * statement, before it reaches the server or after its answer has left it, once or time and again.
 *
 * A statement is known by its name, which the driver sends with each execution of a prepared statement. A client is known by
 * its application_name, as soon as it has told it; connections with TLS stay unknown.
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
  /** Each time the statement comes: resets with that chance, before or after. `random` gives numbers in [0, 1). */
  | { readonly kind: "resets"; readonly statement: string; readonly chance: number; readonly random: () => number }

export interface FaultProxy {
  readonly port: number
  /** Connections that are open through it. */
  readonly connections: () => number
  /** Statements of that name that came by. */
  readonly seen: (statement: string) => number
  /** Resets around statements so far. */
  readonly resets: () => { readonly before: number; readonly after: number }
  readonly set: (mode: ProxyMode) => void
  /** For one client alone; undefined: what holds for all. */
  readonly setFor: (application: string, mode: ProxyMode | undefined) => void
  readonly close: () => Promise<void>
}

export async function startFaultProxy(targetPort: number): Promise<FaultProxy> {
  const state: State = {
    mode: { kind: "pass" },
    modes: new Map(),
    pairs: new Set(),
    severed: new Set(),
    seen: new Map(),
    resets: { before: 0, after: 0 },
    targetPort
  }
  const server = createServer((client) => accept(state, client))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    port: portOf(server),
    connections: () => state.pairs.size,
    seen: (statement) => state.seen.get(statement) ?? 0,
    resets: () => ({ ...state.resets }),
    set: (mode) => {
      state.mode = mode
      apply(state)
    },
    setFor: (application, mode) => {
      if (mode === undefined) state.modes.delete(application)
      else state.modes.set(application, mode)
      apply(state)
    },
    close: async () => {
      for (const pair of state.pairs) reset(state, pair)
      for (const socket of state.severed) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    }
  }
}

interface Pair {
  readonly client: Socket
  readonly upstream: Socket
  /** As the client calls itself; undefined until it has. */
  application: string | undefined
  /** The answer that comes next is not to be seen. */
  isAnswerLost: boolean
}

interface State {
  mode: ProxyMode
  /** By application. */
  readonly modes: Map<string, ProxyMode>
  readonly pairs: Set<Pair>
  /** Ends of connections whose other end went while nothing got through: they do not know it yet. */
  readonly severed: Set<Socket>
  readonly seen: Map<string, number>
  readonly resets: { before: number; after: number }
  readonly targetPort: number
}

/** Statements of the store that tests ask about. */
const WATCHED = ["append", "read", "tail", "agents", "renew", "write-checkpoint-chunk"]

const modeOf = (state: State, { application }: Pick<Pair, "application">): ProxyMode =>
  (application === undefined ? undefined : state.modes.get(application)) ?? state.mode

function apply(state: State): void {
  for (const pair of state.pairs) {
    const { kind } = modeOf(state, pair)
    if (kind === "refuse") reset(state, pair)
    else if (kind !== "hang") [pair.client, pair.upstream].forEach((socket) => socket.resume())
  }
  if (state.mode.kind === "hang" || [...state.modes.values()].some(({ kind }) => kind === "hang")) return
  for (const socket of state.severed) socket.destroy()
  state.severed.clear()
}

function accept(state: State, client: Socket): void {
  client.on("error", () => undefined)
  if (state.mode.kind === "refuse" && state.modes.size === 0) return void client.resetAndDestroy()
  const upstream = connect(state.targetPort, "127.0.0.1")
  upstream.on("error", () => undefined)
  const pair: Pair = { client, upstream, application: undefined, isAnswerLost: false }
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
      if (modeOf(state, pair).kind !== "hang") other.end()
    })
    socket.on("close", () => {
      state.pairs.delete(pair)
      if (modeOf(state, pair).kind !== "hang") other.destroy()
      else if (!other.destroyed) state.severed.add(other)
    })
  }
}

function fromClient(state: State, pair: Pair, data: Buffer): void {
  pair.application ??= applicationOf(data)
  for (const name of WATCHED) {
    if (isExecutionOf(data, name)) state.seen.set(name, (state.seen.get(name) ?? 0) + 1)
  }
  const mode = modeOf(state, pair)
  if (mode.kind === "refuse") return reset(state, pair)
  if (mode.kind === "hang") return hold(pair.client, data)
  const when = resetOf(mode, data)
  if (when !== undefined) {
    state.resets[when] += 1
    if (mode.kind === "reset") endReset(state, mode)
    if (when === "before") return reset(state, pair)
    pair.isAnswerLost = true
  }
  pair.upstream.write(data)
}

/** Whether the connection is to be reset around what the client sends here. */
function resetOf(mode: ProxyMode, data: Buffer): "before" | "after" | undefined {
  if ((mode.kind !== "reset" && mode.kind !== "resets") || !isExecutionOf(data, mode.statement)) return undefined
  if (mode.kind === "reset") return mode.when
  if (mode.random() >= mode.chance) return undefined
  return mode.random() < 0.5 ? "before" : "after"
}

function endReset(state: State, mode: ProxyMode): void {
  if (state.mode === mode) state.mode = { kind: "pass" }
  for (const [application, other] of state.modes) if (other === mode) state.modes.delete(application)
}

function fromServer(state: State, pair: Pair, data: Buffer): void {
  if (modeOf(state, pair).kind === "hang") return hold(pair.upstream, data)
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

const STARTUP_VERSION = 3 << 16
const STARTUP_HEADER_BYTES = 8

/** A startup message: length, version, then names and values, each ended by a zero. */
function applicationOf(data: Buffer): string | undefined {
  if (data.length < STARTUP_HEADER_BYTES || data.readInt32BE(4) !== STARTUP_VERSION) return undefined
  const words = data.toString("utf8", STARTUP_HEADER_BYTES).split("\0")
  const at = words.findIndex((word, index) => index % 2 === 0 && word === "application_name")
  return at < 0 ? undefined : words[at + 1]
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
