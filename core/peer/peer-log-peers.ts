/**
 * The other agents as a shard's log needs them (core/log/log-peers.ts), over links and streams; and what they ask of it.
 *
 * Commands go on a stream of their own, so that one that is refused stops those behind it; what is only news goes on links.
 */
import { Effect } from "effect"
import { LogPeerError, type LogMember, type LogPeers, type SubmitReply } from "#core/log/log-peers.ts"
import { type LogDoor, type IncomingStream } from "#core/log/sequenced-log.ts"
import { limits } from "#core/model/limits.ts"
import { type PeerDirectory } from "#core/ports/peer-directory.ts"
import { type AgentRecord } from "#core/ports/metadata-store.ts"
import { errorCodes } from "#core/protocol/error-codes.ts"
import { type ResponseInput, type ResponseOf } from "#core/protocol/schema.ts"
import { PeerSubmit } from "./api/10001-peer-submit.ts"
import { PeerEntries } from "./api/10002-peer-entries.ts"
import { PeerPing } from "./api/10003-peer-ping.ts"
import { type PeerError } from "./peer-error.ts"
import { type PeerLinks } from "./peer-links.ts"
import { type PeerConnectionContext, type PeerHandlers } from "./peer-session.ts"

export const logPeersOf = (parts: {
  readonly shard: number
  readonly homeRegion: string
  readonly directory: PeerDirectory["Service"]
  readonly links: PeerLinks["Service"]
}): LogPeers["Service"] => {
  const { shard, homeRegion, directory, links } = parts
  // Members are those of the directory: its records say where they are reached.
  const addressOf = (member: LogMember) => member as AgentRecord
  return {
    self: directory.self,
    homeRegion,
    members: directory.members,
    membersAskedAtMs: directory.askedAtMs,
    openStream: (member) =>
      Effect.map(Effect.mapError(links.openStream(addressOf(member)), errorOf(member)), (connection) => ({
        onClosed: (listener) => void connection.onClosed(listener),
        send: (command, epoch) =>
          Effect.suspend(() => {
            const body = { shard, epoch, command: asBuffer(command) }
            return connection.request(PeerSubmit, body, { timeoutMs: limits.commandSettleMs })
          }).pipe(Effect.map(replyOf), Effect.mapError(errorOf(member)))
      })),
    ping: (member) =>
      links
        .link(addressOf(member))
        .request(PeerPing, { shard }, { timeoutMs: limits.sequencerAskTimeoutMs })
        .pipe(Effect.mapError(errorOf(member))),
    tell: (member, tidings) => {
      const { epoch, tailSeq, rows, relayTo } = tidings
      const told = rows.map((row) => ({ ...row, entry: asBuffer(row.entry) }))
      return links
        .link(addressOf(member))
        .request(
          PeerEntries,
          { shard, epoch, tailSeq, relayTo: [...relayTo], rows: told },
          { timeoutMs: limits.tellTimeoutMs }
        )
        .pipe(Effect.asVoid, Effect.mapError(errorOf(member)))
    }
  }
}

/** What the log answers to other agents. */
export const handlersOf = (shard: number, door: LogDoor["Service"]): PeerHandlers => {
  const streams = new WeakMap<PeerConnectionContext, IncomingStream>()
  return {
    submit: (request, from) => {
      if (request.shard !== shard) return Effect.succeed(refusal(`shard ${request.shard} is not here`))
      const stream = streams.get(from) ?? incomingOf(from)
      streams.set(from, stream)
      return Effect.map(door.submit(request, stream), answerOf)
    },
    entries: (request) =>
      Effect.sync(() => {
        if (request.shard !== shard) return { errorCode: errorCodes.INVALID_REQUEST, foldedSeq: 0 }
        const rows = request.rows.map((row) => ({ shard, ...row }))
        return { errorCode: errorCodes.NONE, foldedSeq: door.tidings({ ...request, rows }) }
      }),
    ping: () => Effect.sync(door.ping)
  }
}

const incomingOf = ({ state, onClose }: PeerConnectionContext): IncomingStream => ({
  get isRefused() {
    return state.submitsRefused
  },
  set isRefused(isRefused) {
    state.submitsRefused = isRefused
  },
  onClose
})

const asBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

const errorOf =
  (member: LogMember) =>
  (error: PeerError): LogPeerError => {
    const isGone = error.reason === "Refused" || error.reason === "Foreign"
    return new LogPeerError({ reason: isGone ? "Gone" : "Unreachable", member: member.name, cause: error.message })
  }

/** A failed command's reason and outcome, by the error code that stands for them between agents. */
const FAILURES = [
  [errorCodes.COORDINATOR_NOT_AVAILABLE, "Unavailable", "definite"],
  [errorCodes.REQUEST_TIMED_OUT, "Unavailable", "indefinite"],
  [errorCodes.THROTTLING_QUOTA_EXCEEDED, "Overloaded", "definite"],
  [errorCodes.UNKNOWN_SERVER_ERROR, "FoldStopped", "definite"]
] as const

type Answer = ResponseInput<typeof PeerSubmit>

const refusal = (why: string): Answer => failureOf(errorCodes.NOT_COORDINATOR, why)

const failureOf = (errorCode: number, why: string): Answer => ({
  errorCode,
  errorMessage: why.slice(0, limits.errorMessageLengthMax),
  seq: -1,
  answer: Buffer.alloc(0)
})

const answerOf = (reply: SubmitReply): Answer => {
  switch (reply.kind) {
    case "answer":
      return { errorCode: errorCodes.NONE, errorMessage: null, seq: reply.seq, answer: asBuffer(reply.answer) }
    case "refused":
      return refusal(reply.why)
    case "failed": {
      const found = FAILURES.find(([, reason, outcome]) => reason === reply.reason && outcome === reply.outcome)
      return failureOf(found?.[0] ?? errorCodes.REQUEST_TIMED_OUT, reply.why)
    }
  }
}

const replyOf = ({ errorCode, errorMessage, seq, answer }: ResponseOf<typeof PeerSubmit>): SubmitReply => {
  if (errorCode === errorCodes.NONE) return { kind: "answer", seq, answer }
  const why = errorMessage ?? `error ${errorCode}`
  if (errorCode === errorCodes.NOT_COORDINATOR) return { kind: "refused", why }
  const known = FAILURES.find(([code]) => code === errorCode)
  return { kind: "failed", reason: known?.[1] ?? "Unavailable", outcome: known?.[2] ?? "indefinite", why }
}
