/**
 * What a fuzzed connection sends, and what may come of it.
 *
 * The verdict is made from the bytes alone: they are cut into frames and decoded a second time here, so that the
 * agent can be held to it. Kafka's rule: whatever can be decoded is answered, in order, with the request's
 * correlation id; whatever cannot ends the connection; a Produce with acks=0 has no answer, and ends the connection
 * where it fails.
 */
import { ApiVersions } from "#core/protocol/api/18-api-versions.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { decodeCorrelationId, decodeRequest, decodeRequestHeader, decodeResponse } from "#core/protocol/frame.ts"
import { ProtocolError } from "#core/protocol/protocol-error.ts"
import { isServed } from "#core/protocol/registry.ts"
import { type Api } from "#core/protocol/schema.ts"
import { type FuzzPeer } from "./fuzz-peer.ts"

export type Expected =
  | { readonly kind: "answer"; readonly api: Api; readonly version: number; readonly correlationId: number }
  /** acks=0. */
  | { readonly kind: "silence-or-close" }
  | { readonly kind: "close" }

export interface Expectation {
  readonly items: ReadonlyArray<Expected>
  readonly answers: number
  readonly mustClose: boolean
  /** A length that cannot be is seen while earlier requests are under way: it ends the connection without their answers. */
  readonly mayCloseAtOnce: boolean
}

/** Smallest frame that can be a request. */
const FRAME_BYTES_MIN = 8

/** Of the whole stream of a connection. */
export const expectationOf = (stream: Buffer, frameBytesMax: number): Expectation => {
  const items: Array<Expected> = []
  let answers = 0
  let mustClose = false
  let mayCloseAtOnce = false
  for (let at = 0; stream.length - at >= 4 && !mayCloseAtOnce;) {
    const bytes = stream.readInt32BE(at)
    mayCloseAtOnce = bytes < FRAME_BYTES_MIN || bytes > frameBytesMax
    if (!mayCloseAtOnce && at + 4 + bytes > stream.length) break
    // What follows the first frame that ends the connection is read, but never looked at.
    if (!mustClose) {
      const item = mayCloseAtOnce ? CLOSE : expectedOf(stream.subarray(at + 4, at + 4 + bytes))
      items.push(item)
      if (item.kind === "answer") answers++
      mustClose = item.kind === "close"
    }
    at += 4 + bytes
  }
  return { items, answers, mustClose, mayCloseAtOnce }
}

const CLOSE: Expected = { kind: "close" }

const expectedOf = (frame: Buffer): Expected => {
  try {
    const header = decodeRequestHeader(frame)
    const { apiKey, apiVersion: version, correlationId } = header
    if (apiKey === ApiVersions.key && !isServed(ApiVersions, version)) {
      return { kind: "answer", api: ApiVersions, version, correlationId }
    }
    const { api, body } = decodeRequest(frame)
    if (apiKey === Produce.key && (body as { readonly acks: number }).acks === 0) return { kind: "silence-or-close" }
    return { kind: "answer", api, version, correlationId }
  } catch (error) {
    if (error instanceof ProtocolError) return CLOSE
    throw error
  }
}

/** Whether nothing more can come of what was sent. */
export const isDecided = (peer: FuzzPeer, expected: Expectation): boolean =>
  peer.endedBy !== undefined || (!expected.mustClose && peer.isAllSent && peer.answers.length >= expected.answers)

/** What is wrong with the connection after it ended, or undefined. */
export const problemOf = (
  peer: FuzzPeer,
  expected: Expectation,
  closings: ReadonlyArray<string>
): string | undefined => {
  const { items } = expected
  let next = 0
  for (const frame of peer.answers) {
    while (items[next]?.kind === "silence-or-close") next++
    const item = items[next]
    if (item === undefined || item.kind !== "answer") return "an answer to nothing that was asked"
    const wrong = answerProblem(frame, item)
    if (wrong !== undefined) return `answer ${next}: ${wrong}`
    next++
  }
  if (peer.strayBytes > 0 && peer.endedBy === "agent") return "the last answer is cut off"
  if (peer.endedBy === "peer") {
    return closings.length === 0 ? undefined : `the peer hung up, but the agent logged: ${closings.join("; ")}`
  }
  if (closings.length !== 1) return `closed with ${closings.length} log events: ${closings.join("; ")}`
  const isExcused = expected.mayCloseAtOnce || (items[next]?.kind ?? "answer") !== "answer"
  return isExcused ? undefined : `closed although item ${next} must be answered: ${closings[0]}`
}

const answerProblem = (frame: Buffer, item: Extract<Expected, { kind: "answer" }>): string | undefined => {
  const { api, version, correlationId } = item
  if (frame.length < 4) return "it has no correlation id"
  const found = decodeCorrelationId(frame)
  if (found !== correlationId) return `correlation id ${found}, expected ${correlationId}`
  try {
    decodeResponse({ api, version, frame })
    return undefined
  } catch (error) {
    return `${api.name} v${version}: ${String(error)}`
  }
}

/** How many frames of the stream were decided: answered, passed over in silence, or what ended the connection. */
export const framesDecided = (peer: FuzzPeer, expected: Expectation): number => {
  let left = peer.answers.length
  let decided = 0
  for (const item of expected.items) {
    if (item.kind === "answer" && left-- === 0) break
    decided++
  }
  return decided
}
