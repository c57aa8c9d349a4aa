/**
 * Agents of one shard that reach each other in memory, with what a network may do to them: LogPeers for unit tests.
 *
 * A killed agent stays listed, as until its time in the database is over; its port refuses, a frozen one never answers, and neither gets anything done (`gateOf`). Streams end when
 * either side's scope does.
 */
import { Effect, Latch } from "effect"
import { type LogMember, LogPeerError, type LogPeers, type SubmitStream } from "#core/log/log-peers.ts"
import { type IncomingStream, type LogDoor } from "#core/log/sequenced-log.ts"

type Door = LogDoor["Service"]

interface Place {
  readonly member: LogMember
  door: Door | undefined
  state: "up" | "gone" | "silent"
  readonly streams: Set<() => void>
  /** Open while it runs. */
  readonly gate: Latch.Latch
  /** It knows nobody: the test is over for it. */
  isAlone: boolean
}

export interface EnteredMember {
  readonly peers: LogPeers["Service"]
  /** What the agent does outside of memory waits for it. */
  readonly gate: Latch.Latch
  readonly open: (door: Door) => void
  /** The end of the test: one that was killed or frozen must not try to hand over, which takes time. */
  readonly dismiss: () => void
}

export class MemoryPeers {
  readonly homeRegion: string
  private readonly places = new Map<string, Place>()

  constructor(homeRegion: string) {
    this.homeRegion = homeRegion
  }

  /** Enters a member, in the place of an earlier one of its name. */
  enter(member: LogMember): EnteredMember {
    const place: Place = {
      member,
      door: undefined,
      state: "up",
      streams: new Set(),
      gate: Latch.makeUnsafe(true),
      isAlone: false
    }
    this.places.set(member.name, place)
    const peers: LogPeers["Service"] = {
      self: member,
      homeRegion: this.homeRegion,
      members: () =>
        [...this.places.values()]
          .filter((each) => each === place || !place.isAlone)
          .map((each) => each.member)
          .sort((left, right) => left.nodeId - right.nodeId),
      membersAskedAtMs: () => Number.POSITIVE_INFINITY,
      openStream: (other) => this.openStream(place, other),
      ping: (other) => this.through(place, other, (door) => Effect.sync(door.ping)),
      tell: (other, tidings) => this.through(place, other, (door) => Effect.sync(() => void door.tidings(tidings)))
    }
    return {
      peers,
      gate: place.gate,
      open: (door) => {
        place.door = door
      },
      dismiss: () => {
        place.isAlone = place.state !== "up"
      }
    }
  }

  set(name: string, state: Place["state"]): void {
    const place = this.places.get(name)!
    place.state = state
    if (state === "up") place.gate.openUnsafe()
    else place.gate.closeUnsafe()
    if (state === "gone") for (const end of place.streams) end()
  }

  private through<A>(
    from: Place,
    to: LogMember,
    use: (door: Door) => Effect.Effect<A, LogPeerError>
  ): Effect.Effect<A, LogPeerError> {
    return Effect.suspend(() => {
      const place = this.places.get(to.name)
      if (from.state !== "up" || place?.state === "silent") return Effect.never
      if (place?.door === undefined || place.state === "gone" || place.member.session !== to.session) {
        return Effect.fail(new LogPeerError({ reason: "Gone", member: to.name, cause: "nobody listens" }))
      }
      return use(place.door)
    })
  }

  private openStream(from: Place, to: LogMember) {
    // Waiting for one that does not answer can be given up.
    return Effect.andThen(
      this.through(from, to, () => Effect.void),
      Effect.acquireRelease(
        Effect.sync(() => this.makeStream(from, to)),
        ({ end }) => Effect.sync(end)
      )
    ).pipe(Effect.map(({ stream }): SubmitStream => stream))
  }

  private makeStream(from: Place, to: LogMember) {
    const place = this.places.get(to.name)!
    const closeListeners = new Set<() => void>()
    let isOver = false
    const end = (): void => {
      if (isOver) return
      isOver = true
      place.streams.delete(end)
      from.streams.delete(end)
      for (const listener of closeListeners) listener()
    }
    place.streams.add(end)
    from.streams.add(end)
    const incoming: IncomingStream = {
      isRefused: false,
      onClose: (listener) => {
        closeListeners.add(listener)
        return () => void closeListeners.delete(listener)
      }
    }
    const stream: SubmitStream = {
      send: (command, epoch) =>
        Effect.suspend(() =>
          isOver
            ? Effect.fail(new LogPeerError({ reason: "Unreachable", member: to.name, cause: "the stream is over" }))
            : this.through(from, to, (door) => door.submit({ command, epoch }, incoming))
        ),
      onClosed: (listener) => void closeListeners.add(listener)
    }
    return { stream, end }
  }
}
