/**
 * Port: who exists, as an agent's own clients should see it (implemented by regions/).
 *
 * Answers are a function of the listener a request came in on, membership and health, never of the agent's own address
 * alone: later a guest listener shows another region's agents through this same port.
 */
import { Context } from "effect"

/** A broker as Kafka clients see it. */
export interface Broker {
  readonly nodeId: number
  readonly host: string
  readonly port: number
  /** Kafka's rack: the zone. */
  readonly rack: string
}

export class ClusterView extends Context.Service<
  ClusterView,
  {
    /** Node id of this agent. */
    readonly selfNodeId: number
    /** Live agents that clients of this listener should use, by ascending node id; never empty: at least this agent. Synchronous, from memory. */
    readonly brokers: (listener: string) => ReadonlyArray<Broker>
    /**
     * The one of `brokers` that is named as the partition's leader: spread evenly over them, and stable while they are the
     * same (rendezvous hashing, so that a change moves only what it must).
     */
    readonly leaderOf: (listener: string, topicId: string, partition: number) => Broker
  }
>()("meridian/core/ports/ClusterView") {}
