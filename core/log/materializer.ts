/**
 * Moves the log's past out of memory and out of the log: index pages, checkpoints, trimming. Whoever sequences runs it.
 *
 * Entries are materialized by windows. A window ends with the entry that said that the one before it was materialized
 * (`fold.materializedAtSeq`): that stands in the log. So whoever goes on with a window that another left half done has the
 * same window, the same runs and the same pages, to the byte; "put if absent" of a page that is there changes nothing, and
 * no page overlaps another, whatever this agent's options are. Only when a window begins, not what it is, is decided here.
 *
 * Invariants:
 * - `materialized` is asked for only after all pages of the window are in the database. Folds drop the runs when they fold
 *   that entry, so a record is in memory or in a page at every seq.
 * - A checkpoint counts once it was read back whole, and an agent that starts would take it. Of two that count the older one's seq bounds trimming, so that one of
 *   them may be lost.
 * - The log keeps what anyone may need: rows after the older checkpoint, the newest limits.logRowsKept, and the entries of
 *   all remembered segments (their answers are read from them).
 * - Every step is idempotent and can be cut off anywhere, or be done by one who only believes to sequence: what it knows
 *   is older, so it deletes less than it might.
 */
import { Effect } from "effect"
import { limits } from "#core/model/limits.ts"
import {
  type CheckpointInfo,
  type IndexPage,
  type MetadataError,
  type MetadataStore
} from "#core/ports/metadata-store.ts"
import { monotonicMs } from "#core/telemetry/monotonic.ts"
import { checkpointSlices, type FoldCheckpoint } from "./checkpoint.ts"
import { type MarkMaterialized, type MarkMaterializedAnswer } from "./command.ts"
import { type CommitLogError } from "./commit-log.ts"
import { type Fold, type TopicLog } from "./fold.ts"
import { encodeIndexPage } from "./index-page.ts"
import { readCheckpoint } from "./load-checkpoint.ts"
import { guarded } from "./store-call.ts"
import { type PartitionLog } from "./partition-log.ts"

export interface MaterializerOptions {
  /** Told in the shard's note. */
  readonly homeRegion: string
  /** See limits.materializeKeepEntries and so on: what is not given is as there. */
  readonly keepEntries?: number
  readonly keepMs?: number
  readonly residentRunsMax?: number
  readonly intervalMs?: number
  readonly checkpointEntries?: number
  readonly keepRows?: number
  /** The same on all agents of a cluster: see limits.indexPageRuns. */
  readonly pageRuns?: number
}

export interface MaterializerParts {
  readonly store: MetadataStore["Service"]
  /** The live fold of this agent. */
  readonly fold: () => Fold
  readonly submit: (command: MarkMaterialized) => Effect.Effect<MarkMaterializedAnswer, CommitLogError>
  readonly shard: number
  readonly options: MaterializerOptions
}

export interface Materializer {
  /** Goes on for ever; to be interrupted when this agent no longer sequences. */
  readonly run: Effect.Effect<never>
  /** One look at what there is to do, and doing it. */
  readonly turn: Effect.Effect<void, MetadataError | CommitLogError>
}

export const makeMaterializer = (parts: MaterializerParts): Materializer => {
  const state: State = {
    ...parts,
    options: { ...DEFAULTS, ...parts.options },
    window: undefined,
    newestSeq: undefined,
    failedSeq: 0,
    isTidy: false,
    soundSeqs: new Set(),
    trimmedSeq: 0
  }
  return { run: Effect.suspend(() => runForever(state)), turn: Effect.suspend(() => turn(state)) }
}

const DEFAULTS: Required<Omit<MaterializerOptions, "homeRegion">> = {
  keepEntries: limits.materializeKeepEntries,
  keepMs: limits.materializeKeepMs,
  residentRunsMax: limits.residentRunsMax,
  intervalMs: limits.materializeIntervalMs,
  checkpointEntries: limits.checkpointEntries,
  keepRows: limits.logRowsKept,
  pageRuns: limits.indexPageRuns
}

interface State extends MaterializerParts {
  readonly options: Required<MaterializerOptions>
  /** The window that is next, and since when this agent knows where it ends. */
  window: { readonly through: number; readonly sinceMs: number } | undefined
  /** Of the newest checkpoint that counts; 0 where there is none, undefined where that is not known yet. */
  newestSeq: number | undefined
  /** Whether nothing was left behind since, here or by whoever sequenced before. */
  isTidy: boolean
  /** Of the last checkpoint that was written and does not count: not at once again. */
  failedSeq: number
  /** Checkpoints that were read back whole. */
  readonly soundSeqs: Set<number>
  trimmedSeq: number
}

const runForever = Effect.fnUntraced(function* (state: State) {
  let failures = 0
  for (;;) {
    const cause = yield* Effect.matchCause(turn(state), { onSuccess: () => undefined, onFailure: (failed) => failed })
    failures = cause === undefined ? 0 : failures + 1
    if (cause !== undefined) {
      yield* Effect.logWarning("the log's past could not be materialized; it goes on", cause).pipe(
        Effect.annotateLogs({ shard: state.shard, failures })
      )
    }
    const pauseMs = state.options.intervalMs * 2 ** Math.min(failures, 20)
    yield* Effect.sleep(failures === 0 ? pauseMs : Math.min(pauseMs, limits.materializeBackoffMaxMs))
  }
})

const turn = Effect.fnUntraced(function* (state: State) {
  const through = yield* dueWindow(state)
  if (through !== undefined) yield* materialize(state, through)
  if (state.fold().materializedAtSeq === 0) return
  yield* checkpointIfDue(state)
  if (state.isTidy) return
  yield* tidy(state)
  state.isTidy = true
})

/** Where the window ends that is to be materialized now; undefined where none is. */
const dueWindow = Effect.fnUntraced(function* (state: State) {
  const { options } = state
  const { seq, materializedAtSeq, residentRuns } = state.fold()
  const through = Math.max(materializedAtSeq, 1)
  if (seq <= through) return undefined
  const nowMs = yield* monotonicMs
  if (state.window?.through !== through) state.window = { through, sinceMs: nowMs }
  const isKept = seq - through < options.keepEntries || nowMs - state.window.sinceMs < options.keepMs
  return isKept && residentRuns < options.residentRunsMax ? undefined : through
})

const materialize = Effect.fnUntraced(function* (state: State, through: number) {
  const after = state.fold().materializedSeq
  const written = yield* writePages(state, { after, through })
  if (written === "overtaken") return
  if ((yield* deletePages(state, { after, through })) === "overtaken") return
  const { result } = yield* state.submit({ kind: "materialized", throughSeq: through })
  yield* Effect.logDebug("runs went to index pages").pipe(
    Effect.annotateLogs({ shard: state.shard, through, pages: written, result })
  )
})

/** Entries with after < seq <= through. */
interface Window {
  readonly after: number
  readonly through: number
}

/** Whether another agent's entry has ended this window: its runs have left memory. */
const isOvertaken = (state: State, window: Window): boolean => state.fold().materializedSeq !== window.after

/** All pages of the window; how many. */
const writePages = Effect.fnUntraced(function* (state: State, window: Window) {
  let written = 0
  let batch: Array<IndexPage> = []
  let bytes = 0
  for (const { topic, partition } of partitionsOf(state.fold())) {
    for (let first = 0; ;) {
      // After every await: what was looked at before may be gone.
      if (isOvertaken(state, window)) return "overtaken" as const
      const runCount = isLive(state.fold(), topic) ? partition.countThrough(window.through) : 0
      if (first >= runCount) break
      const runs = { topicId: topic.topicId, partition: partition.partition, runCount }
      const encoded = encodeIndexPage({ ...runs, run: (index) => partition.run(index) }, first, state.options.pageRuns)
      first += encoded.runCount
      batch.push(encoded.page)
      bytes += encoded.page.page.length
      written += 1
      if (batch.length < limits.indexPagesPerWrite && bytes < limits.indexPageBytesPerWrite) continue
      yield* guarded("writeIndexPages", state.store.writeIndexPages(batch))
      batch = []
      bytes = 0
    }
  }
  if (batch.length > 0) yield* guarded("writeIndexPages", state.store.writeIndexPages(batch))
  return isOvertaken(state, window) ? ("overtaken" as const) : written
})

const isLive = (fold: Fold, topic: TopicLog): boolean => fold.topicById(topic.topicId) === topic

/** As they are now (the list is replaced, never changed): those that come later have no runs of this window. */
const partitionsOf = function* (fold: Fold): Iterable<{ readonly topic: TopicLog; readonly partition: PartitionLog }> {
  for (const topic of fold.topics()) for (const partition of topic.partitions) yield { topic, partition }
}

/** Pages of topics that the window's entries deleted. What later windows write of them is not: they are gone. */
const deletePages = Effect.fnUntraced(function* (state: State, window: Window) {
  const isOfWindow = (seq: number): boolean => seq > window.after && seq <= window.through
  // Of now: the fold goes on while pages are deleted.
  const gone = Array.from(state.fold().deletedTopicIds).filter(([, seq]) => isOfWindow(seq))
  for (const [topicId] of gone) {
    for (let deleted = -1; deleted !== 0;) {
      if (isOvertaken(state, window)) return "overtaken" as const
      deleted = yield* guarded("deleteIndexPages", state.store.deleteIndexPages(topicId))
    }
  }
  return "deleted" as const
})

const checkpointIfDue = Effect.fnUntraced(function* (state: State) {
  const newestSeq = state.newestSeq ?? (yield* newestSoundSeq(state))
  state.newestSeq = newestSeq
  const { seq, materializedAtSeq } = state.fold()
  const sinceSeq = Math.max(newestSeq, state.failedSeq)
  if (materializedAtSeq <= newestSeq || seq - sinceSeq < state.options.checkpointEntries) return
  const checkpoint = yield* encode(state)
  yield* guarded("writeCheckpoint", state.store.writeCheckpoint({ shard: state.shard, ...checkpoint }))
  state.failedSeq = checkpoint.seq
  if (!(yield* isThere(state, checkpoint))) return
  state.soundSeqs.add(checkpoint.seq)
  state.newestSeq = checkpoint.seq
  state.isTidy = false
})

/** In slices, so that produce and fetch go on meanwhile. */
const encode = Effect.fnUntraced(function* (state: State) {
  const slices = checkpointSlices(state.fold())
  for (;;) {
    const slice = slices.next()
    if (slice.done === true) return slice.value
    yield* Effect.yieldNow
  }
})

/**
 * Reads it back as an agent does that starts from it: another program's chunks may have been there, the database may have
 * kept something else, or what this program writes is not what it would take.
 */
const isThere = Effect.fnUntraced(function* ({ shard, store }: State, { seq, chunks }: FoldCheckpoint) {
  const read = yield* readCheckpoint(store, shard, { seq, chunkCount: chunks.length })
  if (typeof read === "string") return false
  const changed = chunks.findIndex((bytes, chunk) => Buffer.compare(bytes, read.chunks[chunk]!) !== 0)
  if (changed < 0) return true
  yield* Effect.logError("a checkpoint does not read back as it was written").pipe(
    Effect.annotateLogs({ shard, seq, chunk: changed })
  )
  return false
})

const newestSoundSeq = Effect.fnUntraced(function* (state: State) {
  for (const info of yield* guarded("checkpoints", state.store.checkpoints(state.shard))) {
    if (yield* isSound(state, info)) return info.seq
  }
  return 0
})

const isSound = Effect.fnUntraced(function* (state: State, info: CheckpointInfo) {
  if (state.soundSeqs.has(info.seq)) return true
  const read = yield* readCheckpoint(state.store, state.shard, info)
  if (typeof read === "string") return false
  state.soundSeqs.add(info.seq)
  return true
})

/** Keeps the two newest checkpoints that count, and trims the log as far as the older one of them allows. */
const tidy = Effect.fnUntraced(function* (state: State) {
  const { shard, store } = state
  const sound: Array<number> = []
  for (const info of yield* guarded("checkpoints", store.checkpoints(shard))) {
    if (sound.length < 2 && (yield* isSound(state, info))) sound.push(info.seq)
  }
  const older = sound[1]
  if (older === undefined) return
  yield* guarded("deleteCheckpoints", store.deleteCheckpoints({ shard, before: older }))
  for (const seq of state.soundSeqs) if (seq < older) state.soundSeqs.delete(seq)
  yield* trim(state, older)
})

const trim = Effect.fnUntraced(function* (state: State, checkpointSeq: number) {
  const { shard, store, options } = state
  const fold = state.fold()
  const neededSeq = fold.segments.oldestSeq() ?? fold.seq
  const through = Math.min(checkpointSeq, neededSeq - 1, fold.seq - options.keepRows)
  if (through <= state.trimmedSeq) return
  yield* noteTrim(state, through)
  for (let trimmed: number = limits.logRowsPerTrim; trimmed >= limits.logRowsPerTrim;) {
    trimmed = yield* guarded("trim", store.trim({ shard, through }))
  }
  state.trimmedSeq = through
  yield* Effect.logDebug("the log was trimmed").pipe(Effect.annotateLogs({ shard, through }))
})

/** Before anything is deleted. A shard that nobody sequences has no one to tell of. */
const noteTrim = (state: State, trimmedSeq: number): Effect.Effect<void, MetadataError> => {
  const { epoch, holder } = state.fold()
  if (holder === undefined) return Effect.void
  const note = { shard: state.shard, epoch, holder: holder.name, holderRegion: holder.region }
  return guarded("noteShard", state.store.noteShard({ ...note, homeRegion: state.options.homeRegion, trimmedSeq }))
}
