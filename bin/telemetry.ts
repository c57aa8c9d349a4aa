/**
 * The OpenTelemetry SDK of one agent: a MeterProvider with the Prometheus exporter, which opens no port of its own
 * (bin/http-server.ts serves /metrics), and the process's own metrics.
 *
 * Only bin knows the SDK; everything else sees core/telemetry/metrics.ts. Resource attributes may be added by the
 * environment that OpenTelemetry users know (OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME).
 */
import { monitorEventLoopDelay } from "node:perf_hooks"
import { type RequestListener } from "node:http"
import { PrometheusExporter } from "@opentelemetry/exporter-prometheus"
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources"
import { MeterProvider } from "@opentelemetry/sdk-metrics"
import { Effect, type Scope } from "effect"
import { Metrics } from "#core/telemetry/metrics.ts"

export interface AgentIdentity {
  readonly agent: string
  readonly region: string
  readonly zone: string
  readonly version: string
}

export interface Telemetry {
  readonly provider: MeterProvider
  /** Answers with the text of all metrics. */
  readonly serveMetrics: RequestListener
}

/** Shut down with the scope. */
export const make = (identity: AgentIdentity): Effect.Effect<Telemetry, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        const exporter = new PrometheusExporter({
          preventServerStart: true,
          withoutScopeInfo: true,
          // On every metric, so that dashboards need no join with target_info.
          withResourceConstantLabels: /^(region|zone|agent)$/
        })
        const { agent, region, zone, version } = identity
        const resource = defaultResource()
          .merge(
            resourceFromAttributes({
              "service.name": "meridian",
              "service.version": version,
              "service.instance.id": agent,
              agent,
              region,
              zone
            })
          )
          .merge(detectResources({ detectors: [envDetector] }))
        return { exporter, provider: new MeterProvider({ readers: [exporter], resource }) }
      }),
      ({ provider }) => Effect.ignore(Effect.tryPromise(() => provider.shutdown()))
    ),
    ({ exporter, provider }) => ({
      provider,
      serveMetrics: (request, response) => exporter.getMetricsRequestHandler(request, response)
    })
  )

/** Memory, processor time and the event loop's delay of this process. */
export const observeProcess: Effect.Effect<void, never, Metrics | Scope.Scope> = Effect.gen(function* () {
  const metrics = yield* Metrics
  const delay = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const histogram = monitorEventLoopDelay({ resolution: 20 })
      histogram.enable()
      return histogram
    }),
    (histogram) => Effect.sync(() => histogram.disable())
  )
  yield* metrics.observe("processMemory", () => {
    const memory = process.memoryUsage()
    return [
      { value: memory.rss, attributes: { type: "resident" } },
      { value: memory.heapUsed, attributes: { type: "heap" } },
      { value: memory.external, attributes: { type: "external" } }
    ]
  })
  yield* metrics.observe("processCpuSeconds", () => {
    const cpu = process.cpuUsage()
    return [
      { value: cpu.user / 1e6, attributes: { mode: "user" } },
      { value: cpu.system / 1e6, attributes: { mode: "system" } }
    ]
  })
  yield* metrics.observe("eventLoopDelay", () => {
    const values = [
      { value: delay.percentile(50) / 1e6, attributes: { quantile: "0.5" } },
      { value: delay.percentile(99) / 1e6, attributes: { quantile: "0.99" } },
      { value: delay.max / 1e6, attributes: { quantile: "1" } }
    ]
    delay.reset()
    return values
  })
})
