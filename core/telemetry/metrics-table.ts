/** The list of all metrics as Markdown, for core/telemetry/README.md; a test keeps the two equal. */
import { COUNTERS, HISTOGRAMS, OBSERVED, prometheusName } from "./metrics.ts"

export const metricsTable = (): string => {
  const rows = [
    ...Object.values(COUNTERS).map((metric) => row({ ...metric, kind: "counter", attributes: [] })),
    ...Object.values(OBSERVED).map(row),
    ...Object.values(HISTOGRAMS).map((metric) => row({ ...metric, kind: "histogram", attributes: [] }))
  ]
  return ["| metric | kind | unit | labels | what it says |", "|---|---|---|---|---|", ...rows.sort()].join("\n")
}

const row = (metric: {
  readonly name: string
  readonly kind: "counter" | "gauge" | "histogram"
  readonly unit: string
  readonly doc: string
  readonly attributes: ReadonlyArray<string>
}): string =>
  `| \`${prometheusName(metric)}\` | ${metric.kind} | ${metric.unit} | ${metric.attributes.join(", ")} | ${metric.doc} |`
