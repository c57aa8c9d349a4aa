/**
 * Produce (key 0), served v3-13, advertised 0-13.
 *
 * Every batch is checked (core/records), joins the open segment uncopied, and is answered when the entry that holds its
 * offset is settled. Each partition has its own error; the others are unharmed. acks=1 is treated as acks=all: there is no
 * cheaper promise to give. acks=0 has no answer; any error closes the connection, as in Kafka.
 * v8+ names bad records (KIP-467); v10+ CurrentLeader is never needed: any agent serves any partition; v13 has topic ids.
 * Deliberate gaps: transactional batches (INVALID_TXN_STATE, there are no transactions yet); the request's timeout_ms is not
 * a deadline of its own, since writing and committing have theirs.
 */
import { Effect } from "effect"
import { type PartitionState } from "#core/log/fold.ts"
import { effectiveTopicConfig } from "#core/config/topic-config.ts"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { type RequestOf, type ResponseInput } from "#core/protocol/schema.ts"
import { validateProduced } from "#core/records/validate-batch.ts"
import { type AgentServices, defineHandler, NO_ANSWER, type Reply, type RequestContext } from "../handler.ts"
import { errorOfBatchFailure, errorOfVerdict, KAFKA } from "../kafka-error.ts"
import { type BatchOutcome, type PendingBatch } from "../segment-buffer.ts"
import { type Certainty, findPartition, findTopic, settleIfMissing } from "../topic-lookup.ts"

type Request = RequestOf<typeof Produce>
type Response = ResponseInput<typeof Produce>
type PartitionAnswer = Response["responses"][number]["partitionResponses"][number]

const NO_RECORDS = Buffer.alloc(0)

/** First version that names topics by id, and only so. */
const BY_ID_SINCE = 13
const referenceOf = (name: string, topicId: string, apiVersion: number) =>
  apiVersion >= BY_ID_SINCE ? { name: null, topicId } : { name, topicId: UUID_ZERO }

const refused = (index: number, errorCode: number, errorMessage: string | null = null): PartitionAnswer => ({
  index,
  errorCode,
  baseOffset: -1,
  logAppendTimeMs: -1,
  logStartOffset: -1,
  errorMessage
})

/** A batch that joined the segment, and where its answer goes. */
interface Accepted extends PendingBatch {
  readonly state: PartitionState
  readonly answers: Array<PartitionAnswer>
  readonly slot: number
}

/** Of one request. */
interface RequestChecks {
  /** What its batches may still take uncompressed: a hostile one must not keep the agent busy for minutes. */
  roomBytes: number
  /** The log's time, by which timestamps are checked. */
  readonly nowMs: number
}

const unfold = (checks: RequestChecks, bytes: number): void => {
  checks.roomBytes = Math.max(0, checks.roomBytes - bytes)
}

/** Checks one partition's records: a batch that may join the segment, or the refusal. */
const check = (
  apiVersion: number,
  state: PartitionState,
  records: Buffer,
  checks: RequestChecks
): { readonly pending: PendingBatch } | { readonly refusal: (index: number) => PartitionAnswer } => {
  const config = effectiveTopicConfig(state.topic.configs)
  const result = validateProduced(records, {
    apiVersion,
    maxBytes: config.maxMessageBytes,
    isCompacted: config.isCompacted,
    timestampType: config.timestampType,
    timestampBeforeMaxMs: config.timestampBeforeMaxMs,
    timestampAfterMaxMs: config.timestampAfterMaxMs,
    nowMs: checks.nowMs,
    compressionType: config.compressionType,
    uncompressedBytesMax: Math.max(1, Math.min(limits.batchBytesUncompressedMax, checks.roomBytes))
  })
  if (!result.ok) {
    const { errorCode, message, recordErrors } = result
    // It may have been unfolded up to its bound before it was refused.
    if (errorCode === KAFKA.MESSAGE_TOO_LARGE) unfold(checks, limits.batchBytesUncompressedMax)
    return {
      refusal: (index) => ({
        ...refused(index, errorCode, message),
        logStartOffset: state.logStartOffset,
        recordErrors: recordErrors.map(({ batchIndex, message: batchIndexErrorMessage }) => ({
          batchIndex,
          batchIndexErrorMessage
        }))
      })
    }
  }
  unfold(checks, result.uncompressedBytes)
  if (result.isTransactional) {
    return { refusal: (index) => refused(index, KAFKA.INVALID_TXN_STATE, "transactions are not supported yet") }
  }
  return {
    pending: {
      topicId: state.topic.topicId,
      partition: state.partition,
      timestampType: config.timestampType,
      batch: result.batch,
      // Its own object: it outlives the request, the bytes must not.
      summary: {
        offsetCount: result.offsetCount,
        // With LogAppendTime the commit's time is every record's. Entries hold no time beyond the year 73,000: a later one
        // stays in its record as it is, and look-ups by time do not tell it from the last one.
        maxTimestampMs: config.timestampType === "append" ? -1 : Math.min(result.maxTimestampMs, limits.timestampMsMax),
        producerId: result.producerId,
        producerEpoch: result.producerEpoch,
        baseSequence: result.baseSequence
      }
    }
  }
}

/** Goes through the request: refusals are put into the answer at once, accepted batches come back for the segment. */
const sort = (services: AgentServices, request: Request, apiVersion: number, certainty: Certainty) => {
  const accepted: Array<Accepted> = []
  const checks: RequestChecks = { roomBytes: limits.requestBytesUncompressedMax, nowMs: services.log.nowMs() }
  const responses = request.topicData.map(({ name, topicId, partitionData }) => {
    const reference = referenceOf(name, topicId, apiVersion)
    const topic = findTopic(services.log.fold, reference)
    const answers: Array<PartitionAnswer> = []
    for (const { index, records } of partitionData) {
      const state = findPartition(topic, reference, index, certainty)
      if (typeof state === "number") {
        answers.push(refused(index, state))
        continue
      }
      const checked = check(apiVersion, state, records ?? NO_RECORDS, checks)
      if ("refusal" in checked) answers.push(checked.refusal(index))
      else {
        accepted.push({ ...checked.pending, state, answers, slot: answers.length })
        answers.push(refused(index, KAFKA.UNKNOWN_SERVER_ERROR))
      }
    }
    return { name, topicId, partitionResponses: answers }
  })
  return { accepted, responses }
}

const answerOf = (services: AgentServices, accepted: Accepted, outcome: BatchOutcome): PartitionAnswer => {
  const { counters } = services.metrics
  const { state, partition } = accepted
  if ("_tag" in outcome) return refused(partition, errorOfBatchFailure(outcome), outcome.message)
  if (outcome.verdict === "accepted") {
    counters.produceBatches++
    counters.produceRecords += accepted.summary.offsetCount
    counters.produceBytes += accepted.batch.length
  } else if (outcome.verdict === "duplicate" || outcome.verdict === "duplicateWithoutOffset") {
    counters.produceDuplicates++
  }
  const errorCode = errorOfVerdict(outcome.verdict)
  if (errorCode !== KAFKA.NONE) return { ...refused(partition, errorCode), logStartOffset: state.logStartOffset }
  return {
    index: partition,
    errorCode,
    baseOffset: outcome.baseOffset,
    logAppendTimeMs: outcome.appendTimeMs,
    logStartOffset: state.logStartOffset,
    errorMessage: null
  }
}

const appendAll = (
  services: AgentServices,
  accepted: ReadonlyArray<Accepted>,
  { lease, takeBudget, turn }: RequestContext
): Effect.Effect<void> => {
  if (accepted.length === 0) {
    turn.pass()
    return Effect.void
  }
  return Effect.callback((resume) => {
    // The batches are views of the request, and late copies may read them long after it was answered. They take memory
    // until they are settled, also where the client has gone.
    lease.keep()
    const giveBudgetBack = takeBudget()
    services.buffer.append(accepted, {
      released: () => lease.giveUp(),
      settled: (outcomes) => {
        giveBudgetBack()
        for (let index = 0; index < accepted.length; index++) {
          const each = accepted[index]!
          each.answers[each.slot] = answerOf(services, each, outcomes[index]!)
        }
        resume(Effect.void)
      }
    })
    turn.pass()
  })
}

const untilMyTurn = ({ turn }: RequestContext): Effect.Effect<void> =>
  turn.isMine ? Effect.void : Effect.callback((resume) => turn.whenMine(() => resume(Effect.void)))

const referencesOf = (request: Request, apiVersion: number) =>
  request.topicData.map(({ name, topicId, partitionData }) => {
    let partitionMax = -1
    for (const { index } of partitionData) if (index > partitionMax) partitionMax = index
    return { ...referenceOf(name, topicId, apiVersion), partitionMax }
  })

/** The records are in the log: also where the error code only says that their offset is not known any more. */
const IS_APPENDED: ReadonlySet<number> = new Set([KAFKA.NONE, KAFKA.DUPLICATE_SEQUENCE_NUMBER])

const respond = (services: AgentServices, acks: number, responses: Response["responses"]): Reply<Response> => {
  let failed: PartitionAnswer | undefined
  for (const { partitionResponses } of responses) {
    for (const each of partitionResponses) {
      if (IS_APPENDED.has(each.errorCode)) continue
      services.metrics.counters.produceRejected++
      failed = each
    }
  }
  if (acks !== 0) return { responses, throttleTimeMs: 0 }
  return failed === undefined ? NO_ANSWER : { hangup: `produce with acks=0 failed with error ${failed.errorCode}` }
}

export const produce = defineHandler(Produce, (services) => (request: Request, context: RequestContext) => {
  const { acks } = request
  const { apiVersion } = context
  if (acks !== 0 && acks !== 1 && acks !== -1) {
    return Effect.succeed({
      responses: request.topicData.map(({ name, topicId, partitionData }) => ({
        name,
        topicId,
        partitionResponses: partitionData.map(({ index }) => refused(index, KAFKA.INVALID_REQUIRED_ACKS))
      })),
      throttleTimeMs: 0
    })
  }
  const known = settleIfMissing(services.log, referencesOf(request, apiVersion))
  return Effect.flatMap(known, (certainty) =>
    Effect.flatMap(untilMyTurn(context), () => {
      const { accepted, responses } = sort(services, request, apiVersion, certainty)
      return Effect.map(appendAll(services, accepted, context), () => respond(services, acks, responses))
    })
  )
})
