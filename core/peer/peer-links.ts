/**
 * The links of this agent to the others, one per process (session), and connections for streams of requests.
 *
 * A link is made when it is first asked for. It rests when nobody uses it, and is retired when its agent is no member any
 * more for two looks in a row, or with the scope. Both links and streams are bounded in number.
 *
 * A stream is a connection of its own: requests that depend on each other fail together when it does. It is never opened
 * anew by itself, and no attempt waits for another: whoever opens streams paces himself.
 */
import { Clock, Context, Effect, FiberSet, Layer, Schedule, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { Connector } from "#core/ports/connector.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import { connect, type PeerConnection } from "./peer-connection.ts"
import { PeerError } from "./peer-error.ts"
import { type PeerIdentity, type PeerSelf } from "./peer-identity.ts"
import { type LinkContext, ManagedLink, type PeerAddress, type PeerLink } from "./peer-link.ts"

export { type PeerAddress, type PeerLink } from "./peer-link.ts"

export interface PeerLinksOptions {
  readonly self: PeerSelf
  readonly clusterId: string
  /** Who is a member now, from memory. */
  readonly members: () => ReadonlyArray<Pick<PeerIdentity, "session">>
}

export class PeerLinks extends Context.Service<
  PeerLinks,
  {
    /** The same one for the same process. Costs nothing until it is used. */
    readonly link: (agent: PeerAddress) => PeerLink
    /** A connection of its own, which ends with the scope and is never opened again. */
    readonly openStream: (agent: PeerAddress) => Effect.Effect<PeerConnection, PeerError, Scope.Scope>
  }
>()("meridian/core/peer/PeerLinks") {
  static readonly layer = (options: PeerLinksOptions): Layer.Layer<PeerLinks, never, Connector | Metrics> =>
    Layer.effect(PeerLinks, make(options))
}

export const make = Effect.fnUntraced(function* (
  options: PeerLinksOptions
): Effect.fn.Return<PeerLinks["Service"], never, Connector | Metrics | Scope.Scope> {
  const connector = yield* Connector
  const metrics = yield* Metrics
  const fibers = yield* FiberSet.make<void>()
  const context: LinkContext = {
    clock: yield* Clock.Clock,
    connect: (agent) => connectTo(options, agent),
    run: yield* FiberSet.runtime(fibers)<Connector>()
  }
  const links = new Map<Uuid, Entry>()
  yield* Effect.addFinalizer(() => Effect.sync(() => retireAll(links)))
  const sweep = Effect.sync(() => sweepLinks(links, options))
  yield* Effect.forkScoped(Effect.repeat(sweep, Schedule.spaced(limits.peerLinkSweepMs)))
  yield* metrics.observe("peerLinks", () => countStates(links))
  const streams = { open: 0 }
  return PeerLinks.of({
    link: (agent) => linkTo(links, agent, context),
    openStream: (agent) => Effect.provideService(openStream(options, agent, streams), Connector, connector)
  })
})

interface Entry {
  readonly link: ManagedLink
  /** Looks in a row that did not find its agent among the members. */
  looksAbsent: number
}

const linkTo = (links: Map<Uuid, Entry>, agent: PeerAddress, context: LinkContext): PeerLink => {
  const known = links.get(agent.session)
  if (known !== undefined) return known.link
  const link = new ManagedLink(agent, context)
  if (links.size >= limits.peerLinksMax) link.retire("Overloaded", `there are ${links.size} links already`)
  else links.set(agent.session, { link, looksAbsent: 0 })
  return link
}

const sweepLinks = (links: Map<Uuid, Entry>, { members }: PeerLinksOptions): void => {
  const present = new Set(members().map(({ session }) => session))
  for (const [session, entry] of links) {
    entry.looksAbsent = present.has(session) ? 0 : entry.looksAbsent + 1
    entry.link.rest()
    if (entry.looksAbsent < 2) continue
    links.delete(session)
    entry.link.retire("Closed", "the agent is no member any more")
  }
}

const retireAll = (links: Map<Uuid, Entry>): void => {
  for (const { link } of links.values()) link.retire("Closed", "this agent stops")
  links.clear()
}

const countStates = (links: Map<Uuid, Entry>) => {
  const counts = { connected: 0, connecting: 0, down: 0 }
  for (const { link } of links.values()) counts[link.state]++
  return Object.entries(counts).map(([state, value]) => ({ value, attributes: { state } }))
}

const openStream = Effect.fnUntraced(function* (
  options: PeerLinksOptions,
  agent: PeerAddress,
  streams: { open: number }
) {
  if (streams.open >= limits.peerStreamsMax) {
    const [peer, cause] = [agent.name, `${streams.open} streams are open already`]
    return yield* new PeerError({ reason: "Overloaded", outcome: "definite", peer, operation: "connect", cause })
  }
  yield* Effect.acquireRelease(
    Effect.sync(() => streams.open++),
    () => Effect.sync(() => streams.open--)
  )
  return yield* connectTo(options, agent)
})

const connectTo = ({ self, clusterId }: PeerLinksOptions, { name, session, peerHost, peerPort }: PeerAddress) =>
  connect({ host: peerHost, port: peerPort, self, clusterId, expected: { name, session } })
