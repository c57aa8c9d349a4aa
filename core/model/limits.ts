/**
 * Every bound of the product, in one place [pure].
 *
 * Nothing queues, buffers, caches, retries or waits without a bound that stands here. Units are in the names. What users
 * may change is a setting whose default stands here; the rest is fixed. Relations between bounds are asserted below.
 */
import { assert } from "./assert.ts"

const KiB = 1024
const MiB = 1024 * KiB

export const limits = {
  // --- Kafka protocol -------------------------------------------------------------------------------------------
  /** Largest request frame, Kafka's `socket.request.max.bytes`. A longer one closes the connection. */
  requestBytesMax: 100 * MiB,
  /** `max.message.bytes` default: a whole record batch, header included (Kafka: 1 MiB + 12). */
  batchBytesMax: 1_048_588,
  /** What the records of one compressed batch may take uncompressed while they are checked. */
  batchBytesUncompressedMax: 64 * MiB,
  /** Nesting-free arrays still need a bound: elements of one array in a request. */
  arrayElementsMax: 1_000_000,
  /** Kafka's `connections.max.idle.ms`. */
  connectionIdleMs: 600_000,
  connectionsMax: 10_000,
  /** Requests of one connection that may be under way before its socket is paused. */
  requestsInFlightPerConnection: 64,
  /** Request bytes read and not yet answered, all connections together; above it sockets are paused. */
  requestBytesInFlight: 96 * MiB,
  /** Largest answer to one fetch, whatever the client asks (Kafka's `fetch.max.bytes` is 55 MiB). */
  fetchBytesMax: 8 * MiB,
  /** Bytes of fetch answers built and not yet taken by their sockets, all connections together. */
  fetchBytesInFlight: 64 * MiB,
  /** A socket that takes nothing of a waiting answer for so long is closed. */
  socketStalledMs: 60_000,
  /** Longest wait of a fetch (the client's max wait is cut to it). */
  fetchWaitMaxMs: 60_000,

  // --- segments -------------------------------------------------------------------------------------------------
  /** A segment closes when its batches reach this size. */
  segmentBytes: 8 * MiB,
  /** A segment may exceed `segmentBytes` by at most one request's batches. */
  segmentBytesMax: 8 * MiB + 100 * MiB,
  /** Segments of one agent that are being written to their quorum or waiting for their commit. */
  segmentsInFlight: 8,
  /** Reads are cached in blocks: whole runs, closed when they reach this size (a longer run is a block of its own). */
  blockBytes: 4 * MiB,
  /** Memory of the block cache. */
  blockCacheBytes: 64 * MiB,
  /** Object reads under way for one agent. */
  blockReadsInFlight: 16,

  // --- object stores --------------------------------------------------------------------------------------------
  /** Writes to one bucket that have not ended; above it the bucket is left out of new quorums. */
  putsInFlightPerBucket: 16,
  putTimeoutMs: 10_000,
  getTimeoutMs: 5_000,
  listKeysMax: 1_000,
  deleteKeysMax: 1_000,
  objectKeyBytesMax: 512,
  /** Missing copies waiting to be recorded in the metadata store. */
  missingCopiesQueue: 10_000,

  // --- commit log -----------------------------------------------------------------------------------------------
  /** Bytes of one log entry. */
  entryBytesMax: 8 * MiB,
  /** Commands that wait for the next append; above it `submit` waits. */
  commandsQueued: 4_096,
  /** Commands judged into one entry. */
  commandsPerEntry: 256,
  /** Rows of one read of the log. */
  logRowsPerRead: 500,
  /** Attempts of one append against other writers or errors, before its commands are answered "not settled". */
  appendAttemptsMax: 100,
  /** Segment ids whose answers are remembered for retried commits. */
  segmentsRemembered: 4_096,
  /** A segment older than this can no longer be committed. */
  orphanHorizonMs: 600_000,
  /** Producer ids given to an agent at a time (Kafka's block is 1000 too). */
  producerIdBlock: 1_000,
  /** Batches per producer and partition that are recognised when they come again (KIP-98). */
  producerBatchesRemembered: 5,
  metadataTimeoutMs: 10_000,

  // --- topics ---------------------------------------------------------------------------------------------------
  topicNameLengthMax: 249,
  partitionsPerTopicMax: 10_000,
  topicsPerRequestMax: 10_000
} as const

assert(limits.segmentBytes >= limits.blockBytes, "a block is at most a segment")
assert(limits.fetchBytesMax <= limits.fetchBytesInFlight, "one fetch must fit into the budget of all")
assert(limits.segmentBytes * 2 <= limits.requestBytesInFlight, "one segment must gather while another is written")
assert(limits.batchBytesMax <= limits.fetchBytesMax, "a batch of default size must fit into a fetch answer")
assert(limits.producerBatchesRemembered === 5, "Kafka's clients rely on five")
