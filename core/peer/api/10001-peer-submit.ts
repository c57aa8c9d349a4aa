/**
 * 10001 PeerSubmit, version 0, flexible: a command for the sequencer of a shard.
 *
 *   request  => shard epoch command
 *   response => error_code error_message seq answer
 *
 * Private: agents speak it among themselves. It may change from one version of Meridian to the next, but only by new
 * versions of the API: agents of neighbouring versions meet during an upgrade.
 *
 * `epoch` is the newest that the asker knows: who knows less of the log is not its sequencer. Command and answer are those of core/log/command-bytes.ts. The answer comes when the command is settled, as entry `seq`.
 * With NOT_COORDINATOR neither the command nor any that comes after it on this connection is judged.
 */
import { api, bytes, int16, int32, int64, string } from "#core/protocol/schema.ts"

export const PeerSubmit = api({
  key: 10_001,
  name: "PeerSubmit",
  versions: "0",
  flexible: "0+",
  request: {
    shard: int32(),
    epoch: int64(),
    command: bytes()
  },
  response: {
    errorCode: int16(),
    errorMessage: string({ nullable: true }),
    seq: int64(),
    answer: bytes()
  }
})
