/**
 * 20 DeleteTopics, versions 1-6, flexible from 4.
 *
 *   request  => [topics](6+) [topic_names](-5) timeout_ms
 *     topics => name topic_id                                          one of the two: name null, or id zero
 *   response => throttle_time_ms [responses]
 *     responses => name topic_id(6+) error_code error_message(5+)
 */
import { api, array, int16, int32, string, uuid } from "../schema.ts"

export const DeleteTopics = api({
  key: 20,
  name: "DeleteTopics",
  versions: "1-6",
  flexible: "4+",
  request: {
    topics: array("6+", {
      name: string({ nullable: true, default: null, entity: "topicName" }),
      topicId: uuid("6+")
    }),
    topicNames: array("0-5", { entity: "topicName", ignorable: true }, string()),
    timeoutMs: int32()
  },
  response: {
    throttleTimeMs: int32({ ignorable: true }),
    responses: array({
      name: string({ nullable: "6+", entity: "topicName" }),
      topicId: uuid("6+", { ignorable: true }),
      errorCode: int16(),
      errorMessage: string("5+", { nullable: true, default: null, ignorable: true })
    })
  }
})
