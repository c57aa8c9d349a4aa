/**
 * Speaks just enough of Kafka's protocol, by hand, to produce bytes to a real broker and to fetch what it made of them:
 * the captures must not depend on the codecs that they are there to check.
 */
import net from "node:net"
import * as batchHeader from "#core/records/batch-header.ts"

export const API_PRODUCE = 0
const API_FETCH = 1

export interface Connection {
  readonly ask: (apiKey: number, apiVersion: number, body: Buffer) => Promise<Reader>
  readonly end: () => void
}

/** A plain connection, one request at a time. */
export const connect = async (host: string, port: number): Promise<Connection> => {
  const socket = net.connect(port, host)
  let received: Buffer = Buffer.alloc(0)
  let answered: ((frame: Buffer) => void) | undefined
  socket.on("data", (chunk) => {
    received = Buffer.concat([received, chunk])
    if (received.length < 4 || received.length < 4 + received.readInt32BE(0)) return
    const frame = received.subarray(4, 4 + received.readInt32BE(0))
    received = Buffer.from(received.subarray(4 + frame.length))
    answered!(frame)
  })
  socket.on("close", () => {
    if (answered !== undefined) throw new Error("the broker closed the connection")
  })
  return {
    ask: async (apiKey, apiVersion, body) => {
      const header = Buffer.concat([int16(apiKey), int16(apiVersion), int32(7), string("capture")])
      const frame = await new Promise<Buffer>((resolve) => {
        answered = resolve
        socket.write(Buffer.concat([int32(header.length + body.length), header, body]))
      })
      return new Reader(frame.subarray(4))
    },
    end: () => {
      answered = undefined
      socket.end()
    }
  }
}

/** The batches of partition 0 from the one that holds the offset, as the broker stored them. */
export const fetchBatches = async (connection: Connection, topic: string, offset: number): Promise<Array<Buffer>> => {
  const reader = await connection.ask(API_FETCH, 4, fetchRequest(topic, offset))
  reader.skip(8)
  reader.string()
  reader.skip(4 + 4)
  if (reader.int16() !== 0) throw new Error("fetch failed")
  reader.skip(16)
  const aborted = reader.int32()
  reader.skip(Math.max(aborted, 0) * 16)
  const records = reader.rest(reader.int32())
  const batches: Array<Buffer> = []
  batchHeader.walkBatches(records, (at, length) => void batches.push(records.subarray(at, at + length)))
  return batches
}

const fetchRequest = (topic: string, offset: number): Buffer => {
  const offsetBytes = Buffer.alloc(8)
  batchHeader.writeInt64(offsetBytes, offset, 0)
  return Buffer.concat([
    int32(-1),
    int32(1000),
    int32(1),
    int32(1_000_000),
    Buffer.from([0]),
    int32(1),
    string(topic),
    int32(1),
    int32(0),
    offsetBytes,
    int32(1_000_000)
  ])
}

export class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  skip(length: number): void {
    this.#at += length
  }

  int16(): number {
    this.#at += 2
    return this.#bytes.readInt16BE(this.#at - 2)
  }

  int32(): number {
    this.#at += 4
    return this.#bytes.readInt32BE(this.#at - 4)
  }

  int64(): number {
    this.#at += 8
    return batchHeader.readInt64(this.#bytes, this.#at - 8)
  }

  string(): string | null {
    const length = this.int16()
    return length < 0 ? null : this.rest(length).toString("utf8")
  }

  rest(length: number): Buffer {
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}

export const int16 = (value: number): Buffer => {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

export const int32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

export const string = (value: string | null): Buffer =>
  value === null ? int16(-1) : Buffer.concat([int16(Buffer.byteLength(value)), Buffer.from(value)])
