/**
 * A shard's log with the other agents connected: they are told and asked over links, and answered on this agent's own port.
 *
 * Below it must be there: the folded log, which knows the cluster's id, and the directory of agents.
 */
import { Effect, Layer } from "effect"
import { type CommitLog } from "#core/log/commit-log.ts"
import { FoldedLog } from "#core/log/folded-log.ts"
import { LogPeers } from "#core/log/log-peers.ts"
import {
  LogDoor,
  layer as sequencedLogLayer,
  type SequencedLogOptions,
  type SequencerView
} from "#core/log/sequenced-log.ts"
import { assert } from "#core/model/assert.ts"
import { limits } from "#core/model/limits.ts"
import { type Connector } from "#core/ports/connector.ts"
import { type ListenError, type Network } from "#core/ports/network.ts"
import { PeerDirectory } from "#core/ports/peer-directory.ts"
import { type Metrics } from "#core/telemetry/metrics.ts"
import { PeerLinks } from "./peer-links.ts"
import { listen } from "./peer-listener.ts"
import { handlersOf, logPeersOf } from "./peer-log-peers.ts"

export interface PeeredLogOptions {
  readonly shard: number
  /** Where the shard's sequencer prefers to be. */
  readonly homeRegion: string
  /** Where this agent listens for others. Port 0: it does not, and so must be the only one. */
  readonly host: string
  readonly port: number
  readonly log?: SequencedLogOptions
}

export const layer = (
  options: PeeredLogOptions
): Layer.Layer<CommitLog | SequencerView, ListenError, FoldedLog | PeerDirectory | Network | Connector | Metrics> => {
  const { shard } = options
  const listening = Layer.effectDiscard(
    Effect.gen(function* () {
      if (options.port === 0) return
      const { self, clusterId } = yield* whoWeAre(shard)
      const handlers = handlersOf(shard, yield* LogDoor)
      const { host, port } = options
      yield* listen({ host, port, self, clusterId, handlers, connectionsMax: limits.peerConnectionsMax })
    })
  )
  const peers = Layer.effect(
    LogPeers,
    Effect.gen(function* () {
      const { homeRegion } = options
      return logPeersOf({ shard, homeRegion, directory: yield* PeerDirectory, links: yield* PeerLinks })
    })
  )
  const links = Layer.unwrap(
    Effect.gen(function* () {
      const { self, clusterId } = yield* whoWeAre(shard)
      const directory = yield* PeerDirectory
      return PeerLinks.layer({ self, clusterId, members: directory.members })
    })
  )
  return listening.pipe(Layer.provideMerge(sequencedLogLayer(options.log)), Layer.provide(peers), Layer.provide(links))
}

/** Genesis is folded before anything else here begins. Shards but the first have no genesis of their own. */
const whoWeAre = Effect.fnUntraced(function* (shard: number) {
  const { self } = yield* PeerDirectory
  const { clusterId } = (yield* FoldedLog).tail.fold
  assert(clusterId !== undefined, `shard ${shard} has no genesis`)
  return { self, clusterId }
})
