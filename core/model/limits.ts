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
  /** Bad records of one batch that are named one by one in its answer (KIP-467); the rest is only counted. */
  recordErrorsMax: 1_000,
  /** Log entries tell timestamps within this distance of 1970: further apart they would not be exact. */
  timestampMsMax: 2 ** 51,
  /** The same for all batches of one request: they are checked in one turn of the event loop, some 10 ms per 10 MiB. */
  requestBytesUncompressedMax: 512 * MiB,
  /** Nesting-free arrays still need a bound: elements of one array in a request. */
  arrayElementsMax: 100_000,
  /** Elements of all arrays of one message together: small elements must not become hundreds of times their bytes. */
  messageElementsMax: 500_000,
  /** Characters of one error's text in an answer; a longer one is cut. */
  errorMessageLengthMax: 1_000,
  /** Kafka's `connections.max.idle.ms`. */
  connectionIdleMs: 600_000,
  connectionsMax: 10_000,
  /** Requests of one connection that may be under way before its socket is paused. */
  requestsInFlightPerConnection: 64,
  /** Request bytes read and not yet answered, all connections together; above it sockets are paused. */
  requestBytesInFlight: 48 * MiB,
  /** Requests of at most this size have a quarter of `requestBytesInFlight` for themselves. */
  requestBytesSmall: 64 * KiB,
  /** A request that comes more slowly than this is given up while others wait for the memory that it holds. */
  requestBytesPerSecondMin: 64 * KiB,
  /** Memory of answered requests that is kept for the next ones. */
  framePoolBytes: 8 * MiB,
  /** Largest answer to one fetch, whatever the client asks (Kafka's `fetch.max.bytes` is 55 MiB). */
  fetchBytesMax: 8 * MiB,
  /** Blocks that one fetch reads, together (at least one): little of each may be wanted, and each is held until it is cut. */
  fetchBlockBytesMax: 16 * MiB,
  /** Bytes of fetch answers built and not yet taken by their sockets, all connections together. */
  fetchBytesInFlight: 32 * MiB,
  /** A socket that takes nothing of a waiting answer for so long is closed. */
  socketStalledMs: 60_000,
  /** Longest wait of a fetch (the client's max wait is cut to it). */
  fetchWaitMaxMs: 60_000,

  // --- Kafka client ---------------------------------------------------------------------------------------------
  /** Requests sent on one connection and not yet answered; further ones wait. */
  clientRequestsInFlight: 16,
  /** Requests of one connection that wait to be sent; above it they are refused at once. */
  clientRequestsQueued: 256,
  /** Longest answer that is read; a longer one closes the connection. */
  clientAnswerBytesMax: 100 * MiB,
  clientConnectTimeoutMs: 10_000,
  /** From asking to answer, waiting to be sent included (Kafka's `request.timeout.ms`). */
  clientRequestTimeoutMs: 30_000,

  // --- peers ----------------------------------------------------------------------------------------------------
  /** Longest request and longest answer between agents: a whole entry, or a block, with room to spare. */
  peerFrameBytesMax: 16 * MiB,
  /** The same of who has not said yet who he is. */
  peerHelloBytesMax: 8 * KiB,
  /** Whoever has connected must have said so by then. */
  peerHelloMs: 10_000,
  /** Connections that other agents may have to one agent: each has a few. */
  peerConnectionsMax: 4_096,
  /** An accepted connection without a request for so long is closed. */
  peerConnectionIdleMs: 900_000,
  /** Requests of one connection that are not answered: the client sends no more, the server reads no more. */
  peerRequestsInFlight: 256,
  /** Requests of one connection that wait to be sent; above it they are refused at once. */
  peerRequestsQueued: 1_024,
  /** Bytes of other agents' requests that are read and not yet answered, all connections together. */
  peerRequestBytesInFlight: 48 * MiB,
  /** Requests of at most this size (pings) have a quarter of `peerRequestBytesInFlight` for themselves. */
  peerRequestBytesSmall: 512,
  /** From asking for a connection until the other agent has said who it is. */
  peerConnectMs: 3_000,
  /** Agents that one agent is linked to. */
  peerLinksMax: 1_024,
  /** Connections of one agent for streams of requests, all together. */
  peerStreamsMax: 1_024,
  /** A link that nobody has used for so long is closed. */
  peerLinkIdleMs: 60_000,
  /** How often idle links, and links to agents that are no members any more, are looked for. */
  peerLinkSweepMs: 5_000,
  /** Pause before the second attempt to connect (the first is made at once), and the longest; doubled and jittered. */
  peerReconnectMs: 50,
  peerReconnectMsMax: 2_000,
  /** A connection that lasted so long was a good one: after it attempts begin anew. */
  peerSettledMs: 5_000,

  // --- segments -------------------------------------------------------------------------------------------------
  /** A segment closes when its batches reach this size. */
  segmentBytes: 8 * MiB,
  /** A segment may exceed `segmentBytes` by at most one request's batches. */
  segmentBytesMax: 8 * MiB + 100 * MiB,
  /** Batches (and so runs) of one segment: what its commit says of them must fit into one log entry. */
  segmentBatchesMax: 32_768,
  /** Segments of one agent that are being written to their quorum or waiting for their commit. */
  segmentsInFlight: 8,
  /** An open segment of a busy agent closes after this time at the latest. */
  flushIntervalMs: 250,
  /** Of `meridian segment inspect`: a key's or value's bytes shown of a record, records shown, problems listed. */
  inspectedBytesMax: 256,
  inspectedRecordsMax: 100_000,
  inspectedProblemsMax: 1_000,
  /** Producers and partitions with a batch that was lost and has not come again. */
  lostBatchesRemembered: 10_000,
  /** What comes behind a lost batch is refused, retriably, for so long: then the producer has given the batch up. */
  lostBatchHeldMs: 120_000,
  /** Between two log events about segments that could not be committed. */
  segmentFailureToldMs: 5_000,
  /** Reads are cached in blocks: whole runs, closed when they reach this size (a longer run is a block of its own). */
  blockBytes: 4 * MiB,
  /** Blocks of one segment: a run's place in an index page tells of all of them. */
  segmentBlocksMax: 4_096,
  /** Memory of the block cache. */
  blockCacheBytes: 32 * MiB,
  /** Memory of the cache of decoded index pages; one of 256 runs takes some 80 KiB. */
  indexPageCacheBytes: 16 * MiB,
  /** Reads of index pages under way for one agent. */
  indexPageReadsInFlight: 16,
  /** After the database did not answer such a read, others are refused at once for so long. */
  indexPageAwayMs: 1_000,
  /** Index pages that one fetch reads; and fetches that hold pages at a time, while they choose their runs. */
  fetchIndexPagesMax: 8,
  pagedPlansInFlight: 32,
  /** Index pages that one search by time walks through beyond the one that it was sent to. */
  searchIndexPagesMax: 64,
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
  /** Of a bucket's prefix in its store, the slash at its end included. */
  bucketPrefixBytesMax: 512,
  /** Largest object that is put, and largest answer of one get. */
  objectBytesMax: 512 * MiB,
  /** Connections to one bucket of an object store, so calls under way; of S3, those that wait are directoryCallsWaiting. */
  storeSocketsMax: 64,
  /** A connection is made within this time, or the call fails. */
  storeConnectMs: 2_000,
  /** Connections that nobody used for so long are closed by us: stores close theirs after some 20 s, in mid-request. */
  storeSocketIdleMs: 10_000,
  /**
   * A call of an object store is given up after so long, and so much longer for each MiB that it carries. Callers that
   * have a deadline give up earlier; this is for those that have none.
   */
  storeCallMs: 15_000,
  storeCallMsPerMiB: 400,
  /** Memory of joined bodies that is kept for the next ones, of all buckets of object stores together. */
  joinedBytesKept: 64 * MiB,
  /** Answers of one list call (up to 1,000 keys each) that may hold none of the keys that were asked for. */
  storeListPagesMax: 200,
  /** S3 Express: a session lasts 300 s; a new one is asked for at a third, and an old one no longer used from here on. */
  expressSessionRenewMs: 100_000,
  expressSessionMs: 270_000,
  expressSessionRetryMs: 2_000,
  /** Calls of one directory-backed bucket with a system call under way: so many of libuv's threads it can block. */
  directoryCallsRunning: 4,
  /** Puts that a directory-backed bucket's put threads have; gets that its get threads have. */
  directoryPutsRunning: 32,
  directoryGetsRunning: 32,
  /** Put threads of a directory-backed bucket with fsync, where each put waits for the disk; one without. */
  directoryPutThreadsSyncing: 4,
  /** Get threads of a directory-backed bucket; all but the first only where a slow or hanging disk needs them. */
  directoryGetThreads: 2,
  /** A get thread whose oldest call is so old is passed over, and another started if there may be. */
  directoryGetsBehindMs: 50,
  /** Answers of a thread that wait for each other while it has more to do, and for how long. */
  directoryAnswersHeld: 16,
  directoryAnswersHeldMs: 1,
  /** After a bucket's thread has ended by itself, none is started for so long. */
  directoryThreadRestartMs: 1_000,
  /** Calls of one bucket, of a directory or an object store, that wait for their turn; more are refused. */
  directoryCallsWaiting: 256,
  /** Attempts of one put to give its file the final name, while others remove the directories that it needs. */
  directoryLinkAttemptsMax: 5,
  /** Writes in a row that may take nothing (EAGAIN) before a put fails. */
  directoryIdleWritesMax: 100,
  /** Directories of one bucket remembered as being on disk. */
  directoriesRemembered: 1_000,
  /** Left-over temporary files looked at when a directory-backed bucket is opened. */
  temporaryFilesSwept: 10_000,
  /** A temporary file so old belongs to no call that anyone still waits for. */
  temporaryFileAgeMs: 24 * 3_600_000,
  /** Calls of one bucket of Google or Azure that have not ended, those that wait for a socket included; more are refused. */
  cloudCallsPerBucket: 320,
  /** One request, from asking for a socket to the last byte of the answer; each second more allows for so many bytes. */
  cloudRequestMs: 10_000,
  cloudRequestBytesPerSecondMin: 1 * MiB,
  /** A socket that carried nothing for so long is closed: the stores close theirs some time after that. */
  cloudSocketIdleMs: 30_000,
  /** Longest answer that is no object: a page of a list, an error. */
  cloudAnswerBytesMax: 8 * MiB,
  /** Requests of one deleteMany under way. */
  cloudDeletesRunning: 16,
  /** Pages that one list may read: a store may answer with less than was asked. */
  cloudListPagesMax: 64,
  /** Bytes that are hashed in one turn of the event loop: 1.4 ms of MD5. */
  cloudHashSliceBytes: 1 * MiB,
  /** A bucket that answered properly so recently is there: a missing key is only that. */
  cloudBucketSeenMs: 30_000,
  /** A machine's clock that is so far from the store's may be why a signature is refused. */
  cloudClockSkewMs: 60_000,
  /** Missing copies waiting to be recorded in the metadata store. */
  missingCopiesQueue: 10_000,
  missingCopiesPerBatch: 500,
  /** Longest pause between attempts to record missing copies while the database is away. */
  missingCopiesRetryMs: 10_000,
  /** Attempts of one copy within `putTimeoutMs`, the first included. */
  putAttemptsMax: 3,
  /** Pause before the second attempt; doubled and jittered before each further one. */
  putRetryDelayMs: 50,
  /** A put that has been given up at `putTimeoutMs` may still hold its slot until it is interrupted here. */
  putStuckMs: 60_000,
  /** Segment bytes held by copies that go on after their quorum was reached, all buckets together. */
  lateCopyBytes: 32 * MiB,
  /** The next bucket is asked as well when the first has not answered a read within this time. */
  readHedgeDelayMs: 300,
  /** (segment, bucket) pairs that are remembered as "not there", and for how long. */
  copiesAbsentRemembered: 4_096,
  copiesAbsentMs: 30_000,
  /** Segments whose bad copies were logged; older ones are forgotten, and then logged again. */
  segmentsLogged: 1_024,
  /** Failures (or slow answers) of a bucket in a row before it leaves the path. */
  bucketStrikesMax: 3,
  /** A put or get that takes longer than this counts against its bucket's health. */
  bucketSlowMs: 3_000,
  /** Pause before the first probe of a suspended bucket; doubled up to the maximum while probes fail. */
  bucketProbeDelayMs: 1_000,
  bucketProbeDelayMaxMs: 30_000,
  /** Each agent asks each bucket for one key so often, with or without traffic, and waits so long for the answer. */
  bucketProbeMs: 2_000,
  bucketProbeTimeoutMs: 2_500,
  /** Such questions in a row without answer (and without a put that went through) before the bucket leaves the path. */
  bucketProbeFailuresMax: 2,
  /** A bucket that answers such questions counts as working again so long after its last failed put. */
  bucketFailureBelievedMs: 15_000,
  /** A suspended bucket that answers such questions is back so long after its last failure; above the longest probe. */
  bucketForgivenMs: 60_000,

  // --- commit log -----------------------------------------------------------------------------------------------
  /** Bytes of one log entry. */
  entryBytesMax: 8 * MiB,
  /** Commands that wait at the sequencer for the next append; more are refused, and come again. */
  commandsQueued: 8_192,
  /** Commands judged into one entry. */
  commandsPerEntry: 256,
  /** Rows of one read of the log. */
  logRowsPerRead: 500,
  /** Attempts of one append against other writers or errors, before its commands are answered "not settled". */
  appendAttemptsMax: 100,
  /**
   * Segment ids that are remembered for retried commits, within the orphan horizon: some 170 bytes each in memory, 21 in a
   * checkpoint. Where there are more, what is older than the remaining ones can no longer be committed: at 2,000 commits
   * a second what is older than 65 s. So this must outlast a put and all retries of a commit.
   */
  segmentsRemembered: 131_072,
  /**
   * Ids of deleted topics that are remembered once their index pages are gone, some 100 bytes each: those of younger
   * deletions always are. The same on all agents of a cluster: folds forget by it.
   */
  deletedTopicIdsKept: 16_384,
  /** Of their entries those of the newest stay in memory, so many bytes; others are read back from the log when asked for. */
  entriesRememberedBytes: 16 * MiB,
  /** Agents ask the database for the time so often. */
  logClockLookMs: 30_000,
  /** A machine's clock that is so far from the database's is spoken of. */
  clockWrongMs: 5_000,
  /** A segment older than this can no longer be committed. */
  orphanHorizonMs: 600_000,
  /** A segment that was created so far in the sequencer's future is refused: the two were told different times. */
  segmentAheadMaxMs: 300_000,
  /** Producer ids given to an agent at a time (Kafka's block is 1000 too). */
  producerIdBlock: 1_000,
  /** Batches per producer and partition that are recognised when they come again (KIP-98). */
  producerBatchesRemembered: 5,
  /** Producers remembered per partition; the one that was silent longest goes first. */
  producersPerPartition: 10_000,
  /** Kafka's `producer.id.expiration.ms`: a producer that was silent for so long is forgotten. */
  producerIdExpirationMs: 86_400_000,
  /** A command that is not settled so long after it was submitted is answered so. */
  commandSettleMs: 30_000,
  /** What fails again and again is told to people when it has lasted for so long. */
  failureToldMs: 1_000,
  /** Longest pause between attempts to append or to read the log while the database fails. */
  logBackoffMaxMs: 1_000,
  /** Commands of one agent that are not settled; more are refused. */
  commandsUnsettled: 1_024,
  /** The sequencer tells all agents what it appended, and so often that it is there. */
  sequencerBeatMs: 200,
  /** A sequencer that was not heard of for so long may be replaced. */
  sequencerSilentMs: 1_000,
  /** One that was not heard of for so long is asked, and waited for so long. */
  sequencerAskAfterMs: 500,
  sequencerAskTimeoutMs: 500,
  /** A sequencer that cannot settle an entry for so long no longer says that it is there: another may do better. */
  sequencerStalledMs: 3_000,
  /** How often an agent looks whether there is a sequencer; while there seems to be none. */
  successionLookMs: 100,
  successionLookSoonMs: 20,
  /** Agents outside the home region let those inside go first for so long; all differ by chance by so much. */
  takeoverForeignDelayMs: 250,
  takeoverJitterMs: 150,
  /** Pause after an attempt to take over that did not go through. */
  takeoverRetryMs: 250,
  /** A sequencer away from home hands over to an agent at home that has been there for so long. */
  sequencerHomeAfterMs: 15_000,
  /** How often a sequencer looks whether the database says who sequences. */
  sequencerNoteMs: 1_000,
  /** A stopping sequencer tries to hand over for so long. */
  handOverMs: 2_000,
  /** Pause before commands are sent again, at first and at most. */
  submitRetryMs: 20,
  submitRetryMaxMs: 500,
  /** An answered command waits so long for the fold to reach its entry, then is answered without. */
  answerFoldWaitMs: 1_000,
  /** Messages with entries under way to one agent; entries and their bytes that wait for it. Beyond it must read the log. */
  tellsInFlight: 4,
  tellRowsQueued: 256,
  tellBytesQueued: 16 * MiB,
  tellTimeoutMs: 2_000,
  /** Agents that did not take what they were told are left alone for so long. */
  tellRetryMs: 1_000,
  /** While entries come by themselves, the log is polled so often; so long after the last they count as coming. */
  logPollToldMs: 1_000,
  logToldStaleMs: 1_000,
  /** Rows that were heard of may come by themselves within this time. */
  logTellPatienceMs: 50,
  /** Callers that wait for a linearizable answer. */
  barriersWaiting: 10_000,
  barrierWaitMs: 15_000,
  /** The first read of the whole log, at the start of an agent, may take so long without getting further. */
  logStartMs: 60_000,
  /** Entries of one read of the log stop at so many bytes. */
  logBytesPerRead: 16 * MiB,

  /** Rows that one call deletes from the front of the log. */
  logRowsPerTrim: 1_000,
  /** A checkpoint of the fold lies in the database in chunks. */
  checkpointChunkBytesMax: 1 * MiB,
  checkpointChunksMax: 1_024,
  /** Chunks that one call deletes: appends go between two. */
  checkpointChunksPerDelete: 64,
  /**
   * Runs of one index page, and its bytes at most. Pages of an attempt that was cut off are gone on with by whoever
   * sequences next, so all agents of a cluster must cut alike: neither may change while agents of both programs run.
   */
  indexPageRuns: 256,
  indexPageBytesMax: 256 * KiB,
  indexPagesPerWrite: 200,
  /** A write of index pages is sent off when it has so many bytes. */
  indexPageBytesPerWrite: 1 * MiB,
  /** Entries that folds keep the runs of in memory, at least, and for how long; then their runs go to index pages. */
  materializeKeepEntries: 2_000,
  materializeKeepMs: 30_000,
  /**
   * Runs in memory, from which on they go to index pages at once: some 50 bytes each where a partition has many, 1.4
   * KiB for each partition that has any, and their segments.
   */
  residentRunsMax: 400_000,
  /** Above it, because index pages cannot be written, the sequencer keeps segments back; and how often it looks, to say so. */
  residentRunsRefuse: 800_000,
  segmentGateLookMs: 250,
  /** How often the sequencer looks whether there is something to materialize; and its longest pause after failures. */
  materializeIntervalMs: 1_000,
  materializeBackoffMaxMs: 30_000,
  /** The same while memory is full of runs. */
  materializeBackoffFullMs: 2_000,
  /** Entries between two checkpoints, at least. */
  checkpointEntries: 2_000,
  /** Times that the list of checkpoints is read again because one of it was deleted meanwhile. */
  checkpointListsMax: 5,
  /** Newest rows of the log that are never trimmed: agents that lag behind read them. */
  logRowsKept: 10_000,

  // --- metadata store -------------------------------------------------------------------------------------------
  /** The adapter ends a call that takes longer. */
  metadataTimeoutMs: 10_000,
  /** Callers give up a call that even its adapter does not end. */
  metadataHungMs: 12_000,
  /** Calls under way to one metadata store; above it they are refused. */
  metadataRequestsInFlight: 20_000,
  /** How long a statement waits for another process's lock on the database file. */
  sqliteBusyMs: 5_000,
  /** Pause before a crashed database thread is started again: doubles from the first to the second. */
  sqliteRestartMs: 50,
  sqliteRestartMaxMs: 5_000,
  /** Connections of one agent to a database server: for all calls, and more for appends alone, which wait behind nothing. */
  postgresConnections: 4,
  postgresAppendConnections: 4,
  /** From the first packet until the server takes statements. */
  postgresConnectMs: 3_000,
  /** The server ends a statement that takes longer; sooner than the adapter gives it up. */
  postgresStatementMs: 9_000,
  /** A connection that nobody needed for so long is closed. */
  postgresIdleMs: 60_000,
  /** A closing connection says goodbye within this time, or is cut. */
  postgresCloseMs: 500,
  /** How often database servers that are out of use, or silent, are looked at. */
  postgresProbeMs: 1_000,
  /** A server that owes an answer for so long is asked on a new connection whether it is there. */
  postgresSuspectMs: 1_500,
  /** Such a question waits so long for its answer; so many in a row without one, and the server's connections are cut. */
  postgresProbeTimeoutMs: 2_000,
  postgresProbeFailuresMax: 2,
  /** Answers in a row before a preferred server is used again. */
  postgresProbeSuccessesMin: 2,
  /** Pause before a server that refused a connection is asked again by a call; doubled up to the maximum. */
  postgresReconnectMs: 50,
  postgresReconnectMaxMs: 2_000,
  /** Times that one statement is run again because the database asked for it (serialization failure, deadlock). */
  postgresRerunsMax: 20,
  /** Longest pause before that; it grows from a fortieth of it. */
  postgresRerunPauseMs: 200,
  /** Bytes of one statement's parameters: CockroachDB takes 16 MiB. */
  postgresStatementBytesMax: 4 * MiB,
  /** Missing copies of one statement. */
  postgresCopiesPerStatement: 500,
  /** Attempts of one agent to get a node id while others take them. */
  nodeIdAttemptsMax: 100,
  /** A migrating process that has not said for so long that it goes on may be replaced; it says so three times as often. */
  migrationGuardMs: 9_000,
  /** One migration statement (a schema change of several regions takes its time), and all of them. */
  migrationStatementMs: 120_000,
  migrationMs: 300_000,
  /** Pause between looks whether another process has migrated. */
  migrationPollMs: 100,
  /** Attempts to make the first tables while others do. */
  migrationBeginAttemptsMax: 50,
  /** First and longest pause of an agent between attempts to open its database. */
  metadataOpenMs: 250,
  metadataOpenMaxMs: 5_000,
  agentNameLengthMax: 255,
  /** Polls of the log's tail when nothing wakes an agent earlier. */
  logPollIntervalMs: 25,

  // --- regions --------------------------------------------------------------------------------------------------
  /** A membership that is not renewed ends after this time; it is renewed three times as often. */
  membershipTtlMs: 3_000,
  /** Attempts of an agent to enter the database when it starts. */
  membershipRegisterAttemptsMax: 10,
  topologyBytesMax: 1 * MiB,
  /** Regions, buckets, bucket sets, zones of a region: each list of the topology. */
  topologyListMax: 64,

  // --- process --------------------------------------------------------------------------------------------------
  /** HTTP connections (probes, scrapers, people) of one agent. */
  httpConnectionsMax: 256,
  httpHeaderBytesMax: 16 * KiB,
  httpRequestTimeoutMs: 10_000,
  httpKeepAliveMs: 30_000,
  /** Log lines that wait for standard error; more are dropped and counted. */
  logLinesQueued: 10_000,
  /** Pause before standard error is tried again after it took nothing. */
  logRetryMs: 50,
  /** A process that ends waits so long for its last log lines to be taken. */
  logEndMs: 500,
  /** A process that ends waits so long for threads and system calls that are blocked, then goes without them. */
  processEndMs: 1_000,
  processEndPollMs: 10,
  /** An agent starts without the buckets that could not be opened by then, and goes on trying. */
  bucketOpenWaitMs: 2_000,
  /** One step of `meridian buckets check`, opening included. */
  bucketCheckStepMs: 20_000,
  /** First and longest pause between attempts to open a bucket. */
  bucketReopenMs: 500,
  bucketReopenMsMax: 10_000,
  /** How often an agent asks the log for its newest entry, to know whether it is ready. */
  readinessProbeMs: 1_000,
  /** Without an answer for so long the database counts as unreachable. */
  readinessStaleMs: 5_000,
  /** A stopping agent that has not ended by then is killed by its supervisor. */
  agentStopMs: 10_000,
  /** Agents of a playground that are not ready by then make its start fail. */
  agentStartMs: 60_000,
  /** First and longest pause before a dead agent is started again; doubled while it keeps dying. */
  agentRestartMs: 100,
  agentRestartMsMax: 5_000,
  /** An agent that ran so long before it died starts over with the first pause. */
  agentSettledMs: 30_000,
  /** The playground's ports are one hundred apart per region. */
  playgroundAgentsPerRegionMax: 16,
  /** Ports of a playground that was killed are waited for so long. */
  playgroundPortsFreeMs: 5_000,
  /** Signals closer together are one Ctrl-C: a terminal, npm and a wrapper each deliver it. */
  signalRepeatMs: 500,

  // --- topics ---------------------------------------------------------------------------------------------------
  topicNameLengthMax: 249,
  partitionsPerTopicMax: 10_000,
  /** Partitions that one request may create, all its topics together (Kafka's bound is the same). */
  partitionsPerRequestMax: 10_000
} as const

assert(limits.segmentBytes >= limits.blockBytes, "a block is at most a segment")
assert(
  limits.storeCallMs + (limits.segmentBytesMax / MiB) * limits.storeCallMsPerMiB < limits.putStuckMs,
  "a put to an object store ends by itself before its slot is taken away"
)
assert(limits.expressSessionRenewMs < limits.expressSessionMs / 2, "a session is renewed long before it ends")
assert(limits.storeConnectMs < limits.putTimeoutMs, "a store that is not there fails a put before its deadline")
assert(limits.bucketPrefixBytesMax + limits.objectKeyBytesMax <= 1_024, "S3, GCS and Azure take keys of 1,024 bytes")
assert(limits.segmentBytesMax <= limits.objectBytesMax, "a segment must fit into an object")
assert(limits.segmentBatchesMax * 128 <= limits.entryBytesMax, "a segment's commit must fit into an entry")
assert(limits.putTimeoutMs < limits.temporaryFileAgeMs, "no put that is under way may lose its temporary file")
assert(limits.fetchBytesMax <= limits.fetchBytesInFlight, "one fetch must fit into the budget of all")
assert(limits.fetchBytesMax <= limits.fetchBlockBytesMax, "the blocks of one fetch can fill its answer")
assert(limits.segmentBytes * 2 <= limits.requestBytesInFlight, "one segment must gather while another is written")
assert(limits.batchBytesMax <= limits.fetchBytesMax, "a batch of default size must fit into a fetch answer")
assert(limits.entryBytesMax + limits.blockBytes <= limits.peerFrameBytesMax, "an entry and a block fit between agents")
assert(limits.peerFrameBytesMax <= (limits.peerRequestBytesInFlight / 4) * 3, "a large request fits into the budget")
assert(limits.peerRequestBytesSmall <= limits.peerHelloBytesMax, "a ping is shorter than a hello may be")
assert(limits.peerLinkIdleMs < limits.peerConnectionIdleMs, "who opened a connection closes it when it is idle")
assert(limits.peerConnectMs < limits.peerHelloMs, "who connects gives up first")
assert(limits.sqliteBusyMs < limits.metadataTimeoutMs, "a wait for a lock ends before the call does")
assert(limits.metadataTimeoutMs < limits.metadataHungMs, "the adapter's own timeout comes first")
assert(
  limits.postgresStatementMs < limits.metadataTimeoutMs,
  "the server ends a statement before the adapter gives it up"
)
assert(limits.postgresConnectMs < limits.metadataTimeoutMs, "a call can try another server when one does not answer")
assert(limits.checkpointChunkBytesMax <= limits.postgresStatementBytesMax, "a statement holds a chunk")
assert(limits.indexPageBytesMax <= limits.postgresStatementBytesMax, "a statement holds an index page")
assert(limits.logBytesPerRead >= limits.entryBytesMax, "one read takes at least one entry")
assert(
  limits.commandsUnsettled <= limits.peerRequestsInFlight + limits.peerRequestsQueued,
  "one connection takes all that is not settled: what does not fit would end it, and come again with it"
)
assert(limits.commandSettleMs < limits.orphanHorizonMs, "a command is given up long before its segment is an orphan")
assert(limits.sequencerBeatMs * 4 <= limits.sequencerSilentMs, "some beats may be late before anyone takes over")
assert(limits.sequencerBeatMs * 2 < limits.logToldStaleMs, "a late beat does not bring back the fast poll")
assert(
  limits.segmentAheadMaxMs < limits.orphanHorizonMs,
  "a clock that is ahead delays forgetting by less than it takes"
)
assert(limits.fetchIndexPagesMax >= 1, "a fetch of old offsets must get on")
assert(limits.indexPageBytesMax <= limits.indexPageBytesPerWrite, "a page fits into one write")
assert(limits.segmentBlocksMax * 8 + limits.segmentBatchesMax * 2 < limits.indexPageBytesMax, "a run fits into a page")
assert(
  limits.residentRunsRefuse === 2 * limits.residentRunsMax,
  "there is time to write pages before segments are refused"
)
assert(
  limits.materializeBackoffFullMs * 2 < limits.commandSettleMs,
  "who is refused because memory is full is not told so only because nobody looked again"
)
assert(limits.producerBatchesRemembered === 5, "Kafka's clients rely on five")
assert(limits.putTimeoutMs < limits.putStuckMs, "a put is given up before it is interrupted")
assert(limits.logEndMs + limits.processEndMs < limits.agentStopMs, "an agent ends by itself before it is killed")
assert(
  limits.putsInFlightPerBucket + limits.cloudDeletesRunning < limits.storeSocketsMax,
  "puts and deletes leave sockets to the reads of a bucket"
)
assert(limits.storeSocketsMax < limits.cloudCallsPerBucket, "some calls may wait for a socket")
assert(limits.storeConnectMs < limits.cloudRequestMs, "a connection fails before the request does")
assert(limits.readHedgeDelayMs < limits.getTimeoutMs, "a read is hedged before it times out")
assert(limits.bucketSlowMs < limits.putTimeoutMs, "a slow put is slower than a good one and faster than a lost one")
assert(
  limits.bucketProbeFailuresMax * (limits.bucketProbeMs + limits.bucketProbeTimeoutMs) <= 10_000,
  "an agent without traffic knows within some seconds that a bucket is gone"
)
assert(
  limits.bucketProbeDelayMaxMs + limits.putTimeoutMs < limits.bucketForgivenMs,
  "a bucket is not forgiven while puts try it"
)
assert(limits.arrayElementsMax <= limits.messageElementsMax, "one array of the largest size must fit into a message")
