/** Counts calls to the metadata store by operation and outcome: a decorator, which changes no answer. */
import { Effect, Exit } from "effect"
import { MetadataStore } from "#core/ports/metadata-store.ts"

type Store = MetadataStore["Service"]

export interface InstrumentedMetadata {
  readonly store: Store
  /** By `operation outcome`. */
  readonly calls: ReadonlyMap<string, number>
}

export const instrument = (inner: Store): InstrumentedMetadata => {
  const calls = new Map<string, number>()
  const count = (operation: string, outcome: string): void => {
    const key = `${operation} ${outcome}`
    calls.set(key, (calls.get(key) ?? 0) + 1)
  }
  const counted = <A, E>(
    operation: string,
    call: Effect.Effect<A, E>,
    outcomeOf: (answer: A) => string = () => "ok"
  ): Effect.Effect<A, E> =>
    Effect.onExit(call, (exit) =>
      Effect.sync(() => count(operation, Exit.isSuccess(exit) ? outcomeOf(exit.value) : "failed"))
    )
  return {
    calls,
    store: MetadataStore.of({
      append: (row) => counted("append", inner.append(row), (answer) => answer),
      read: (options) => counted("read", inner.read(options)),
      now: counted("now", inner.now),
      tail: (shard) => counted("tail", inner.tail(shard)),
      trim: (options) => counted("trim", inner.trim(options)),
      writeCheckpointChunk: (chunk) => counted("write-checkpoint-chunk", inner.writeCheckpointChunk(chunk)),
      checkpoints: (shard) => counted("checkpoints", inner.checkpoints(shard)),
      readCheckpointChunk: (options) => counted("read-checkpoint-chunk", inner.readCheckpointChunk(options)),
      deleteCheckpoints: (options) => counted("delete-checkpoints", inner.deleteCheckpoints(options)),
      writeIndexPages: (pages) => counted("write-index-pages", inner.writeIndexPages(pages)),
      findIndexPage: (options) => counted("find-index-page", inner.findIndexPage(options)),
      deleteIndexPages: (topicId) => counted("delete-index-pages", inner.deleteIndexPages(topicId)),
      noteShard: (note) => counted("note-shard", inner.noteShard(note)),
      shardNotes: counted("shard-notes", inner.shardNotes),
      register: (agent, ttlMs) => counted("register", inner.register(agent, ttlMs)),
      renew: (agent, ttlMs) => counted("renew", inner.renew(agent, ttlMs), (answer) => answer),
      deregister: (agent) => counted("deregister", inner.deregister(agent)),
      agents: counted("agents", inner.agents),
      recordMissingCopies: (copies) => counted("record-missing-copies", inner.recordMissingCopies(copies)),
      missingCopies: (options) => counted("missing-copies", inner.missingCopies(options)),
      forgetMissingCopies: (copies) => counted("forget-missing-copies", inner.forgetMissingCopies(copies))
    })
  }
}
