/**
 * 37 CreatePartitions, versions 0-3, flexible from 2.
 *
 *   request  => [topics] timeout_ms validate_only
 *     topics => name count [assignments]            count: the new total; assignments null: the server's choice
 *       assignments => [broker_ids]
 *   response => throttle_time_ms [results]
 *     results => name error_code error_message
 */
import { api, array, bool, int16, int32, string } from "../schema.ts"

export const CreatePartitions = api({
  key: 37,
  name: "CreatePartitions",
  versions: "0-3",
  flexible: "2+",
  request: {
    topics: array({
      name: string({ entity: "topicName" }),
      count: int32(),
      assignments: array(
        { nullable: true },
        {
          brokerIds: array({ entity: "brokerId" }, int32())
        }
      )
    }),
    timeoutMs: int32(),
    validateOnly: bool()
  },
  response: {
    throttleTimeMs: int32({ default: 0 }),
    results: array({
      name: string({ entity: "topicName" }),
      errorCode: int16(),
      errorMessage: string({ nullable: true, default: null })
    })
  }
})
