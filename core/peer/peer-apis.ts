/** The APIs of a peer listener [pure]: the agents' own, and ApiVersions, with which every connection begins. */
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { advertise } from "#core/protocol/registry.ts"
import { PeerHello } from "./api/10000-peer-hello.ts"
import { PeerSubmit } from "./api/10001-peer-submit.ts"
import { PeerEntries } from "./api/10002-peer-entries.ts"
import { PeerPing } from "./api/10003-peer-ping.ts"

/** In order of their keys. Keys below 10,000 are Kafka's. */
export const peerApis = [ApiVersions, PeerHello, PeerSubmit, PeerEntries, PeerPing] as const

export const advertisedPeerVersions = advertise(peerApis)
