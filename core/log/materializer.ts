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
 * - A checkpoint counts once it was read back whole, and an agent that starts would take it. Of two that count the older
 *   one's seq bounds trimming, so that one of them may be lost.
 * - However slow or broken the way to the database is, what got through is not done again: a window goes on behind the pages
 *   that were written, and a checkpoint, once encoded, is the one that is written until it is there. So nothing is left over
 *   that grows with failures; incomplete checkpoints of others are deleted.
 * - The log keeps what anyone may need: rows after the older checkpoint, the newest limits.logRowsKept, and the entries of
 *   all remembered segments (their answers are read from them).
 * - Every step is idempotent and can be cut off anywhere, or be done by one who only believes to sequence: what it knows
 *   is older, so it deletes less than it might.
 */
import { Effect, Result } from "effect"
import { limits } from "#core/model/limits.ts"
import { type Uuid } from "#core/model/uuid.ts"
import {
  type CheckpointInfo,
  type DeleteCheckpoints,
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
import { isRestorable, readCheckpoint } from "./load-checkpoint.ts"
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
    progress: undefined,
    writing: undefined,
    newestSeq: undefined,
    failedSeq: 0,
    isTidy: false,
    soundSeqs: new Set(),
    trimmedSeq: 0
  }
  return { run: Effect.suspend(() => runFromNow(state)), turn: Effect.suspend(() => turn(state)) }
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
  /** Of the window that was last begun, also by an attempt that was cut off, by another sequencer as well. */
  progress: Progress | undefined
  /** The checkpoint that is under way. */
  writing: CheckpointUnderWay | undefined
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

/** A checkpoint that is written until it is there, over as many turns as that takes. */
interface CheckpointUnderWay {
  readonly checkpoint: FoldCheckpoint
  /** Chunks that are there; of those, chunks that were read back. */
  written: number
  verified: number
}

/** What others did since this agent sequenced last is not known; and what is under way is large: it is not kept meanwhile. */
const runFromNow = (state: State): Effect.Effect<never> => {
  state.newestSeq = undefined
  state.isTidy = false
  const forget = Effect.sync(() => {
    state.writing = undefined
  })
  return Effect.ensuring(runForever(state), forget)
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
    yield* Effect.sleep(failures === 0 ? pauseMs : Math.min(pauseMs, pauseMsMax(state)))
  }
})

/** Where segments are refused, or soon will be, clients wait for it. */
const pauseMsMax = ({ fold, options }: State): number =>
  fold().residentRuns < options.residentRunsMax ? limits.materializeBackoffMaxMs : limits.materializeBackoffFullMs

const turn = Effect.fnUntraced(function* (state: State) {
  const through = yield* dueWindow(state)
  if (through !== undefined) yield* materialize(state, through)
  if (state.fold().materializedAtSeq === 0) return
  const checkpointed = yield* Effect.result(checkpointIfDue(state))
  if (Result.isFailure(checkpointed)) state.isTidy = false
  if (!state.isTidy) yield* tidy(state)
  state.isTidy = true
  if (Result.isFailure(checkpointed)) return yield* Effect.fail(checkpointed.failure)
})

/** Where the window ends that is to be materialized now; undefined where none is. */
const dueWindow = Effect.fnUntraced(function* (state: State) {
  const { options } = state
  const { seq, materializedAtSeq, residentRuns } = state.fold()
  const through = Math.max(materializedAtSeq, 1)
  if (seq < through) return undefined
  // Also where nothing came after the window: nothing will, while segments are refused.
  if (residentRuns >= options.residentRunsMax) return through
  if (seq === through) return undefined
  const nowMs = yield* monotonicMs
  if (state.window?.through !== through) state.window = { through, sinceMs: nowMs }
  const isKept = seq - through < options.keepEntries || nowMs - state.window.sinceMs < options.keepMs
  return isKept ? undefined : through
})

const materialize = Effect.fnUntraced(function* (state: State, through: number) {
  const progress = progressOf(state, { after: state.fold().materializedSeq, through })
  if ((yield* writePages(state, progress)) === "overtaken") return
  if ((yield* deletePages(state, progress)) === "overtaken") return
  const { result } = yield* state.submit({ kind: "materialized", throughSeq: through })
  yield* Effect.logDebug("runs went to index pages").pipe(
    Effect.annotateLogs({ shard: state.shard, through, pages: progress.pages, result })
  )
})

/** Entries with after < seq <= through. */
interface Window {
  readonly after: number
  readonly through: number
}

/**
 * How far a window has got. What was in the database once stays there, whoever sequences meanwhile: as long as the window is
 * not over, its runs and their order are the same.
 */
interface Progress extends Window {
  /** The first run that may not be in a page yet; undefined where there is none in any. */
  next: RunPlace | undefined
  pages: number
  /** Topics whose pages are gone. */
  readonly cleared: Set<Uuid>
}

interface RunPlace {
  readonly topicName: string
  readonly partition: number
  readonly first: number
}

const progressOf = (state: State, { after, through }: Window): Progress => {
  const known = state.progress
  if (known !== undefined && known.after === after && known.through === through) return known
  const begun: Progress = { after, through, next: undefined, pages: 0, cleared: new Set() }
  state.progress = begun
  return begun
}

/** Whether another agent's entry has ended this window: its runs have left memory. */
const isOvertaken = (state: State, window: Window): boolean => state.fold().materializedSeq !== window.after

/** All pages of the window that are not written yet. */
const writePages = Effect.fnUntraced(function* (state: State, progress: Progress) {
  let batch: Array<IndexPage> = []
  let bytes = 0
  for (const { topic, partition, from } of partitionsFrom(state.fold(), progress.next)) {
    for (let first = from; ;) {
      // After every await: what was looked at before may be gone.
      if (isOvertaken(state, progress)) return "overtaken" as const
      const runCount = isLive(state.fold(), topic) ? partition.countThrough(progress.through) : 0
      if (first >= runCount) break
      const runs = { topicId: topic.topicId, partition: partition.partition, runCount }
      const encoded = encodeIndexPage({ ...runs, run: (index) => partition.run(index) }, first, state.options.pageRuns)
      first += encoded.runCount
      batch.push(encoded.page)
      bytes += encoded.page.page.length
      if (batch.length < limits.indexPagesPerWrite && bytes < limits.indexPageBytesPerWrite) continue
      yield* writeBatch(state, progress, batch)
      progress.next = { topicName: topic.name, partition: partition.partition, first }
      batch = []
      bytes = 0
    }
  }
  if (batch.length > 0) yield* writeBatch(state, progress, batch)
  return isOvertaken(state, progress) ? ("overtaken" as const) : ("written" as const)
})

const writeBatch = Effect.fnUntraced(function* (state: State, progress: Progress, batch: ReadonlyArray<IndexPage>) {
  yield* guarded("writeIndexPages", state.store.writeIndexPages(batch))
  progress.pages += batch.length
})

const isLive = (fold: Fold, topic: TopicLog): boolean => fold.topicById(topic.topicId) === topic

/**
 * As they are now (the list is replaced, never changed): those that come later have no runs of this window. By name and
 * number, so that a place in it means the same later.
 */
const partitionsFrom = function* (
  fold: Fold,
  place: RunPlace | undefined
): Iterable<{ readonly topic: TopicLog; readonly partition: PartitionLog; readonly from: number }> {
  for (const topic of fold.topics()) {
    if (place !== undefined && topic.name < place.topicName) continue
    const isThere = topic.name === place?.topicName
    for (const partition of topic.partitions) {
      if (isThere && partition.partition < place.partition) continue
      const from = isThere && partition.partition === place.partition ? place.first : 0
      yield { topic, partition, from }
    }
  }
}

/** Pages of topics that the window's entries deleted. What later windows write of them is not: they are gone. */
const deletePages = Effect.fnUntraced(function* (state: State, progress: Progress) {
  const isOfWindow = (seq: number): boolean => seq > progress.after && seq <= progress.through
  // Of now: the fold goes on while pages are deleted.
  const gone = Array.from(state.fold().deletedTopicIds).filter(([, seq]) => isOfWindow(seq))
  for (const [topicId] of gone) {
    if (progress.cleared.has(topicId)) continue
    for (let deleted = -1; deleted !== 0;) {
      if (isOvertaken(state, progress)) return "overtaken" as const
      deleted = yield* guarded("deleteIndexPages", state.store.deleteIndexPages(topicId))
    }
    progress.cleared.add(topicId)
  }
  return "deleted" as const
})

const checkpointIfDue = Effect.fnUntraced(function* (state: State) {
  if (state.writing === undefined) {
    const newestSeq = state.newestSeq ?? (yield* newestSoundSeq(state))
    state.newestSeq = newestSeq
    const { seq, materializedAtSeq } = state.fold()
    const sinceSeq = Math.max(newestSeq, state.failedSeq)
    if (materializedAtSeq <= newestSeq || seq - sinceSeq < state.options.checkpointEntries) return
    state.writing = { checkpoint: yield* encode(state), written: 0, verified: 0 }
  }
  const { writing } = state
  const { seq } = writing.checkpoint
  yield* writeChunks(state, writing)
  const isSound = yield* isThere(state, writing)
  state.writing = undefined
  state.failedSeq = seq
  state.isTidy = false
  if (!isSound) return
  state.soundSeqs.add(seq)
  state.newestSeq = seq
})

/** One after the other, each in its own time: over a slow way that takes long, and others use the database meanwhile. */
const writeChunks = Effect.fnUntraced(function* ({ shard, store }: State, writing: CheckpointUnderWay) {
  const { seq, chunks } = writing.checkpoint
  for (; writing.written < chunks.length; writing.written += 1) {
    const chunk = writing.written
    const written = { shard, seq, chunk, chunkCount: chunks.length, body: chunks[chunk]! }
    yield* guarded("writeCheckpointChunk", store.writeCheckpointChunk(written))
  }
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
 * Whether an agent that starts would take it. All is read back: another program's chunks may have been there, the database may
 * have kept something else, or who tidied up has deleted some. And what this program writes may not be what it would take.
 * What was read some turns ago and is gone since, the list of those that are complete tells (`tidy`).
 */
const isThere = Effect.fnUntraced(function* ({ shard, store }: State, writing: CheckpointUnderWay) {
  const { seq, chunks } = writing.checkpoint
  for (; writing.verified < chunks.length; writing.verified += 1) {
    const chunk = writing.verified
    const read = yield* guarded("readCheckpointChunk", store.readCheckpointChunk({ shard, seq, chunk }))
    if (read === undefined) return false
    if (Buffer.compare(chunks[chunk]!, read) === 0) continue
    yield* Effect.logError("a checkpoint does not read back as it was written").pipe(
      Effect.annotateLogs({ shard, seq, chunk })
    )
    return false
  }
  return yield* isRestorable(chunks, { shard, seq })
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

/**
 * Keeps the two newest checkpoints that count, and trims the log as far as the older one of them allows. What is incomplete
 * goes, unless it is this agent's own: whoever else writes one has been deposed, and finds that out when it reads it back. One
 * with a later seq than the fold's is of whoever has deposed this agent.
 */
const tidy = Effect.fnUntraced(function* (state: State) {
  const { shard, store } = state
  const before = state.fold().seq + 1
  const sound: Array<number> = []
  for (const info of yield* guarded("checkpoints", store.checkpoints(shard))) {
    if (sound.length < 2 && (yield* isSound(state, info))) sound.push(info.seq)
  }
  const newest = sound[0]
  // Someone else's: nobody needs it any more.
  if (newest !== undefined && state.writing !== undefined && newest > state.writing.checkpoint.seq) {
    state.writing = undefined
    state.newestSeq = newest
  }
  const underWay = state.writing === undefined ? {} : { except: state.writing.checkpoint.seq }
  yield* deleteChunks(state, { shard, before, which: "incomplete", ...underWay })
  const older = sound[1]
  if (older === undefined) return
  yield* deleteChunks(state, { shard, before: older, which: "all" })
  for (const seq of state.soundSeqs) if (seq < older) state.soundSeqs.delete(seq)
  yield* trim(state, older)
})

const deleteChunks = Effect.fnUntraced(function* ({ store }: State, options: DeleteCheckpoints) {
  const most = limits.checkpointChunksPerDelete
  for (let deleted: number = most; deleted >= most;) {
    deleted = yield* guarded("deleteCheckpoints", store.deleteCheckpoints(options))
  }
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
