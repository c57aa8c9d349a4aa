/**
 * What a handler is: one file per API key in handlers/, each a plain function from services to a function from request to
 * an effect of the answer. Handlers hold no state of their own and never fail: what can go wrong is an error code in the
 * answer, or a hangup where Kafka closes the connection.
 */
import { type Clock, type Effect } from "effect"
import { type CommitLog } from "#core/log/commit-log.ts"
import { type ClusterView } from "#core/ports/cluster-view.ts"
import { type Entropy } from "#core/ports/entropy.ts"
import { type Api, type RequestOf, type ResponseInput } from "#core/protocol/schema.ts"
import { type Settings } from "#core/config/settings.ts"
import { type Metrics } from "#core/telemetry/metrics.ts"
import { type ByteBudget } from "./byte-budget.ts"
import { type RequestHandles } from "./connection.ts"
import { type IndexPages } from "./index-pages.ts"
import { type ProducerIds } from "./producer-ids.ts"
import { type RunReader } from "./run-reader.ts"
import { type SegmentBuffer } from "./segment-buffer.ts"

/** Everything that handlers use of an agent. */
export interface AgentServices {
  readonly log: CommitLog["Service"]
  readonly cluster: ClusterView["Service"]
  readonly buffer: SegmentBuffer["Service"]
  readonly runs: RunReader["Service"]
  readonly pages: IndexPages["Service"]
  readonly producerIds: ProducerIds
  readonly entropy: Entropy["Service"]
  readonly clock: Clock.Clock
  readonly settings: Settings
  /** Bytes of fetch answers that are not yet taken by their sockets. */
  readonly fetchBudget: ByteBudget
  readonly metrics: Metrics["Service"]
}

export interface RequestContext extends RequestHandles {
  readonly apiVersion: number
  readonly clientId: string | null
  /** Name of the listener that the request came in on. */
  readonly listener: string
}

export type Reply<Body> =
  | Body
  /** No answer at all (acks=0). */
  | typeof NO_ANSWER
  /** Close the connection, for the reason given. */
  | { readonly hangup: string }

export const NO_ANSWER = Symbol("no answer")

export interface Handler<A extends Api> {
  readonly api: A
  readonly make: (
    services: AgentServices
  ) => (request: RequestOf<A>, context: RequestContext) => Effect.Effect<Reply<ResponseInput<A>>>
}

export const defineHandler = <const A extends Api>(api: A, make: Handler<A>["make"]): Handler<A> => ({ api, make })
