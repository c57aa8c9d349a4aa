/**
 * The ports Network and Connector on the simulated network: each host is a machine with a name, on which its present process
 * may listen.
 *
 * Connecting costs a round trip. A machine without a listener refuses; a vanished one, or one behind a cut, says nothing, and
 * the attempt is repeated as kernels do until the connector's own time is over. A frozen process's kernel accepts for it.
 */
import { Effect, Layer, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { ConnectError, Connector } from "#core/ports/connector.ts"
import { type AcceptedTransport, ListenError, Network, type Transport } from "#core/ports/network.ts"
import { type Place, type Process } from "../engine/process.ts"
import { type World } from "../engine/world.ts"
import { ConnectionEnd } from "./connection.ts"
import { type Links } from "./links.ts"

/** Pauses between attempts to reach a machine that does not answer, as Linux has them. */
const CONNECT_AGAIN_MS = [1_000, 2_000, 4_000, 8_000]

interface Listener {
  readonly process: Process
  readonly onConnection: (transport: AcceptedTransport) => void
  readonly onRefused: (() => void) | undefined
  readonly connectionsMax: number
  readonly ends: Set<ConnectionEnd>
}

interface Machine extends Place {
  isUp: boolean
  /** By port. */
  readonly listeners: Map<number, Listener>
}

export class SimNetwork {
  readonly #world: World
  readonly links: Links
  readonly #machines = new Map<string, Machine>()
  /** Of living processes. */
  readonly #ends = new Map<Process, Set<ConnectionEnd>>()

  constructor(world: World, links: Links) {
    this.#world = world
    this.links = links
  }

  /** Ports of a process. To be called once, when it starts. */
  layerOf(process: Process): Layer.Layer<Network | Connector> {
    this.#machineOf(process).isUp = true
    this.#ends.set(process, new Set())
    return Layer.mergeAll(
      Layer.succeed(Network, Network.of({ listen: (options) => this.#listen(process, options) })),
      Layer.succeed(Connector, Connector.of({ connect: (options) => this.#connect(process, options) }))
    )
  }

  /** The process has died. `vanish`: the machine with it. */
  died(process: Process, manner: "reset" | "vanish"): void {
    const machine = this.#machineOf(process)
    for (const [port, listener] of machine.listeners) {
      if (listener.process === process) machine.listeners.delete(port)
    }
    if (manner === "vanish") machine.isUp = false
    const ends = this.#ends.get(process)
    this.#ends.delete(process)
    for (const end of ends ?? []) end.die(manner)
  }

  /** Breaks those connections of the process to whose peers it answers yes. */
  resetConnections(process: Process, isBroken: (peer: Place) => boolean): number {
    let count = 0
    for (const end of this.#ends.get(process) ?? []) {
      if (end.other === undefined || !isBroken(end.other.process)) continue
      end.reset()
      count++
    }
    return count
  }

  connectionCount(process: Process): number {
    return this.#ends.get(process)?.size ?? 0
  }

  #machineOf(place: Place): Machine {
    const known = this.#machines.get(place.name)
    if (known !== undefined) return known
    const machine: Machine = { name: place.name, region: place.region, isUp: true, listeners: new Map() }
    this.#machines.set(place.name, machine)
    return machine
  }

  #listen(process: Process, options: Parameters<Network["Service"]["listen"]>[0]) {
    const { host, port, connectionsMax, onConnection, onRefused } = options
    const { listeners } = this.#machineOf(process)
    return Effect.acquireRelease(
      Effect.suspend(() => {
        if (port <= 0 || listeners.has(port)) {
          return Effect.fail(new ListenError({ reason: "AddressInUse", host, port, cause: "the port is taken" }))
        }
        const listener: Listener = { process, onConnection, onRefused, connectionsMax, ends: new Set() }
        listeners.set(port, listener)
        return Effect.succeed(listener)
      }),
      (listener) =>
        Effect.sync(() => {
          if (listeners.get(port) === listener) listeners.delete(port)
          for (const end of listener.ends) end.destroy()
        })
    ).pipe(Effect.as(port))
  }

  #connect(
    process: Process,
    { host, port }: { readonly host: string; readonly port: number }
  ): Effect.Effect<Transport, ConnectError, Scope.Scope> {
    const errorOf = (reason: ConnectError["reason"]): ConnectError =>
      new ConnectError({ reason, host, port, cause: `${reason} in the simulation` })
    const attempt = Effect.callback<ConnectionEnd, ConnectError>((resume) => {
      const attempt: Attempt = { process, host, port, isOver: false, count: 0, end: () => {} }
      attempt.end = (outcome) => {
        if (attempt.isOver) {
          if (outcome instanceof ConnectionEnd) outcome.destroy()
          return
        }
        attempt.isOver = true
        resume(outcome instanceof ConnectionEnd ? Effect.succeed(outcome) : Effect.fail(errorOf(outcome)))
      }
      this.#knock(attempt)
      return Effect.sync(() => {
        attempt.isOver = true
      })
    })
    return Effect.acquireRelease(
      Effect.timeoutOrElse(attempt, {
        duration: limits.clientConnectTimeoutMs,
        orElse: () => Effect.fail(errorOf("TimedOut"))
      }),
      (end) => Effect.sync(() => end.destroy()),
      { interruptible: true }
    )
  }

  /** One attempt to reach the machine, repeated where nothing comes back. */
  #knock(attempt: Attempt): void {
    const { process, host } = attempt
    const machine = this.#machines.get(host)
    if (machine === undefined) {
      this.#world.after(1, process, () => attempt.end("NameNotFound"))
      return
    }
    const again = this.#world.after(CONNECT_AGAIN_MS[attempt.count] ?? 16_000, process, () => {
      if (attempt.isOver) return
      attempt.count++
      this.#knock(attempt)
    })
    // A packet of a handshake that is lost is not sent again by the link: `again` does that.
    this.#world.after(this.links.oneWayMs(process, machine), undefined, () => {
      if (!machine.isUp || this.links.isCut(process, machine)) return
      const listener = machine.listeners.get(attempt.port)
      const end = listener === undefined ? undefined : this.#accept(listener, process, attempt.port)
      this.#world.after(this.links.oneWayMs(machine, process), process, () => {
        if (this.links.isCut(machine, process)) return
        again.run = undefined
        attempt.end(end ?? "Refused")
      })
    })
  }

  /** Answers with the client's end. */
  #accept(listener: Listener, client: Process, port: number): ConnectionEnd | undefined {
    const ends = this.#ends.get(listener.process)
    const clientEnds = this.#ends.get(client)
    if (ends === undefined || clientEnds === undefined) return undefined
    const shared = { links: this.links, isMachineUp: (place: Place) => this.#machineOf(place).isUp }
    const accepted = new ConnectionEnd({ ...shared, process: listener.process, peerName: client.name })
    const opened = new ConnectionEnd({ ...shared, process: client, peerName: `${listener.process.name}:${port}` })
    accepted.other = opened
    opened.other = accepted
    if (listener.ends.size >= listener.connectionsMax) {
      accepted.destroy()
      listener.onRefused?.()
      return opened
    }
    this.#keep(accepted, ends)
    this.#keep(accepted, listener.ends)
    this.#keep(opened, clientEnds)
    this.#world.task(listener.process, () => {
      if (accepted.state === "open") listener.onConnection(accepted)
    })
    return opened
  }

  #keep(end: ConnectionEnd, ends: Set<ConnectionEnd>): void {
    ends.add(end)
    end.onClose(() => ends.delete(end))
  }
}

interface Attempt {
  readonly process: Process
  readonly host: string
  readonly port: number
  isOver: boolean
  count: number
  end: (outcome: ConnectionEnd | ConnectError["reason"]) => void
}
