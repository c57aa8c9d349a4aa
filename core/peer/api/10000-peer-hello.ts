/**
 * 10000 PeerHello, version 0, flexible.
 *
 *   request  => cluster_id name session node_id region zone secret
 *   response => error_code error_message name session node_id region zone
 *
 * Private: agents speak it among themselves. It may change from one version of Meridian to the next, but only by new
 * versions of the API: agents of neighbouring versions meet during an upgrade.
 *
 * The first request of a connection after ApiVersions: who asks, and who answers. A refusal carries no identity but the
 * answerer's own. The secret is reserved for one that agents share; nobody looks at it yet.
 */
import { api, bytes, int16, int32, string, uuid } from "#core/protocol/schema.ts"

export const PeerHello = api({
  key: 10_000,
  name: "PeerHello",
  versions: "0",
  flexible: "0+",
  request: {
    clusterId: string(),
    name: string(),
    session: uuid(),
    nodeId: int32({ entity: "brokerId" }),
    region: string(),
    zone: string(),
    secret: bytes({ nullable: true })
  },
  response: {
    errorCode: int16(),
    errorMessage: string({ nullable: true }),
    name: string(),
    session: uuid(),
    nodeId: int32({ entity: "brokerId" }),
    region: string(),
    zone: string()
  }
})
