/**
 * A socket that sends Kafka requests whose bytes were made beforehand, and takes answers apart no further than needed.
 *
 * A load generator must cost less than what it loads: no client library, no decoding of records, one growing buffer
 * only for an answer that comes in pieces. Requests are of the last versions without tagged fields, which both Meridian
 * and Apache Kafka speak: Produce 7 and Fetch 11. Answers come in the order of their requests.
 */
import { connect, type Socket } from "node:net"

export const produceKey = 0
const produceVersion = 7
export const fetchKey = 1
const fetchVersion = 11
const connectDeadlineMs = 10_000
const clientId = "bench"

export class RawConnection {
  private readonly socket: Socket
  private readonly waiting: ((answer: Buffer) => void)[] = []
  private readonly failures: ((error: Error) => void)[] = []
  private pending: Buffer[] = []
  private pendingBytes = 0
  private correlation = 0
  private ended: Error | undefined

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on("data", (piece: Buffer) => this.take(piece))
    socket.on("error", (error) => this.fail(error))
    socket.on("close", () => this.fail(new Error("the connection was closed")))
  }

  static async open(address: string): Promise<RawConnection> {
    const [host = "", port = ""] = address.split(":")
    const socket = connect({ host, port: Number(port), noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.setTimeout(connectDeadlineMs, () => reject(new Error(`no connection to ${address}`)))
      socket.once("connect", resolve)
      socket.once("error", reject)
    })
    socket.setTimeout(0)
    return new RawConnection(socket)
  }

  /** The answer's body after its correlation id: a view, good until the next answer of this connection. */
  request(frame: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.ended !== undefined) return reject(this.ended)
      this.waiting.push(resolve)
      this.failures.push(reject)
      this.send(frame)
    })
  }

  /** Sends and expects nothing: for a peer that never reads. */
  send(frame: Buffer): void {
    // Its own copy of the first bytes: a frame is shared by many requests, the correlation id is not.
    const head = Buffer.from(frame.subarray(0, 12))
    head.writeInt32BE(this.correlation++, 8)
    this.socket.write(head)
    this.socket.write(frame.subarray(12))
  }

  /** From now on nothing is read from the socket. */
  stopReading(): void {
    this.socket.pause()
  }

  close(): void {
    this.socket.destroy()
  }

  private take(piece: Buffer): void {
    this.pending.push(piece)
    this.pendingBytes += piece.length
    while (this.pendingBytes >= 4) {
      let bytes = this.pending[0] ?? Buffer.alloc(0)
      if (bytes.length < 4) bytes = this.join()
      const frameBytes = 4 + bytes.readInt32BE(0)
      if (this.pendingBytes < frameBytes) return
      if (bytes.length < frameBytes) bytes = this.join()
      this.pendingBytes -= frameBytes
      if (bytes.length === frameBytes) this.pending.shift()
      else this.pending[0] = bytes.subarray(frameBytes)
      this.failures.shift()
      this.waiting.shift()?.(bytes.subarray(8, frameBytes))
    }
  }

  private join(): Buffer {
    const joined = Buffer.concat(this.pending)
    this.pending = [joined]
    return joined
  }

  private fail(error: Error): void {
    this.ended = error
    this.waiting.length = 0
    for (const reject of this.failures.splice(0)) reject(error)
  }
}

/** One Produce request with acks=all; `batches` are whole record batches, one per partition. */
export function produceFrame(
  topic: string,
  batches: ReadonlyArray<{ readonly partition: number; readonly batch: Buffer }>
): Buffer {
  const body = [int16(-1), int16(-1), int32(30_000), int32(1), text(topic), int32(batches.length)]
  for (const { partition, batch } of batches) body.push(int32(partition), int32(batch.length), batch)
  return frame(produceKey, produceVersion, body)
}

/** Fails when any partition was refused. */
export function checkProduced(answer: Buffer): void {
  let at = 4
  at += 2 + answer.readInt16BE(at)
  const partitions = answer.readInt32BE(at)
  at += 4
  for (let index = 0; index < partitions; index++, at += 30) {
    const code = answer.readInt16BE(at + 4)
    if (code !== 0) throw new Error(`partition ${answer.readInt32BE(at)} refused the records: error ${code}`)
  }
}

export function fetchFrame(options: {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly bytesMax: number
  readonly waitMs: number
}): Buffer {
  const offset = Buffer.alloc(8)
  offset.writeBigInt64BE(BigInt(options.offset))
  const none = Buffer.alloc(8, 0xff)
  const { topic, partition, bytesMax, waitMs } = options
  const reader = [int32(-1), int32(waitMs), int32(1), int32(bytesMax), Buffer.of(0)]
  const noSession = [int32(0), int32(-1)]
  const wanted = [int32(1), text(topic), int32(1), int32(partition), int32(-1), offset, none, int32(bytesMax)]
  return frame(fetchKey, fetchVersion, [...reader, ...noSession, ...wanted, int32(0), text("")])
}

/** Of the answer to a `fetchFrame`: bytes of records, and the offset after the last of them (-1 without records). */
export function fetched(answer: Buffer): { readonly bytes: number; readonly next: number } {
  const code = answer.readInt16BE(4)
  if (code !== 0) throw new Error(`the fetch was refused: error ${code}`)
  // throttle 4, error 2, session 4, topics 4, name, partitions 4
  let at = 14
  at += 2 + answer.readInt16BE(at) + 4
  const partitionCode = answer.readInt16BE(at + 4)
  if (partitionCode !== 0) throw new Error(`the fetch of a partition was refused: error ${partitionCode}`)
  at += 4 + 2 + 8 + 8 + 8
  const aborted = answer.readInt32BE(at)
  at += 4 + Math.max(0, aborted) * 16 + 4
  const bytes = Math.max(0, answer.readInt32BE(at))
  at += 4
  let next = -1
  for (const end = at + bytes; at + 61 <= end;) {
    next = Number(answer.readBigInt64BE(at)) + answer.readInt32BE(at + 23) + 1
    at += 12 + answer.readInt32BE(at + 8)
  }
  return { bytes, next }
}

function frame(apiKey: number, version: number, body: readonly Buffer[]): Buffer {
  const all = Buffer.concat([int32(0), int16(apiKey), int16(version), int32(0), text(clientId), ...body])
  all.writeInt32BE(all.length - 4, 0)
  return all
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeInt16BE(value)
  return bytes
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([int16(bytes.length), bytes])
}
