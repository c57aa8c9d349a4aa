/**
 * Verdicts on a batch [pure]. Persisted in log entries by number: never reuse one. The agent maps them to Kafka's error
 * codes (core/agent/kafka-error.ts).
 */
export const VERDICTS = {
  accepted: 0,
  /** Same producer, epoch and sequence as one of its last five batches: answered with the first answer (KIP-98). */
  duplicate: 1,
  outOfOrderSequence: 2,
  /** The producer's epoch is below the highest seen. */
  invalidProducerEpoch: 3,
  /** The topic was deleted meanwhile, or never was. */
  unknownTopic: 4,
  unknownPartition: 5,
  /** The segment is older than the orphan horizon: it may be deleted any time, so nothing may refer to it. */
  tooLate: 6,
  /**
   * The segment was created in the sequencer's future: its author's clock is ahead. Nothing is settled: never in an entry,
   * and a delivery of the same command may yet be accepted when its time has come.
   */
  clockAhead: 7,
  /**
   * Each of its sequences was accepted in this epoch, but not as one of the batches that are remembered: nothing is appended,
   * and where its records are is not known any more.
   */
  duplicateWithoutOffset: 8
} as const

export type Verdict = keyof typeof VERDICTS

export const VERDICT_BY_ID: ReadonlyArray<Verdict> = Object.keys(VERDICTS) as Array<Verdict>
