/** Port: the live agents of all regions, and how to reach them (implemented by regions/membership.ts). */
import { Context } from "effect"
import { type AgentRecord } from "./metadata-store.ts"

export class PeerDirectory extends Context.Service<
  PeerDirectory,
  {
    readonly self: AgentRecord
    /** This agent included, by ascending node id. Synchronous, from memory. */
    readonly members: () => ReadonlyArray<AgentRecord>
    /** When the database was asked for the list that `members` shows; whoever had left by then is not in it. */
    readonly askedAtMs: () => number
  }
>()("meridian/core/ports/PeerDirectory") {}
