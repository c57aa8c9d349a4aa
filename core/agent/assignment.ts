/**
 * Brokers of a partition, as clients assign them [pure]. Any agent serves any partition, so an assignment is checked
 * for its form, as Kafka does, and then forgotten. Whether the brokers exist is not asked: an agent may be known to
 * some listeners only, and nothing depends on it.
 */

/** What is wrong with a list of brokers; undefined where nothing is. */
export const brokersProblem = (brokerIds: ReadonlyArray<number>): string | undefined => {
  if (brokerIds.length === 0) return "every assignment needs at least one broker"
  if (brokerIds.some((brokerId) => brokerId < 0)) return "a broker of an assignment has a negative id"
  return new Set(brokerIds).size < brokerIds.length ? "an assignment names a broker twice" : undefined
}
