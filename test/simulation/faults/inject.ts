/**
 * Lets faults happen to a cluster, and undoes them.
 *
 * Each fault ends by itself after its duration, or with all others by `healAll`; ending it twice does nothing.
 */
import { type Cluster } from "../cluster/cluster.ts"
import { type Prng, streamOf } from "../engine/prng.ts"
import { type Place } from "../engine/process.ts"
import { type Group } from "../network/links.ts"
import { type Fault, faultText, type Schedule, SEQUENCER } from "./fault.ts"

export class Injector {
  readonly #cluster: Cluster
  readonly #random: Prng
  /** Who sequences. */
  readonly #holder: () => string | undefined
  readonly #active = new Set<() => void>()
  #isHealed = false
  injected = 0

  constructor(cluster: Cluster, holder: () => string | undefined) {
    this.#cluster = cluster
    this.#holder = holder
    this.#random = streamOf(cluster.world.seed, "injector")
  }

  /** From now on, at their times. */
  schedule(schedule: Schedule): void {
    const { world } = this.#cluster
    for (const scheduled of schedule) {
      world.trace.add("schedule", () => faultText(scheduled))
      world.after(scheduled.atMs, undefined, () => {
        if (this.#isHealed) return
        this.injected++
        const end = this.begin(this.#aimed(scheduled.fault))
        world.after(scheduled.durationMs, undefined, end)
      })
    }
  }

  /** Until the answer is called, or all is healed. */
  begin(fault: Fault): () => void {
    const { world } = this.#cluster
    world.trace.add("fault", () => `begins: ${JSON.stringify(fault)}`)
    const undo = this.#apply(fault)
    const end = (): void => {
      if (!this.#active.delete(end)) return
      world.trace.add("fault", () => `is over: ${JSON.stringify(fault)}`)
      undo()
    }
    this.#active.add(end)
    return end
  }

  /** Nothing is at fault from here on. */
  healAll(): void {
    this.#isHealed = true
    for (const end of this.#active) end()
    const { agents, database, buckets, links } = this.#cluster
    for (const agent of agents) agent.healClock()
    database.healAll()
    for (const bucket of buckets) bucket.healAll()
    links.healAll()
  }

  #aimed(fault: Fault): Fault {
    const aim = (name: string): string =>
      name === SEQUENCER ? (this.#holder() ?? this.#random.pick(this.#cluster.agents).name) : name
    if ("agent" in fault) return { ...fault, agent: aim(fault.agent) }
    if (!("from" in fault)) return fault
    const aimGroup = (group: Group): Group => ("place" in group ? { place: aim(group.place) } : group)
    return { ...fault, from: aimGroup(fault.from), to: aimGroup(fault.to) }
  }

  #apply(fault: Fault): () => void {
    const { links, database, network } = this.#cluster
    switch (fault.kind) {
      case "kill":
        return this.#cluster.agentNamed(fault.agent).kill(fault.manner)
      case "stop":
        return this.#cluster.agentNamed(fault.agent).stop()
      case "freeze":
        return this.#cluster.agentNamed(fault.agent).freeze()
      case "cut": {
        const there = links.cut({ from: fault.from, to: fault.to })
        const back = fault.ways === "both" ? links.cut({ from: fault.to, to: fault.from }) : () => {}
        return () => {
          this.#resetAfterCut(fault.from, fault.to, fault.resetShare)
          there()
          back()
        }
      }
      case "isolate":
        return this.#isolate(fault.region)
      case "slow": {
        const there = links.slow({ from: fault.from, to: fault.to }, fault.factor)
        const back = links.slow({ from: fault.to, to: fault.from }, fault.factor)
        return () => {
          there()
          back()
        }
      }
      case "reset-connections": {
        const { process } = this.#cluster.agentNamed(fault.agent)
        if (process !== undefined) network.resetConnections(process, () => this.#random.chance(fault.share))
        return () => {}
      }
      case "clock-jump":
        this.#cluster.agentNamed(fault.agent).process?.clock.jump(fault.byMs)
        return () => {}
      case "database-clock-jump":
        database.setClock(fault.byMs)
        return () => {}
      case "database-fault": {
        const { fault: kind, chance, caller, operations } = fault
        return database.faults.add({
          kind,
          chance,
          ...(caller === undefined ? {} : { caller }),
          ...(operations === undefined ? {} : { operations })
        })
      }
      case "database-away":
        return database.away(fault.manner)
      case "bucket-fault": {
        const { fault: kind, chance, caller, region } = fault
        return this.#cluster.bucketOf(region).faults.add({ kind, chance, ...(caller === undefined ? {} : { caller }) })
      }
      case "bucket-away":
        return this.#cluster.bucketOf(fault.region).away(fault.manner)
      case "region-dark":
        return this.#darken(fault.region)
    }
  }

  #isolate(region: string): () => void {
    const { links, regions } = this.#cluster
    const ends = regions
      .filter((other) => other !== region)
      .flatMap((other) => [
        links.cut({ from: { region }, to: { region: other } }),
        links.cut({ from: { region: other }, to: { region } })
      ])
    return () => {
      for (const end of ends) end()
    }
  }

  #darken(region: string): () => void {
    const { agents, database } = this.#cluster
    const ends = [database.darken(region), this.#cluster.bucketOf(region).away("hang")]
    for (const agent of agents) if (agent.region === region) ends.push(agent.kill("vanish"))
    return () => {
      for (const end of ends) end()
    }
  }

  /** What stood between them has forgotten some of their connections. */
  #resetAfterCut(from: Group, to: Group, share: number): void {
    for (const { process } of this.#cluster.agents) {
      if (process === undefined) continue
      const other = isIn(process, from) ? to : isIn(process, to) ? from : undefined
      if (other === undefined) continue
      this.#cluster.network.resetConnections(process, (peer) => isIn(peer, other) && this.#random.chance(share))
    }
  }
}

const isIn = (place: Place, group: Group): boolean =>
  "place" in group ? place.name === group.place : place.region === group.region
