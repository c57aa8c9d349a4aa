/**
 * Real input: what apt knows about every available package, one stanza per record, keyed by the package's name.
 *
 * Some 60,000 records and 50 MB of text with line feeds and non-ASCII letters; names come up more than once where
 * several versions exist, so keys repeat.
 */
import { spawnSync } from "node:child_process"
import { type InputRecord } from "../peers/record-frames.ts"

const outputBytesMax = 1024 * 1024 * 1024
const deadlineMs = 60_000
/** A machine whose package lists were never fetched knows only what is installed, if that. */
const recordsMin = 1_000

let cached: InputRecord[] | undefined

export function packageRecordsMissing(): string | undefined {
  const count = packageRecords().length
  return count >= recordsMin ? undefined : `apt knows ${count} packages, ${recordsMin} are needed: apt-get update`
}

export function packageRecords(): readonly InputRecord[] {
  cached ??= read()
  return cached
}

/** A sample, evenly spread over the whole list, with the values on one line each for clients that know lines only. */
export function packageRecordsOnLines(count: number): InputRecord[] {
  return packageRecordSample(count).map(({ key, value }) => ({
    key,
    value: Buffer.from(value.toString("latin1").replaceAll("\n", "\u0001"), "latin1")
  }))
}

export function packageRecordSample(count: number): InputRecord[] {
  const all = packageRecords()
  const step = Math.max(1, Math.floor(all.length / count))
  return all.filter((_, index) => index % step === 0).slice(0, count)
}

function read(): InputRecord[] {
  const answer = spawnSync("apt-cache", ["dumpavail"], { maxBuffer: outputBytesMax, timeout: deadlineMs })
  if (answer.error !== undefined || answer.status !== 0) return []
  const records: InputRecord[] = []
  const bytes = answer.stdout
  for (let from = 0; from < bytes.length;) {
    const end = bytes.indexOf("\n\n", from)
    const stanza = bytes.subarray(from, end < 0 ? bytes.length : end + 1)
    const name = /^Package: (.+)$/m.exec(stanza.subarray(0, 1_000).toString("latin1"))?.[1]
    if (name !== undefined) records.push({ key: Buffer.from(name, "latin1"), value: stanza })
    from = end < 0 ? bytes.length : end + 2
  }
  return records
}
