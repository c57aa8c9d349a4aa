/**
 * 10002 PeerEntries, version 0, flexible: settled entries of a shard's log, pushed by its sequencer.
 *
 *   request  => shard epoch tail_seq [relay_to] [rows]
 *     rows => seq epoch nonce prev_nonce is_kept entry
 *   response => error_code folded_seq
 *
 * Private: agents speak it among themselves. It may change from one version of Meridian to the next, but only by new
 * versions of the API: agents of neighbouring versions meet during an upgrade.
 *
 * `relayTo` names agents (node ids) of the receiver's region that it passes the rows on to. `tailSeq` is the newest
 * settled entry, which may be beyond the rows. The answer says how far the receiver has folded.
 */
import { api, array, bool, bytes, int16, int32, int64, uuid } from "#core/protocol/schema.ts"

export const PeerEntries = api({
  key: 10_002,
  name: "PeerEntries",
  versions: "0",
  flexible: "0+",
  request: {
    shard: int32(),
    epoch: int64(),
    tailSeq: int64(),
    relayTo: array(int32({ entity: "brokerId" })),
    rows: array({
      seq: int64(),
      epoch: int64(),
      nonce: uuid(),
      prevNonce: uuid(),
      isKept: bool(),
      entry: bytes()
    })
  },
  response: {
    errorCode: int16(),
    foldedSeq: int64()
  }
})
