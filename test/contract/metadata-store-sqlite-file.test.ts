/**
 * Goal: where the database file is removed or replaced while it is open, nothing is acknowledged any more and no new file
 * begins another log. Method: real files taken away under the open store; the log's lines are collected.
 */
import { copyFileSync, existsSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, type Scope } from "effect"
import * as sqlite from "#backends/metadata/sqlite.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { type MetadataError } from "#core/ports/metadata-store.ts"
import * as Log from "#core/telemetry/log.ts"
import { temporaryFile } from "./metadata-store-files.ts"
import { rowOf } from "./metadata-store-rows.ts"

/** Without the log's lines among the results. */
const live = (name: string, body: () => Effect.Effect<void, unknown, Scope.Scope>): void =>
  it.live(name, () => Effect.provide(body(), Log.layer({ format: "json", fields: {}, write: () => {} })))

const FILES = ["", "-wal", "-shm"]

const remove = (file: string): void => FILES.forEach((suffix) => rmSync(`${file}${suffix}`, { force: true }))

const assertLost = (error: MetadataError, path: string): void => {
  assert.deepEqual([error.reason, error.outcome, error.isRetryable], ["Misconfigured", "definite", false])
  assert.include(
    error.message,
    `the database file ${path} was removed or replaced while it was open; stop all agents and restore it`
  )
}

describe("a database file that is taken away while it is open", () => {
  const losses: ReadonlyArray<readonly [what: string, suffix: string, lose: (file: string) => void]> = [
    ["removed", "", remove],
    ["moved away", "", (file) => renameSync(file, `${file}.away`)],
    [
      "replaced by a copy of itself",
      "",
      (file) => {
        copyFileSync(file, `${file}.copy`)
        renameSync(`${file}.copy`, file)
      }
    ],
    ["left without its write-ahead log", "-wal", (file) => rmSync(`${file}-wal`)]
  ]
  for (const [what, suffix, lose] of losses) {
    live(`(${what}) takes no append, fails every call from then on, and makes no new file`, () =>
      Effect.gen(function* () {
        const file = yield* temporaryFile
        const store = yield* sqlite.make({ file, fsync: false })
        assert.equal(yield* store.append(rowOf(1)), "appended")
        lose(file)
        const wasThere = existsSync(file)
        assertLost(yield* Effect.flip(store.append(rowOf(2))), `${file}${suffix}`)
        const agent = {
          name: "a",
          session: UUID_ZERO,
          region: "r",
          zone: "z",
          host: "h",
          port: 1,
          peerHost: "h",
          peerPort: 2
        }
        const calls: ReadonlyArray<Effect.Effect<unknown, MetadataError>> = [
          store.append(rowOf(2)),
          store.read({ shard: 0, after: 0, limit: 1 }),
          store.tail(0),
          store.trim({ shard: 0, through: 1 }),
          store.writeCheckpointChunk({ shard: 0, seq: 1, chunk: 0, chunkCount: 1, body: Buffer.from("a") }),
          store.checkpoints(0),
          store.readCheckpointChunk({ shard: 0, seq: 1, chunk: 0 }),
          store.deleteCheckpoints({ shard: 0, before: 1, which: "all" }),
          store.writeIndexPages([]),
          store.findIndexPage({ topicId: UUID_ZERO, partition: 0, query: { kind: "largest-timestamp" } }),
          store.deleteIndexPages(UUID_ZERO),
          store.noteShard({ shard: 0, epoch: 0, holder: "a", holderRegion: "r", homeRegion: "r", trimmedSeq: 0 }),
          store.shardNotes,
          store.register(agent, 1_000),
          store.renew(agent, 1_000),
          store.deregister(agent),
          store.agents,
          store.recordMissingCopies([]),
          store.missingCopies({ limit: 1 }),
          store.forgetMissingCopies([])
        ]
        for (const call of calls) assertLost(yield* Effect.flip(call), `${file}${suffix}`)
        assert.equal(existsSync(file), wasThere)
      })
    )
  }

  it.live("is noticed by reads alone, and said once as an error", () => {
    const lines: Array<string> = []
    return Effect.gen(function* () {
      const file = yield* temporaryFile
      const store = yield* sqlite.make({ file, fsync: false })
      yield* store.append(rowOf(1))
      remove(file)
      const lost = yield* Effect.retry(Effect.flip(store.tail(0)), { while: () => true })
      assertLost(lost, file)
      yield* Effect.flip(store.tail(0))
      yield* Effect.flip(store.append(rowOf(2)))
      const errors = lines.map((line) => JSON.parse(line)).filter(({ level }) => level === "error")
      assert.lengthOf(errors, 1)
      assert.match(errors[0].event, /the metadata database is lost/)
      assert.include(errors[0].error, file)
    }).pipe(Effect.provide(Log.layer({ format: "json", fields: {}, write: (line) => lines.push(line) })))
  })

  live("stays lost when it comes back: others may have written elsewhere", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      const store = yield* sqlite.make({ file, fsync: false })
      yield* store.append(rowOf(1))
      renameSync(file, `${file}.away`)
      assertLost(yield* Effect.flip(store.append(rowOf(2))), file)
      renameSync(`${file}.away`, file)
      assertLost(yield* Effect.flip(store.append(rowOf(2))), file)
      const again = yield* sqlite.make({ file, fsync: false })
      assert.equal((yield* again.tail(0)).seq, 1)
    })
  )

  live("does not acknowledge an append that was waiting for the lock meanwhile", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      const store = yield* sqlite.make({ file, fsync: false })
      const other = new DatabaseSync(file)
      other.exec("BEGIN IMMEDIATE")
      const waiting = yield* Effect.forkChild(Effect.flip(store.append(rowOf(1))), { startImmediately: true })
      // Likely, not surely, the thread has taken its first look by then; either way the answer must not be "appended".
      const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))
      yield* Effect.repeat(turn, { times: 1_000 })
      remove(file)
      other.exec("ROLLBACK")
      const error = yield* Fiber.join(waiting)
      assert.equal(error.reason, "Misconfigured")
      other.close()
      assertLost(yield* Effect.flip(store.append(rowOf(1))), file)
    })
  )

  live("is not made anew by the thread that follows a crashed one", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      const program = join(dirname(file), "worker.mjs")
      // The first thread crashes with its first call; those that follow are the real ones.
      writeFileSync(
        program,
        `import { parentPort, workerData } from "node:worker_threads"
         if (workerData.expected !== undefined) {
           await import(${JSON.stringify(new URL("../../backends/metadata/sqlite-worker.ts", import.meta.url).href)})
         } else {
           parentPort.on("message", () => { throw new Error("crashed") })
           parentPort.postMessage({ opened: true, identity: { device: 1n, inode: 1n } })
         }`
      )
      const store = yield* sqlite.make({ file, fsync: false, workerUrl: new URL(`file://${program}`) })
      const crashed = yield* Effect.flip(store.tail(0))
      assert.equal(crashed.reason, "Unavailable")
      const lost = yield* Effect.repeat(Effect.flip(store.tail(0)), { until: ({ reason }) => reason !== "Unavailable" })
      assertLost(lost, file)
      assert.isFalse(existsSync(file))
    })
  )
})
