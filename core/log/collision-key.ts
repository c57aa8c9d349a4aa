/**
 * Kafka's collision rule for topic names [pure]: metric names cannot tell `.` from `_`, so two live topics must differ in
 * more than that.
 */

/** Equal for names that collide. */
export const collisionKeyOf = (topicName: string): string => topicName.replaceAll(".", "_")
