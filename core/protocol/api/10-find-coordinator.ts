/**
 * 10 FindCoordinator, versions 0-6, flexible from 3.
 *
 *   request  => key(-3) key_type(1+) [coordinator_keys](4+)
 *   response => throttle_time_ms(1+) error_code(-3) error_message(1-3) node_id(-3) host(-3) port(-3) [coordinators](4+)
 *     coordinators => key node_id host port error_code error_message
 *
 * Key types: 0 group, 1 transaction, 2 share (6+). 4 asks for many keys at once; 5 may answer TRANSACTION_ABORTABLE.
 */
import { api, array, int16, int32, int8, string } from "../schema.ts"

export const FindCoordinator = api({
  key: 10,
  name: "FindCoordinator",
  versions: "0-6",
  flexible: "3+",
  request: {
    key: string("0-3"),
    keyType: int8("1+", { default: 0 }),
    coordinatorKeys: array("4+", string())
  },
  response: {
    throttleTimeMs: int32("1+", { ignorable: true }),
    errorCode: int16("0-3"),
    errorMessage: string("1-3", { nullable: true, ignorable: true }),
    nodeId: int32("0-3", { entity: "brokerId" }),
    host: string("0-3"),
    port: int32("0-3"),
    coordinators: array("4+", {
      key: string(),
      nodeId: int32({ entity: "brokerId" }),
      host: string(),
      port: int32(),
      errorCode: int16(),
      errorMessage: string({ nullable: true, ignorable: true })
    })
  }
})
