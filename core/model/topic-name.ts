/** Kafka's rules for topic names (org.apache.kafka.common.internals.Topic) [pure]. */
import { limits } from "./limits.ts"

const PATTERN = /^[a-zA-Z0-9._-]+$/

/** What is wrong with the name, or undefined. */
export const topicNameProblem = (name: string): string | undefined => {
  if (name.length === 0) return "the topic name is empty"
  if (name === "." || name === "..") return `the topic name cannot be "${name}"`
  if (name.length > limits.topicNameLengthMax) {
    return `the topic name has ${name.length} characters; at most ${limits.topicNameLengthMax} are allowed`
  }
  if (!PATTERN.test(name))
    return `the topic name "${name}" has characters other than ASCII letters, digits, ".", "_" and "-"`
  return undefined
}

export const isTopicName = (name: string): boolean => topicNameProblem(name) === undefined

/** Equal for names that collide: metric names cannot tell `.` from `_`, so two live topics must differ in more. */
export const collisionKey = (name: string): string => name.replaceAll(".", "_")
