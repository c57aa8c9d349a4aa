/**
 * 10003 PeerPing, version 0, flexible: is the agent there, and what does it know of a shard's sequencer?
 *
 *   request  => shard
 *   response => epoch tail_seq is_acting
 *
 * Private: agents speak it among themselves. It may change from one version of Meridian to the next, but only by new
 * versions of the API: agents of neighbouring versions meet during an upgrade.
 *
 * `isActing`: the agent is the shard's sequencer, and gets on with it.
 */
import { api, bool, int32, int64 } from "#core/protocol/schema.ts"

export const PeerPing = api({
  key: 10_003,
  name: "PeerPing",
  versions: "0",
  flexible: "0+",
  request: {
    shard: int32()
  },
  response: {
    epoch: int64(),
    tailSeq: int64(),
    isActing: bool()
  }
})
