/**
 * Every metric of the product, in one table each for counters, observed values and histograms.
 *
 * Counters of hot paths are plain numbers in one struct (`counters.produceRecords += n`): a collection reads them, so
 * that counting costs one addition and the SDK is never on the path of a record. Observed values are read where they
 * live, by a callback, at collection. Histograms are recorded per request, flush or statement, never per record.
 *
 * Names are the OpenTelemetry instruments' own. Prometheus shows the same ones, counters with `_total` (prometheusName).
 * The unit ends the name. core/telemetry/README.md lists all of them; a test compares it with these tables.
 *
 * This file must not know the SDK nor any exporter: bin/telemetry.ts brings a MeterProvider.
 */
import { type Attributes, type Histogram, type MeterProvider } from "@opentelemetry/api"
import { Context, Effect, Layer, type Scope } from "effect"

export interface MetricSpec {
  readonly name: string
  /** UCUM, as OpenTelemetry asks. */
  readonly unit: string
  readonly doc: string
}

export interface ObservedSpec extends MetricSpec {
  readonly kind: "counter" | "gauge"
  /** Names of the attributes of each of its values. */
  readonly attributes: ReadonlyArray<string>
}

export interface HistogramSpec extends MetricSpec {
  readonly boundaries: ReadonlyArray<number>
}

/** Each is a field of `Counters`. They only grow. */
export const COUNTERS = {
  connectionsAccepted: spec("meridian_connections_accepted", "{connection}", "Kafka connections accepted."),
  connectionsRefused: spec(
    "meridian_connections_refused",
    "{connection}",
    "Kafka connections closed at once: too many are open."
  ),
  connectionsFailed: spec(
    "meridian_connections_failed",
    "{connection}",
    "Connections closed by the agent: malformed frames, too long frames, sockets that took nothing for too long."
  ),
  requests: spec("meridian_requests", "{request}", "Kafka requests answered."),
  requestBytes: spec("meridian_request_bytes", "By", "Bytes of Kafka requests read."),
  responseBytes: spec("meridian_response_bytes", "By", "Bytes of Kafka answers given to sockets."),
  requestsUnsupported: spec(
    "meridian_requests_unsupported",
    "{request}",
    "Requests of an API or version that is not offered."
  ),
  requestsMalformed: spec("meridian_requests_malformed", "{request}", "Requests that could not be decoded."),
  requestsDefective: spec("meridian_requests_defective", "{request}", "Requests that hit a defect of the agent."),
  produceBatches: spec("meridian_produce_batches", "{batch}", "Record batches acknowledged to producers."),
  produceRecords: spec("meridian_produce_records", "{record}", "Records acknowledged to producers."),
  produceBytes: spec("meridian_produce_bytes", "By", "Bytes of record batches acknowledged to producers."),
  produceDuplicates: spec(
    "meridian_produce_duplicates",
    "{batch}",
    "Batches that came again from an idempotent producer and were not appended again."
  ),
  produceRejected: spec("meridian_produce_rejected", "{batch}", "Batches answered with an error."),
  fetchBytes: spec("meridian_fetch_bytes", "By", "Bytes of record batches given to consumers."),
  fetchEmpty: spec("meridian_fetch_empty", "{request}", "Fetches whose wait ended without records."),
  segmentsWritten: spec("meridian_segments_written", "{segment}", "Segments that reached their quorum."),
  segmentsFailed: spec("meridian_segments_failed", "{segment}", "Segments that did not reach their quorum in time."),
  segmentsRefused: spec(
    "meridian_segments_refused",
    "{segment}",
    "Segments that were refused as too old, or created in the sequencer's future."
  ),
  socketsPaused: spec(
    "meridian_sockets_paused",
    "{pause}",
    "Times a client's socket was paused because a bound was reached: its own requests under way, or the memory of all."
  )
} as const satisfies Record<string, MetricSpec>

/** Read by callbacks that their owners register (Metrics.observe). */
export const OBSERVED = {
  connectionsOpen: observed("gauge", "meridian_connections_open", "{connection}", "Kafka connections open."),
  requestBytesInFlight: observed(
    "gauge",
    "meridian_request_bytes_in_flight",
    "By",
    "Request bytes read and not yet answered."
  ),
  fetchBytesInFlight: observed(
    "gauge",
    "meridian_fetch_bytes_in_flight",
    "By",
    "Bytes of fetch answers that sockets have not taken yet."
  ),
  segmentsInFlight: observed(
    "gauge",
    "meridian_segments_in_flight",
    "{segment}",
    "Segments being written to their buckets or waiting for their commit."
  ),
  bucketWrites: observed(
    "counter",
    "meridian_bucket_writes",
    "{write}",
    "Segment copies by bucket and outcome: acked (late ones among them also as late), failed, skipped.",
    "bucket",
    "outcome"
  ),
  bucketReads: observed(
    "counter",
    "meridian_bucket_reads",
    "{read}",
    "Segment reads by bucket and outcome: ok, not_found, failed, timed_out, corrupt, overtaken by another bucket.",
    "bucket",
    "outcome"
  ),
  bucketHealthy: observed(
    "gauge",
    "meridian_bucket_healthy",
    "1",
    "1 where writes to the bucket count for quorums, 0 while it is left out.",
    "bucket"
  ),
  bucketRequests: observed(
    "counter",
    "meridian_bucket_requests",
    "{request}",
    "Requests to object stores.",
    "bucket",
    "operation"
  ),
  bucketErrors: observed(
    "counter",
    "meridian_bucket_errors",
    "{request}",
    "Failed requests to object stores; an interrupted one is given up by its caller.",
    "bucket",
    "operation",
    "reason"
  ),
  bucketBytes: observed(
    "counter",
    "meridian_bucket_bytes",
    "By",
    "Bytes written to and read from object stores.",
    "bucket",
    "operation"
  ),
  missingCopies: observed(
    "counter",
    "meridian_missing_copies",
    "{copy}",
    "Segment copies that a bucket missed; they are recorded for repair.",
    "bucket"
  ),
  missingCopiesWaiting: observed(
    "gauge",
    "meridian_missing_copies_waiting",
    "{copy}",
    "Missing copies that wait to be recorded in the database."
  ),
  missingCopiesDropped: observed(
    "counter",
    "meridian_missing_copies_dropped",
    "{copy}",
    "Missing copies that were not recorded because too many waited; the log entries still tell of them."
  ),
  lateCopyBytes: observed(
    "gauge",
    "meridian_late_copy_bytes",
    "By",
    "Memory held by copies that go on after their segment's quorum was reached."
  ),
  remoteReads: observed(
    "counter",
    "meridian_remote_reads",
    "{read}",
    "Segment reads answered by another region's bucket."
  ),
  hedgedReads: observed(
    "counter",
    "meridian_hedged_reads",
    "{read}",
    "Segment reads for which a second bucket was asked because the first was slow."
  ),
  cacheHits: observed("counter", "meridian_cache_hits", "{read}", "Reads answered by the block cache."),
  cacheMisses: observed("counter", "meridian_cache_misses", "{read}", "Reads that had to load a block."),
  cacheBytes: observed("gauge", "meridian_cache_bytes", "By", "Memory that the block cache holds."),
  indexPageHits: observed(
    "counter",
    "meridian_index_page_hits",
    "{read}",
    "Reads of old offsets whose index page was in the cache."
  ),
  indexPageReads: observed("counter", "meridian_index_page_reads", "{read}", "Index pages asked of the database."),
  indexPageReadsFailed: observed(
    "counter",
    "meridian_index_page_reads_failed",
    "{read}",
    "Index pages that readers needed and did not get: damaged, missing, or the database did not answer."
  ),
  indexPageCacheBytes: observed(
    "gauge",
    "meridian_index_page_cache_bytes",
    "By",
    "Memory that the cache of index pages holds."
  ),
  corruptReads: observed(
    "counter",
    "meridian_corrupt_reads",
    "{read}",
    "Runs of cached blocks that did not pass their check when they were first used; they are read again, never served."
  ),
  logSeq: observed("gauge", "meridian_log_seq", "{entry}", "Newest folded entry of the shard's commit log.", "shard"),
  clockAhead: observed(
    "gauge",
    "meridian_clock_ahead",
    "s",
    "How far this machine's clock is ahead of the database's; negative where it is behind. The log goes by the database's."
  ),
  sequencerActing: observed(
    "gauge",
    "meridian_sequencer_acting",
    "1",
    "1 while this agent sequences the shard's commit log, as far as it knows: one that was cut off learns late of another.",
    "shard"
  ),
  sequencerEpoch: observed(
    "gauge",
    "meridian_sequencer_epoch",
    "{epoch}",
    "Newest folded epoch of the shard's commit log; it grows with each change of the sequencer.",
    "shard"
  ),
  sequencerWaiting: observed(
    "gauge",
    "meridian_sequencer_waiting",
    "{command}",
    "Commands of all agents that wait here, at the sequencer, for their entry.",
    "shard"
  ),
  commandsUnsettled: observed(
    "gauge",
    "meridian_commands_unsettled",
    "{command}",
    "Commands of this agent that the sequencer has not settled yet.",
    "shard"
  ),
  metadataCalls: observed(
    "counter",
    "meridian_metadata_calls",
    "{call}",
    "Calls to the metadata database; an append whose slot another agent had taken has the outcome taken.",
    "operation",
    "outcome"
  ),
  peerConnectionsOpen: observed(
    "gauge",
    "meridian_peer_connections_open",
    "{connection}",
    "Connections of other agents open."
  ),
  peerConnections: observed(
    "counter",
    "meridian_peer_connections",
    "{connection}",
    "Connections of other agents by outcome: accepted (failed ones among them), refused (too many are open), failed (closed by this agent).",
    "outcome"
  ),
  peerSocketsPaused: observed(
    "counter",
    "meridian_peer_sockets_paused",
    "{pause}",
    "Times another agent's socket was paused because a bound was reached."
  ),
  peerRequests: observed(
    "counter",
    "meridian_peer_requests",
    "{request}",
    "Requests of other agents by outcome: answered, unsupported, malformed, defective.",
    "outcome"
  ),
  peerBytes: observed(
    "counter",
    "meridian_peer_bytes",
    "By",
    "Bytes of other agents' requests read and of answers to them written.",
    "direction"
  ),
  peerRequestBytesInFlight: observed(
    "gauge",
    "meridian_peer_request_bytes_in_flight",
    "By",
    "Bytes of other agents' requests read and not yet answered."
  ),
  peerLinks: observed(
    "gauge",
    "meridian_peer_links",
    "{link}",
    "Links to other agents by state: connected, connecting, down (idle ones among them).",
    "state"
  ),
  topics: observed("gauge", "meridian_topics", "{topic}", "Topics that exist."),
  partitions: observed("gauge", "meridian_partitions", "{partition}", "Partitions that exist."),
  agentsAlive: observed("gauge", "meridian_agents_alive", "{agent}", "Agents of this agent's region that are alive."),
  ready: observed("gauge", "meridian_ready", "1", "1 while /ready answers 200."),
  logLinesDropped: observed(
    "counter",
    "meridian_log_lines_dropped",
    "{line}",
    "Log lines dropped because nobody took standard error."
  ),
  processMemory: observed(
    "gauge",
    "meridian_process_memory_bytes",
    "By",
    "Memory of the process: resident, heap used, and buffers outside the heap.",
    "type"
  ),
  processCpuSeconds: observed("counter", "meridian_process_cpu_seconds", "s", "Processor time used.", "mode"),
  eventLoopDelay: observed(
    "gauge",
    "meridian_event_loop_delay_ms",
    "ms",
    "How late timers ran since the last collection.",
    "quantile"
  )
} as const satisfies Record<string, ObservedSpec>

const LATENCY_MS = [1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 250, 500, 1_000, 2_500, 5_000, 10_000] as const
const SEGMENT_BYTES = [1_024, 8_192, 65_536, 262_144, 1_048_576, 2_097_152, 4_194_304, 8_388_608, 33_554_432] as const

export const HISTOGRAMS = {
  produceLatencyMs: histogram("meridian_produce_latency_ms", "ms", "Produce request read until answered.", LATENCY_MS),
  fetchLatencyMs: histogram(
    "meridian_fetch_latency_ms",
    "ms",
    "Fetch request read until answered, without the wait for new records.",
    LATENCY_MS
  ),
  flushMs: histogram(
    "meridian_flush_ms",
    "ms",
    "A segment, from its closing until its commit is settled (quorum write and commit).",
    LATENCY_MS
  ),
  quorumWriteMs: histogram("meridian_quorum_write_ms", "ms", "A segment's write until its quorum.", LATENCY_MS),
  commitMs: histogram("meridian_commit_ms", "ms", "A command's way through the commit log.", LATENCY_MS),
  segmentBytes: histogram("meridian_segment_bytes", "By", "Size of segments written.", SEGMENT_BYTES)
} as const satisfies Record<string, HistogramSpec>

export type Counters = { -readonly [Name in keyof typeof COUNTERS]: number }
export type Histograms = { readonly [Name in keyof typeof HISTOGRAMS]: (value: number) => void }
export type ObservedName = keyof typeof OBSERVED

/** One value of an observed metric; attributes as its spec names them. */
export interface Observation {
  readonly value: number
  readonly attributes?: Attributes
}

export const makeCounters = (): Counters =>
  Object.fromEntries(Object.keys(COUNTERS).map((name) => [name, 0])) as Counters

export class Metrics extends Context.Service<
  Metrics,
  {
    /** Add to the fields: they are plain numbers. */
    readonly counters: Counters
    /** `record.flushMs(12)`: once per request, flush or statement. */
    readonly record: Histograms
    /** Registers what reads the metric at each collection until the scope closes; its last values stay. Quick, never throws. */
    readonly observe: (name: ObservedName, read: () => Iterable<Observation>) => Effect.Effect<void, never, Scope.Scope>
  }
>()("meridian/core/telemetry/Metrics") {
  /** Publishes through the provider. */
  static readonly layer = (provider: MeterProvider): Layer.Layer<Metrics> =>
    Layer.sync(Metrics, () => publish(provider))

  /** Counts, and shows nothing. */
  static readonly layerNoop: Layer.Layer<Metrics> = Layer.sync(Metrics, () =>
    Metrics.of({
      counters: makeCounters(),
      record: histogramsOf(() => () => {}),
      observe: () => Effect.void
    })
  )
}

/** The metric's name in /metrics. */
export const prometheusName = (metric: {
  readonly name: string
  readonly kind: "counter" | "gauge" | "histogram"
}): string => (metric.kind === "counter" ? `${metric.name}_total` : metric.name)

const publish = (provider: MeterProvider): Metrics["Service"] => {
  const meter = provider.getMeter("meridian")
  const counters = makeCounters()
  for (const [name, { name: instrument, unit, doc }] of Object.entries(COUNTERS)) {
    const field = name as keyof Counters
    meter.createObservableCounter(instrument, { unit, description: doc }).addCallback((result) => {
      result.observe(counters[field])
    })
  }
  const instruments = new Map(
    Object.entries(OBSERVED).map(([name, { kind, name: instrument, unit, doc }]) => {
      const options = { unit, description: doc }
      return [
        name,
        kind === "counter"
          ? meter.createObservableCounter(instrument, options)
          : meter.createObservableGauge(instrument, options)
      ]
    })
  )
  return Metrics.of({
    counters,
    record: histogramsOf(({ name, unit, doc, boundaries }) => {
      const handle: Histogram = meter.createHistogram(name, {
        unit,
        description: doc,
        advice: { explicitBucketBoundaries: [...boundaries] }
      })
      return (value) => handle.record(value)
    }),
    observe: (name, read) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => {
            const callback: Parameters<ReturnType<typeof meter.createObservableGauge>["addCallback"]>[0] = (result) => {
              for (const { value, attributes } of read()) result.observe(value, attributes)
            }
            instruments.get(name)!.addCallback(callback)
            return callback
          }),
          (callback) => Effect.sync(() => instruments.get(name)!.removeCallback(callback))
        )
      )
  })
}

const histogramsOf = (make: (spec: HistogramSpec) => (value: number) => void): Histograms =>
  Object.fromEntries(Object.entries(HISTOGRAMS).map(([name, spec]) => [name, make(spec)])) as Histograms

function spec(name: string, unit: string, doc: string): MetricSpec {
  return { name, unit, doc }
}

function observed(
  kind: ObservedSpec["kind"],
  name: string,
  unit: string,
  doc: string,
  ...attributes: ReadonlyArray<string>
): ObservedSpec {
  return { kind, name, unit, doc, attributes }
}

function histogram(name: string, unit: string, doc: string, boundaries: ReadonlyArray<number>): HistogramSpec {
  return { name, unit, doc, boundaries }
}
