/**
 * The batches of other clients, for the tests of this folder: decoded by Kafka's own classes (Java), or as kcat's command
 * line said (librdkafka).
 */
import { readFileSync } from "node:fs"
import { crc32c } from "#core/records/crc32c.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"

/** offset, timestamp, key, value, headers; bytes as hex, or `length:crc32c` of more than 64. */
export type PrintedRecord = readonly [
  offset: number,
  timestamp: number,
  key: string | null,
  value: string | null,
  headers: ReadonlyArray<readonly [key: string, value: string | null]>
]

export interface JavaBatch {
  readonly name: string
  readonly codec: number
  readonly batch: Buffer
  readonly records: ReadonlyArray<PrintedRecord>
}

const golden = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`../../goldens/records/${name}`, import.meta.url), "utf8"))

export const javaBatches: ReadonlyArray<JavaBatch> = (
  golden("java-batches.json") as ReadonlyArray<Omit<JavaBatch, "batch"> & { readonly batch: string }>
).map((each) => ({ ...each, batch: Buffer.from(each.batch, "base64") }))

export const javaBatch = (name: string): JavaBatch => {
  const found = javaBatches.find((each) => each.name === name)
  if (found === undefined) throw new Error(`no golden batch is named ${name}`)
  // A copy: tests change bytes.
  return { ...found, batch: Buffer.from(found.batch) }
}

/** By topic, one for each codec. */
export const librdkafkaBatches: ReadonlyArray<readonly [topic: string, batches: ReadonlyArray<Buffer>]> =
  Object.entries(golden("librdkafka.json") as Record<string, ReadonlyArray<string>>).map(([topic, batches]) => [
    topic,
    batches.map((hex) => Buffer.from(hex, "hex"))
  ])

export const printBytes = (bytes: Buffer | null): string | null => {
  if (bytes === null) return null
  return bytes.length <= 64 ? bytes.toString("hex") : `${bytes.length}:${crc32c(bytes)}`
}

export const printRecords = (batch: Buffer, at = 0): Array<PrintedRecord> => {
  const cursor = new RecordCursor()
  const printed: Array<PrintedRecord> = []
  cursor.open(batch, at)
  while (cursor.next()) {
    printed.push([
      cursor.offset,
      cursor.timestamp,
      printBytes(cursor.key()),
      printBytes(cursor.value()),
      cursor.headers().map(({ key, value }) => [key, printBytes(value)] as const)
    ])
  }
  return printed
}
