/**
 * Records on their way into and out of foreign clients, byte for byte.
 *
 * Every reading peer writes one frame per record to its standard output, and every producing peer with an input of ours
 * reads one per record from its standard input:
 *
 *   out: partition SP offset SP key-bytes SP value-bytes LF key value LF      (kcat: -f '%p %o %K %S\n%k%s\n')
 *   in:  key-bytes SP value-bytes LF key value LF
 *
 * Lengths stand before bytes, so no delimiter can be mistaken. A length of -1 (null) is read as an empty buffer.
 */

export interface InputRecord {
  readonly key: Buffer
  readonly value: Buffer
}

export interface ConsumedRecord extends InputRecord {
  readonly partition: number
  readonly offset: number
}

const lineFeed = 0x0a
const headerBytesMax = 100

export function encodeFrames(records: readonly InputRecord[]): Buffer {
  const parts: Buffer[] = []
  const end = Buffer.from("\n")
  for (const { key, value } of records) parts.push(Buffer.from(`${key.length} ${value.length}\n`), key, value, end)
  return Buffer.concat(parts)
}

/** Fails on the first byte that is not as the grammar says, and names its place. */
export function decodeFrames(bytes: Buffer): ConsumedRecord[] {
  const records: ConsumedRecord[] = []
  let at = 0
  while (at < bytes.length) {
    const headerEnd = bytes.indexOf(lineFeed, at)
    if (headerEnd < 0 || headerEnd - at > headerBytesMax) throw new Error(`no header of a record at byte ${at}`)
    const fields = bytes.subarray(at, headerEnd).toString().split(" ").map(Number)
    const [partition, offset, keyBytes, valueBytes] = fields
    if (partition === undefined || offset === undefined || keyBytes === undefined || valueBytes === undefined) {
      throw new Error(`the header of a record at byte ${at} has ${fields.length} fields, not 4`)
    }
    const keyStart = headerEnd + 1
    const valueStart = keyStart + Math.max(0, keyBytes)
    const valueEnd = valueStart + Math.max(0, valueBytes)
    if (bytes[valueEnd] !== lineFeed) throw new Error(`the record at byte ${at} does not end where its lengths say`)
    records.push({
      partition,
      offset,
      key: bytes.subarray(keyStart, valueStart),
      value: bytes.subarray(valueStart, valueEnd)
    })
    at = valueEnd + 1
  }
  return records
}

/**
 * What is wrong with records that one producer sent in this order, all with keys, as somebody read them back.
 *
 * Undefined when each record is there once, byte for byte, all records of a key are in one partition, each partition
 * holds its records in the order in which they were sent, and its offsets are 0, 1, 2, ….
 */
export function difference(sent: readonly InputRecord[], read: readonly ConsumedRecord[]): string | undefined {
  if (read.length !== sent.length) return `${sent.length} records were sent and ${read.length} were read`
  const partitionOf = new Map<string, number>()
  const queues = new Map<number, ConsumedRecord[]>()
  for (const record of read) {
    const key = record.key.toString("latin1")
    const known = partitionOf.get(key)
    if (known !== undefined && known !== record.partition) {
      return `key ${key} is in partition ${known} and in partition ${record.partition}`
    }
    partitionOf.set(key, record.partition)
    const queue = queues.get(record.partition) ?? []
    if (record.offset !== queue.length) {
      return `partition ${record.partition}: offset ${record.offset} where ${queue.length} was due`
    }
    queue.push(record)
    queues.set(record.partition, queue)
  }
  const next = new Map<number, number>()
  for (const [index, record] of sent.entries()) {
    const partition = partitionOf.get(record.key.toString("latin1"))
    if (partition === undefined) return `record ${index}: nothing was read with key ${record.key.toString("latin1")}`
    const at = next.get(partition) ?? 0
    next.set(partition, at + 1)
    const got = queues.get(partition)?.[at]
    if (got === undefined) return `record ${index} is missing at offset ${at} of partition ${partition}`
    if (!got.key.equals(record.key)) return `record ${index}: another key at offset ${at} of partition ${partition}`
    if (!got.value.equals(record.value))
      return `record ${index}: another value at offset ${at} of partition ${partition}`
  }
  return undefined
}
