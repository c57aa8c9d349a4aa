/**
 * What a client may do, as Metadata and DescribeCluster tell it: a bit per operation (KIP-430) [pure].
 *
 * There are no ACLs yet, so everybody may do everything, as with a Kafka that has no authorizer. ACLs must take the
 * place of the two sums here, or clients will be told more than they may.
 */

/** Nobody asked. */
export const AUTHORIZED_OPERATIONS_UNKNOWN = -2_147_483_648

/** Ids of Kafka's operations. */
const READ = 3
const WRITE = 4
const CREATE = 5
const DELETE = 6
const ALTER = 7
const DESCRIBE = 8
const CLUSTER_ACTION = 9
const DESCRIBE_CONFIGS = 10
const ALTER_CONFIGS = 11
const IDEMPOTENT_WRITE = 12

const bitsOf = (...operations: ReadonlyArray<number>): number =>
  operations.reduce((bits, operation) => bits | (1 << operation), 0)

export const CLUSTER_OPERATIONS_ALL = bitsOf(
  CREATE,
  ALTER,
  DESCRIBE,
  CLUSTER_ACTION,
  DESCRIBE_CONFIGS,
  ALTER_CONFIGS,
  IDEMPOTENT_WRITE
)

export const TOPIC_OPERATIONS_ALL = bitsOf(
  READ,
  WRITE,
  CREATE,
  DELETE,
  ALTER,
  DESCRIBE,
  DESCRIBE_CONFIGS,
  ALTER_CONFIGS
)
