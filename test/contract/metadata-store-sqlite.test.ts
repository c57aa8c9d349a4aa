/**
 * Goal: SQLite keeps the port's contract also between processes, over kill -9, and says what an operator must do about a
 * file that it cannot use.
 * Method: real files and real processes; a worker that misbehaves is a small program of the test.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import * as sqlite from "#backends/metadata/sqlite.ts"
import { APPLICATION_ID, MIGRATIONS } from "#backends/metadata/sqlite-schema.ts"
import { limits } from "#core/model/limits.ts"
import { UUID_ZERO } from "#core/model/uuid.ts"
import { type LogRow, type MetadataStore } from "#core/ports/metadata-store.ts"
import { child, temporaryDirectory, temporaryFile } from "./metadata-store-files.ts"
import { rowOf } from "./metadata-store-rows.ts"

const openError = (file: string) => Effect.flip(Effect.scoped(sqlite.make({ file, fsync: false })))

const allRows = Effect.fnUntraced(function* (store: MetadataStore["Service"]) {
  const rows: Array<LogRow> = []
  for (;;) {
    const more = yield* store.read({ shard: 0, after: rows.length, limit: limits.logRowsPerRead })
    if (more.length === 0) return rows
    rows.push(...more)
  }
})

/** Contiguous, each row after the one before, and whole. */
const assertChain = (rows: ReadonlyArray<LogRow>): void => {
  let before = UUID_ZERO
  rows.forEach((row, index) => {
    assert.equal(row.seq, index + 1)
    assert.equal(row.prevNonce, before)
    assert.isTrue(Buffer.alloc(1 + (row.seq % 5_000), row.seq).equals(Buffer.from(row.entry)), `entry ${row.seq}`)
    before = row.nonce
  })
}

const assertAcknowledged = (rows: ReadonlyArray<LogRow>, lines: ReadonlyArray<string>): void => {
  for (const line of lines) {
    const [seq, nonce] = line.split(" ")
    assert.equal(rows[Number(seq) - 1]?.nonce, nonce, `row ${seq} was acknowledged`)
  }
}

describe("a file that cannot be used", () => {
  it.live("is told by its path, with what to do", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const text = join(directory, "text.db")
      writeFileSync(text, "this is no database, ".repeat(100))
      const foreign = join(directory, "foreign.db")
      const database = new DatabaseSync(foreign)
      database.exec("CREATE TABLE theirs (a INTEGER)")
      database.close()
      const cases: ReadonlyArray<readonly [file: string, message: RegExp]> = [
        [join(directory, "missing", "a.db"), /missing, where the database .* should be, is not a directory: create it/],
        [join(text, "a.db"), /is not a directory/],
        [directory, /is not a file/],
        ["", /names no file/],
        [":memory:", /names no file/],
        [text, /text\.db is not a SQLite database/],
        [foreign, /foreign\.db is the database of another program/]
      ]
      for (const [file, message] of cases) {
        const error = yield* openError(file)
        assert.deepEqual([error.reason, error.outcome, error.isRetryable], ["Misconfigured", "definite", false], file)
        assert.match(error.message, message)
      }
    })
  )

  it.live("is not touched when its schema is newer than the program", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      yield* Effect.scoped(sqlite.make({ file, fsync: false }))
      const database = new DatabaseSync(file)
      const newer = MIGRATIONS.length + 1
      database.prepare("INSERT INTO migrations (version, name) VALUES (?, 'from the future')").run(newer)
      database.close()
      const error = yield* openError(file)
      assert.equal(error.reason, "Misconfigured")
      assert.match(error.message, new RegExp(`schema version ${newer}, newer than .* run the newer program`))
    })
  )

  it.live("is told as damaged when its pages are", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      yield* Effect.scoped(
        Effect.flatMap(sqlite.make({ file, fsync: false }), (store) =>
          Effect.forEach([1, 2, 3], (seq) => store.append(rowOf(seq, { entry: Buffer.alloc(100_000, seq) })))
        )
      )
      // The first page, which says that this is a database of ours, stays.
      const bytes = readFileSync(file)
      writeFileSync(file, bytes.fill(0xff, 4_096))
      const open = sqlite.make({ file, fsync: false })
      const outcome = yield* Effect.flip(Effect.scoped(Effect.flatMap(open, (store) => store.tail(0))))
      assert.equal([outcome.reason, outcome.isRetryable].join(), "Corrupt,false")
    })
  )
})

describe("several processes on one file", () => {
  it.live("start at once: the tables are made once, and every agent gets its own node id", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      const names = Array.from({ length: 10 }, (_, n) => `agent-${n}`)
      const children = yield* Effect.forEach(names, (name) => child(["open", file, name]))
      const codes = yield* Effect.promise(() => Promise.all(children.map((one) => one.ended)))
      assert.deepEqual(new Set(codes), new Set([0]))
      assert.equal(new Set(children.map((one) => one.lines[0])).size, names.length)
      const database = new DatabaseSync(file)
      assert.equal(database.prepare("SELECT count(*) AS n FROM migrations").get()!["n"], MIGRATIONS.length)
      assert.equal(database.prepare("PRAGMA application_id").get()!["application_id"], APPLICATION_ID)
      database.close()
    })
  )

  it.live("append at once: every slot has one owner, the chain is whole, nobody starves", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      const each = 100
      const children = yield* Effect.forEach([1, 2, 3, 4], () => child(["race", file, String(each)]))
      const codes = yield* Effect.promise(() => Promise.all(children.map((one) => one.ended)))
      assert.deepEqual(codes, [0, 0, 0, 0])
      const rows = yield* allRows(yield* sqlite.make({ file, fsync: false }))
      assertChain(rows)
      assert.equal(rows.length, each * 4)
      for (const one of children) assertAcknowledged(rows, one.lines)
      assert.equal(new Set(children.flatMap((one) => one.lines)).size, each * 4)
    })
  )

  for (const durability of ["fsync", "no-fsync"]) {
    it.live(`killed in the middle of writing (${durability}) leave a whole chain with all they acknowledged`, () =>
      Effect.gen(function* () {
        const file = yield* temporaryFile
        const acknowledged: Array<string> = []
        for (const rows of [37, 120, 5]) {
          const killAfter = ({
            process,
            lines
          }: {
            process: { kill: (signal: "SIGKILL") => boolean }
            lines: ReadonlyArray<string>
          }) => void (lines.length === rows && process.kill("SIGKILL"))
          const writers = yield* Effect.forEach([1, 2], () => child(["write", file, durability], killAfter))
          const codes = yield* Effect.promise(() => Promise.all(writers.map((one) => one.ended)))
          assert.deepEqual(codes, ["SIGKILL", "SIGKILL"])
          acknowledged.push(...writers.flatMap((one) => one.lines))
        }
        const rows = yield* allRows(yield* sqlite.make({ file, fsync: false }))
        assertChain(rows)
        assertAcknowledged(rows, acknowledged)
        assert.isAtLeast(rows.length, acknowledged.length)
      })
    )
  }
})

describe("the database's thread", () => {
  /** A worker that opens, then does what the body says with the first message. */
  const workerThat = (directory: string, body: string): URL => {
    const file = join(directory, "worker.mjs")
    writeFileSync(
      file,
      `import { parentPort } from "node:worker_threads"
       parentPort.on("message", (message) => { ${body} })
       parentPort.postMessage({ opened: true })`
    )
    return new URL(`file://${file}`)
  }

  it.live("crashes: what it had may have happened, and the next call starts another", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      const workerUrl = workerThat(
        dirname(file),
        `if (message === "close") process.exit(0); throw new Error("crashed")`
      )
      const store = yield* sqlite.make({ file, fsync: false, workerUrl })
      const [append, read, record] = yield* Effect.all(
        [Effect.flip(store.append(rowOf(1))), Effect.flip(store.tail(0)), Effect.flip(store.recordMissingCopies([]))],
        { concurrency: "unbounded" }
      )
      assert.deepEqual([append.reason, append.outcome], ["Unavailable", "indefinite"])
      assert.deepEqual([read.reason, read.outcome], ["Unavailable", "definite"])
      assert.equal(record.outcome, "indefinite")
      assert.match(append.message, /crashed/)
      const paused = yield* Effect.flip(store.append(rowOf(1)))
      assert.deepEqual([paused.reason, paused.outcome], ["Unavailable", "definite"])
      assert.match(paused.message, /not started again yet/)
      const later = yield* Effect.repeat(Effect.flip(store.append(rowOf(1))), {
        until: (error) => error.outcome === "indefinite"
      })
      assert.match(later.message, /crashed/)
    })
  )

  it.live("ends when it is closed, answering what it had; later calls are refused", () =>
    Effect.gen(function* () {
      const file = yield* temporaryFile
      const closed = yield* Effect.scoped(
        Effect.gen(function* () {
          const store = yield* sqlite.make({ file, fsync: false })
          yield* Effect.forkChild(store.append(rowOf(1)), { startImmediately: true })
          return store
        })
      )
      const error = yield* Effect.flip(closed.tail(0))
      assert.deepEqual([error.reason, error.outcome], ["Unavailable", "definite"])
      const again = yield* sqlite.make({ file, fsync: false })
      assert.equal((yield* again.tail(0)).seq, 1)
    })
  )

  it.live(
    "does not block the event loop while another process holds the lock, and says in time that it could not write",
    () =>
      Effect.gen(function* () {
        const file = yield* temporaryFile
        const store = yield* sqlite.make({ file, fsync: false })
        const other = new DatabaseSync(file)
        other.exec("BEGIN IMMEDIATE")
        const waiting = yield* Effect.forkChild(store.append(rowOf(1)), { startImmediately: true })
        let turns = 0
        yield* Effect.repeat(
          Effect.promise(() => new Promise<void>((resolve) => setImmediate(() => resolve(void (turns += 1))))),
          { times: 20 }
        )
        assert.isAtLeast(turns, 20)
        other.exec("ROLLBACK")
        assert.equal(yield* Fiber.join(waiting), "appended")
        other.exec("BEGIN IMMEDIATE")
        const error = yield* Effect.flip(store.append(rowOf(2)))
        assert.deepEqual([error.reason, error.outcome], ["Unavailable", "definite"])
        other.exec("ROLLBACK")
        other.close()
      })
  )
})
