/** Who an agent is to other agents, and whether they may talk [pure]. */
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { type RequestOf } from "#core/protocol/schema.ts"
import { type PeerHello } from "./api/10000-peer-hello.ts"

export interface PeerIdentity {
  /** Stable over restarts. */
  readonly name: string
  /** Of its process. */
  readonly session: Uuid
  readonly nodeId: number
  readonly region: string
  readonly zone: string
}

/** What this agent says of itself. */
export type PeerSelf = PeerIdentity

export interface Refusal {
  readonly errorCode: number
  readonly errorMessage: string
}

/** An AgentRecord has more. */
export const identityOf = ({ name, session, nodeId, region, zone }: PeerIdentity): PeerIdentity => {
  return { name, session, nodeId, region, zone }
}

/** The seam for a secret that agents share: whoever looks at `hello.secret` does it here. */
export const refusalOf = (hello: RequestOf<typeof PeerHello>, clusterId: string): Refusal | undefined => {
  if (hello.clusterId !== clusterId) {
    // A stranger's text is cut before it is repeated.
    const theirs = hello.clusterId.slice(0, limits.agentNameLengthMax)
    const errorMessage = `this is cluster ${clusterId}, not ${theirs}`
    return { errorCode: errorCodes.INCONSISTENT_CLUSTER_ID, errorMessage }
  }
  const isNamed = hello.name !== "" && hello.name.length <= limits.agentNameLengthMax
  if (!isNamed || hello.nodeId < 0) {
    return { errorCode: errorCodes.INVALID_REQUEST, errorMessage: "an agent says its name and its node id" }
  }
  return undefined
}
