/** What goes wrong inside, as Kafka's clients know it [pure]. The only place that maps to error codes. */
import { type CommitLogError } from "#core/log/commit-log.ts"
import { type Verdict } from "#core/log/verdict.ts"
import { type QuorumNotReached } from "#core/ports/segment-store.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"

/** Kafka's error numbers by name. */
export const KAFKA = errorCodes

const BY_VERDICT: Readonly<Record<Verdict, number>> = {
  accepted: KAFKA.NONE,
  // Kafka 4 answers a duplicate as a success with the first offset.
  duplicate: KAFKA.NONE,
  // To clients a success without an offset (core/decisions/0015).
  duplicateWithoutOffset: KAFKA.DUPLICATE_SEQUENCE_NUMBER,
  outOfOrderSequence: KAFKA.OUT_OF_ORDER_SEQUENCE_NUMBER,
  invalidProducerEpoch: KAFKA.INVALID_PRODUCER_EPOCH,
  unknownTopic: KAFKA.UNKNOWN_TOPIC_OR_PARTITION,
  unknownPartition: KAFKA.UNKNOWN_TOPIC_OR_PARTITION,
  // Nothing was appended and a retry is a new segment.
  tooLate: KAFKA.NOT_ENOUGH_REPLICAS,
  // Nothing was appended so far, but another delivery of the command may yet be.
  clockAhead: KAFKA.NOT_ENOUGH_REPLICAS_AFTER_APPEND
}

export const errorOfVerdict = (verdict: Verdict): number => BY_VERDICT[verdict]

/** Of a produce whose segment was not committed: all retriable, and honest about whether it may have been appended. */
export const errorOfBatchFailure = (error: QuorumNotReached | CommitLogError): number => {
  if (error._tag === "QuorumNotReached") return KAFKA.NOT_ENOUGH_REPLICAS
  if (error.reason === "FoldStopped") return KAFKA.KAFKA_STORAGE_ERROR
  return error.outcome === "definite" ? KAFKA.NOT_ENOUGH_REPLICAS : KAFKA.NOT_ENOUGH_REPLICAS_AFTER_APPEND
}

/** Of a question whose linearizable answer cannot be had now: retriable, and clients look at their metadata again. */
export const ERROR_UNSETTLED = KAFKA.LEADER_NOT_AVAILABLE

/** Of an administrative command that was not settled. */
export const errorOfCommand = (error: CommitLogError): number =>
  error.reason === "FoldStopped" ? KAFKA.KAFKA_STORAGE_ERROR : KAFKA.REQUEST_TIMED_OUT
