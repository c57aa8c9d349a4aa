/**
 * Tells other agents what was appended, and that the sequencer is there.
 *
 * A region other than one's own is told once, by way of one of its agents, which passes it on: bytes between regions cost
 * money. What cannot be told is dropped, never waited for: every agent reads the log where something is missing. So all of
 * it is bounded, per agent: messages under way, rows and bytes that wait; an agent that fails is left alone for a while,
 * and another one of its region is asked to pass on.
 */
import { type Clock, Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import { type LogRow } from "#core/ports/metadata-store.ts"
import { monotonicMsOf } from "#core/telemetry/monotonic.ts"
import { type LogMember, type LogPeers, type Tidings } from "./log-peers.ts"

type News = Omit<Tidings, "relayTo">

/** What waits for one agent. */
interface Mailbox {
  readonly member: LogMember
  rows: Array<LogRow>
  rowBytes: number
  /** The last news, to be told with the rows; undefined where nothing is to be told. */
  news: News | undefined
  relayTo: ReadonlyArray<number>
  inFlight: number
  /** When it last took what it was told. */
  answeredAtMs: number
  /** It is left alone until then. */
  quietUntilMs: number
}

export class Herald {
  private readonly peers: LogPeers["Service"]
  private readonly clock: Clock.Clock
  private readonly run: (effect: Effect.Effect<void>) => void
  /** By session. */
  private readonly mailboxes = new Map<string, Mailbox>()

  constructor(parts: {
    readonly peers: LogPeers["Service"]
    readonly clock: Clock.Clock
    /** Runs it at once, in the background. */
    readonly run: (effect: Effect.Effect<void>) => void
  }) {
    this.peers = parts.peers
    this.clock = parts.clock
    this.run = parts.run
  }

  /** The sequencer's rows, for all others. */
  proclaim(news: News): void {
    const { self } = this.peers
    for (const [region, inRegion] of Map.groupBy(this.others(), (member) => member.region)) {
      if (region === self.region) for (const member of inRegion) this.send(member, news, [])
      else this.sendByWayOfOne(inRegion, news)
    }
  }

  /** Word that the sequencer is there: small, and to each agent directly, so that nobody's silence hides it. */
  beat(news: Omit<News, "rows">): void {
    for (const member of this.others()) this.send(member, { ...news, rows: [] }, [])
  }

  /** Whether the agent takes what it is told, as one that is told often does all the time. */
  isAnswering({ session }: LogMember): boolean {
    const answeredAtMs = this.mailboxes.get(session)?.answeredAtMs ?? Number.NEGATIVE_INFINITY
    return monotonicMsOf(this.clock) - answeredAtMs < limits.sequencerSilentMs
  }

  /** Passes on what came for others too. */
  passOn(tidings: Tidings): void {
    for (const member of this.others()) if (tidings.relayTo.includes(member.nodeId)) this.send(member, tidings, [])
  }

  private sendByWayOfOne(inRegion: ReadonlyArray<LogMember>, news: News): void {
    const nowMs = monotonicMsOf(this.clock)
    const isWell = ({ session }: LogMember) => {
      const mailbox = this.mailboxes.get(session)
      return mailbox === undefined || (mailbox.quietUntilMs <= nowMs && mailbox.inFlight < limits.tellsInFlight)
    }
    const first = inRegion.find(isWell) ?? inRegion[0]!
    const others = inRegion.filter((member) => member !== first).map(({ nodeId }) => nodeId)
    this.send(first, news, others)
  }

  private send(member: LogMember, news: News, relayTo: ReadonlyArray<number>): void {
    const mailbox = this.mailboxOf(member)
    const nowMs = monotonicMsOf(this.clock)
    if (mailbox.quietUntilMs > nowMs) return
    for (const row of news.rows) {
      mailbox.rows.push(row)
      mailbox.rowBytes += row.entry.length
    }
    if (mailbox.rows.length > limits.tellRowsQueued || mailbox.rowBytes > limits.tellBytesQueued) dropRows(mailbox)
    mailbox.news = { ...news, rows: [] }
    // A beat that finds rows waiting does not take away to whom they go on.
    if (news.rows.length > 0 || mailbox.rows.length === 0) mailbox.relayTo = relayTo
    this.flush(mailbox)
  }

  private flush(mailbox: Mailbox): void {
    const { news, rows, relayTo, member } = mailbox
    if (news === undefined || mailbox.inFlight >= limits.tellsInFlight) return
    dropRows(mailbox)
    mailbox.news = undefined
    mailbox.inFlight += 1
    const told = this.peers.tell(member, { ...news, rows, relayTo }).pipe(
      Effect.timeoutOption(limits.tellTimeoutMs),
      Effect.match({ onFailure: () => false, onSuccess: (answer) => answer._tag === "Some" }),
      Effect.map((isTold) => {
        const nowMs = monotonicMsOf(this.clock)
        mailbox.inFlight -= 1
        if (isTold) mailbox.answeredAtMs = nowMs
        else {
          mailbox.quietUntilMs = nowMs + limits.tellRetryMs
          dropRows(mailbox)
          mailbox.news = undefined
        }
        this.flush(mailbox)
      })
    )
    this.run(told)
  }

  private mailboxOf(member: LogMember): Mailbox {
    const known = this.mailboxes.get(member.session)
    if (known !== undefined) return known
    const mailbox: Mailbox = {
      member,
      rows: [],
      rowBytes: 0,
      news: undefined,
      relayTo: [],
      inFlight: 0,
      answeredAtMs: Number.NEGATIVE_INFINITY,
      quietUntilMs: 0
    }
    this.mailboxes.set(member.session, mailbox)
    return mailbox
  }

  /** All members but this one; forgets the mailboxes of those who have left. */
  private others(): ReadonlyArray<LogMember> {
    const members = this.peers.members()
    const sessions = new Set(members.map(({ session }) => session))
    for (const session of this.mailboxes.keys()) if (!sessions.has(session)) this.mailboxes.delete(session)
    return members.filter(({ session }) => session !== this.peers.self.session)
  }
}

const dropRows = (mailbox: Mailbox): void => {
  mailbox.rows = []
  mailbox.rowBytes = 0
}
