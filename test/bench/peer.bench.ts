/**
 * What a request between agents costs, over the loopback: one after the other, and as many in flight as a connection
 * takes. Client and server share this process, so a request's processor time is that of both sides together.
 * Method: rounds after a warm-up, the median; run it alone on a quiet machine: npm run bench -- peer
 */
import { Effect, Layer, Logger } from "effect"
import * as tcp from "#backends/network/tcp.ts"
import * as tcpConnector from "#backends/network/tcp-connector.ts"
import { limits } from "#core/model/limits.ts"
import { PeerSubmit } from "#core/peer/api/10001-peer-submit.ts"
import { PeerPing } from "#core/peer/api/10003-peer-ping.ts"
import { connect, type PeerConnection } from "#core/peer/peer-connection.ts"
import { type PeerError } from "#core/peer/peer-error.ts"
import { listen, type PeerHandlers } from "#core/peer/peer-listener.ts"
import { Metrics } from "#core/telemetry/metrics.ts"
import { type BenchmarkOptions, type Figures, median, printTable, rounded } from "./benchmark.ts"

const ROUNDS = 7
const CLUSTER = "bench"
const TIMEOUT = { timeoutMs: limits.clientRequestTimeoutMs }
const command = Buffer.alloc(4_096, 1)
const answer = Buffer.alloc(1_024, 2)

const identity = (name: string, nodeId: number) => {
  return { name, session: String(nodeId).repeat(32), nodeId, region: "r", zone: "z" }
}

const handlers: PeerHandlers = {
  submit: ({ epoch }) => Effect.succeed({ errorCode: 0, errorMessage: null, seq: epoch, answer }),
  entries: ({ tailSeq }) => Effect.succeed({ errorCode: 0, foldedSeq: tailSeq }),
  ping: () => Effect.succeed({ epoch: 1, isActing: true, tailSeq: 1 })
}

const ping = (connection: PeerConnection) => connection.request(PeerPing, { shard: 0 }, TIMEOUT)
const submit = (connection: PeerConnection) => connection.request(PeerSubmit, { shard: 0, epoch: 1, command }, TIMEOUT)

const CASES = [
  { name: "ping, one at a time", request: ping, concurrency: 1 },
  { name: "ping, pipelined", request: ping, concurrency: limits.peerRequestsInFlight },
  { name: "submit of 4 KiB, one at a time", request: submit, concurrency: 1 },
  { name: "submit of 4 KiB, pipelined", request: submit, concurrency: limits.peerRequestsInFlight }
] as const

interface Round {
  readonly perSecond: number
  readonly cpuMicros: number
}

const measure = (
  request: Effect.Effect<unknown, PeerError>,
  requests: number,
  concurrency: number
): Effect.Effect<Round, PeerError> =>
  Effect.gen(function* () {
    const startedMs = performance.now()
    const before = process.cpuUsage()
    const each = requests / concurrency
    const one = Effect.forEach(Array.from({ length: each }), () => request, { discard: true })
    yield* Effect.forEach(Array.from({ length: concurrency }), () => one, { concurrency: "unbounded", discard: true })
    const { user, system } = process.cpuUsage(before)
    return {
      perSecond: (each * concurrency * 1_000) / (performance.now() - startedMs),
      cpuMicros: (user + system) / (each * concurrency)
    }
  })

export const run = ({ quick }: BenchmarkOptions): Promise<Figures> =>
  Effect.runPromise(
    Effect.gen(function* () {
      const listening = { host: "127.0.0.1", port: 0, clusterId: CLUSTER, connectionsMax: 10 }
      const port = yield* listen({ ...listening, self: identity("server", 2), handlers })
      const connection = yield* connect({ host: "127.0.0.1", port, self: identity("client", 1), clusterId: CLUSTER })
      const figures: Record<string, Figures> = {}
      const rows = [["", "requests/s", "CPU µs per request"]]
      for (const { name, request, concurrency } of CASES) {
        const requests = (quick ? 2 : 40) * limits.peerRequestsInFlight
        const rounds: Array<Round> = []
        for (let round = 0; round <= (quick ? 1 : ROUNDS); round++) {
          const measured = yield* measure(request(connection), requests, concurrency)
          if (round > 0) rounds.push(measured)
        }
        const perSecond = rounded(median(rounds.map((round) => round.perSecond)), 0)
        const cpuMicros = rounded(median(rounds.map((round) => round.cpuMicros)), 1)
        figures[name] = { perSecond, cpuMicros }
        rows.push([name, String(perSecond), String(cpuMicros)])
      }
      printTable(rows)
      return figures
    }).pipe(
      Effect.scoped,
      Effect.provide(Layer.mergeAll(tcp.layer, tcpConnector.layer, Metrics.layerNoop, Logger.layer([])))
    )
  )
