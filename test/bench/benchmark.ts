/** What a benchmark is, and the little arithmetic and printing that all of them share. */
import { randomFillSync } from "node:crypto"
import { buildBatch } from "#core/records/build-batch.ts"

/** Nested numbers by name: what ends up in the last line of the output. */
export interface Figures {
  readonly [name: string]: number | Figures
}

export interface BenchmarkOptions {
  /** A few seconds instead of minutes: shows that it runs, says little about speed. */
  readonly quick: boolean
  /** An empty folder of this benchmark. */
  readonly dir: string
}

export interface Benchmark {
  readonly name: string
  /** Whether a real Apache Kafka is needed beside Meridian. */
  readonly needsKafka: boolean
  readonly run: (options: BenchmarkOptions) => Promise<Figures>
}

export const recordBytes = 1024

export function median(values: readonly number[]): number {
  return quantile(values, 0.5)
}

/** The value that so large a part of all values does not exceed. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}

export function rounded(value: number, digits = 2): number {
  return Number(value.toFixed(digits))
}

/** Prints rows with aligned columns; the first row is the heading. */
export function printTable(rows: ReadonlyArray<readonly string[]>): void {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  for (const row of rows) {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)
    )
    console.log(`  ${cells.join("  ")}`)
  }
}

/** A record batch of random, and so incompressible, records of 1 KiB. */
export function randomBatch(records: number): Buffer {
  const values = Array.from({ length: records }, () => randomFillSync(Buffer.alloc(recordBytes)))
  return buildBatch({ records: values.map((value) => ({ key: null, value })), timestampMs: Date.now() })
}
