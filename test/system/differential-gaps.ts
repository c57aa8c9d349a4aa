/** Where our answers differ from Apache Kafka's, and are meant to: the path of the difference, and why. */

export interface Gap {
  /** Matches `API vN QUESTION/path/of/the/field`. */
  readonly where: RegExp
  readonly reason: string
}

export const gaps: ReadonlyArray<Gap> = [
  {
    where: /^ApiVersions v[34] rest\/(supported|finalized)Features/,
    reason: "no features are named until transactions and the new group protocol exist: clients would select them"
  },
  {
    where: /^Metadata v1[23] by neither/,
    reason: "Kafka fails with an internal error on a topic without name and id; we say INVALID_TOPIC_EXCEPTION"
  },
  {
    where: /^Metadata v1[23] by id and by name\/topics/,
    reason: "Kafka forgets the topics that are asked by name beside others by id; we answer both"
  },
  {
    where: /^Metadata v\d+ of a topic to be created\//,
    reason: "Kafka says UNKNOWN_TOPIC_OR_PARTITION first and creates then; we create at once, which saves a retry"
  },
  {
    where: /^Metadata v\d+ of a colliding topic\//,
    reason: "for the same reason Kafka cannot say that the name will never do; we say INVALID_TOPIC_EXCEPTION"
  },
  {
    where: /^CreateTopics v\d (validated|created): two replicas\//,
    reason: "replication is the bucket set's matter: any factor from 1 on is accepted, however many agents there are"
  },
  {
    where: /^Create(Topics|Partitions) v\d .*assigned to an unknown broker\//,
    reason: "any agent serves any partition: brokers of an assignment are checked for their form only"
  },
  {
    where: /^CreateTopics v7 validated: .*\/topicId/,
    reason: "Kafka makes up an id for a topic that is only validated; we give none"
  },
  {
    where: /^(CreateTopics|DescribeConfigs) v\d .*\/min\.insync\.replicas\/(configSource|synonyms)/,
    reason: "Kafka 4.1 keeps this one as a dynamic config of the cluster; ours has no effect and is a default"
  },
  {
    where: /^DescribeConfigs v\d of broker ""\/results\/\/configs/,
    reason: "as above: the cluster has no dynamic configs of its own"
  },
  {
    where: /^DescribeConfigs v\d twice the same\/results/,
    reason: "a resource that is named twice is described once, so that an answer stays in proportion to its question"
  },
  {
    where: /^(Produce v\d+ of no partition|ListOffsets v\d+ of nothing)\/(responses|topics)/,
    reason: "Kafka leaves a topic out of which no partition was asked; we name it, with no partitions"
  },
  {
    where: /^Produce v\d+ of a (partition|topic) twice\/responses/,
    reason: "Kafka acknowledges both batches of a partition and keeps the last; we keep both and answer as asked"
  },
  {
    where: /^Produce v\d+ (transactional, without id|verdict: control and transactional bits)\//,
    reason: "there are no transactions yet"
  },
  {
    where: /^FindCoordinator v\d type 1/,
    reason: "there are no transactions yet, and this is where clients take a refusal as final"
  },
  {
    where: /^Produce v\d+ verdict: batch length 2147483647\/.*\/errorCode/,
    reason: "Kafka overflows and says UNKNOWN_SERVER_ERROR; we say INVALID_RECORD"
  },
  {
    where: /^Produce v\d+ stricter: /,
    reason: "what is stored must be readable and countable for all time (core/records/validate-batch.ts)"
  },
  {
    where: /^Produce v\d+ (idempotent|verdict: producer with).*\/logAppendTimeMs/,
    reason: "with a duplicate in a CreateTime topic Kafka tells the batch's largest timestamp; we say -1, as before"
  },
  {
    where: /^Produce v\d+ idempotent \d+, (half of the second|its other half|older than five batches)\/.*\/errorCode/,
    reason:
      "Kafka says OUT_OF_ORDER_SEQUENCE_NUMBER of what was accepted, but is none of the last five batches, and ends the " +
      "producer; we say DUPLICATE_SEQUENCE_NUMBER, a success without an offset (core/decisions/0015)"
  },
  {
    where: /^Produce v\d+ (of no bytes|verdict: ).*\/logStartOffset/,
    reason: "Kafka tells the log's start with some errors of a batch; we do with all"
  },
  {
    where: /^Fetch v\d+ session \d+, epoch 0\/sessionId/,
    reason: "there are no fetch sessions: 0 is what Kafka says when it has no room for one"
  },
  {
    where: /^Fetch v\d+ the same partition twice\/responses/,
    reason:
      "Kafka answers a partition once, however often it is asked; we answer as asked, within the limits of the whole"
  },
  {
    where: /^Fetch v\d+ negative bytes /,
    reason: "Kafka fails on negative limits with UNKNOWN_SERVER_ERROR; to us they are 0"
  },
  {
    where: /^Fetch v\d+ last epoch 1\//,
    reason: "Kafka resets a consumer whose last epoch it never had; our logs never diverge, so that it may go on"
  },
  {
    where: /^OffsetForLeaderEpoch v\d o-(codecs|empty), epoch -2\//,
    reason:
      "Kafka takes any epoch below its first for one that ended at the start; no epoch is negative, we say unknown"
  }
]
