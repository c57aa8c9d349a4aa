/**
 * Goal: every metric of the tables reaches /metrics under its documented name with the value that was counted, and the
 * documentation lists exactly the tables. Method: a real MeterProvider with the Prometheus exporter and its serializer,
 * collected in the process.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus"
import { MeterProvider } from "@opentelemetry/sdk-metrics"
import { Effect, Scope, Exit } from "effect"
import { COUNTERS, HISTOGRAMS, Metrics, OBSERVED, type ObservedName, prometheusName } from "#core/telemetry/metrics.ts"
import { metricsTable } from "#core/telemetry/metrics-table.ts"

const exported = () => {
  const reader = new PrometheusExporter({ preventServerStart: true })
  const provider = new MeterProvider({ readers: [reader] })
  const text = Effect.promise(async () => {
    const { resourceMetrics, errors } = await reader.collect()
    assert.deepStrictEqual(errors, [])
    return new PrometheusSerializer().serialize(resourceMetrics)
  })
  return { layer: Metrics.layer(provider), text }
}

/** Value of the sample whose line begins with the name and has all these labels. */
const sample = (text: string, name: string, labels: ReadonlyArray<string> = []): number | undefined => {
  const line = text
    .split("\n")
    .find((candidate) => candidate.startsWith(`${name}{`) && labels.every((label) => candidate.includes(label)))
  return line === undefined ? undefined : Number(line.slice(line.lastIndexOf(" ") + 1))
}

describe("metrics", () => {
  it.effect("a number added to a counter's field is what a collection shows", () => {
    const { layer, text } = exported()
    return Effect.gen(function* () {
      const { counters } = yield* Metrics
      counters.produceRecords += 40
      counters.produceRecords += 2
      const shown = yield* text
      assert.strictEqual(sample(shown, "meridian_produce_records_total"), 42)
      for (const { name } of Object.values(COUNTERS)) {
        assert.isDefined(sample(shown, `${name}_total`), `${name} is shown from the start`)
      }
    }).pipe(Effect.provide(layer))
  })

  it.effect("an observed value is read at collection, with its labels, and keeps its last one after its scope", () => {
    const { layer, text } = exported()
    return Effect.gen(function* () {
      const { observe } = yield* Metrics
      const scope = yield* Scope.make()
      let writes = 1
      yield* observe("bucketWrites", () => [{ value: writes, attributes: { bucket: "b1", outcome: "acked" } }]).pipe(
        Scope.provide(scope)
      )
      writes = 7
      assert.strictEqual(sample(yield* text, "meridian_bucket_writes_total", ['bucket="b1"', 'outcome="acked"']), 7)
      yield* Scope.close(scope, Exit.void)
      writes = 9
      assert.strictEqual(sample(yield* text, "meridian_bucket_writes_total"), 7)
    }).pipe(Effect.provide(layer))
  })

  it.effect("every observed metric and histogram appears under its documented name", () => {
    const { layer, text } = exported()
    return Effect.gen(function* () {
      const { observe, record } = yield* Metrics
      for (const name of Object.keys(OBSERVED) as Array<ObservedName>) yield* observe(name, () => [{ value: 3 }])
      for (const recordValue of Object.values(record)) recordValue(5)
      const shown = yield* text
      for (const metric of Object.values(OBSERVED)) assert.strictEqual(sample(shown, prometheusName(metric)), 3)
      for (const { name } of Object.values(HISTOGRAMS)) assert.strictEqual(sample(shown, `${name}_count`), 1)
    }).pipe(Effect.provide(layer), Effect.scoped)
  })

  it("names are unique, begin with meridian_ and have what Prometheus accepts", () => {
    const metrics = [...Object.values(COUNTERS), ...Object.values(OBSERVED), ...Object.values(HISTOGRAMS)]
    for (const { name, doc, unit } of metrics) {
      assert.match(name, /^meridian_[a-z]+(_[a-z]+)*$/)
      assert.notMatch(name, /_total$/, "the exporter adds it")
      assert.match(doc, /\.$/, `${name} is documented by a sentence`)
      assert.notStrictEqual(unit, "")
    }
    assert.strictEqual(new Set(metrics.map((metric) => metric.name)).size, metrics.length)
  })

  it("the README lists exactly the metrics that exist", () => {
    const file = fileURLToPath(new URL("../../../core/telemetry/README.md", import.meta.url))
    const text = readFileSync(file, "utf8")
    const [before, listed, after] = text.split(/<!-- \/?metrics -->\n/)
    if (process.env["MERIDIAN_WRITE_DOCS"] !== undefined) {
      writeFileSync(file, `${before}<!-- metrics -->\n${metricsTable()}\n<!-- /metrics -->\n${after}`)
    } else assert.strictEqual(listed?.trim(), metricsTable())
  })
})
