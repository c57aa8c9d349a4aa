/**
 * What only a directory-backed bucket can suffer: other processes, kills, vanished and full volumes, hanging
 * directories.
 *
 * Method: real directories, child processes that are killed at seeded moments, and where the tests run as root small
 * tmpfs volumes that fill up, become read-only and are unmounted. A directory that hangs is a named pipe in an object's
 * place: opening it blocks the system call until someone writes.
 */
import { execFileSync, spawn } from "node:child_process"
import {
  closeSync,
  constants,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Result, Scope } from "effect"
import * as fs from "#backends/object/fs.ts"
import { openBucket } from "#backends/object/fs-bucket.ts"
import { limits } from "#core/model/limits.ts"
import { type ObjectStore } from "#core/ports/object-store.ts"
import { assertReason } from "./object-store-expectations.ts"
import { seededRandom } from "./seeded-random.ts"

const CHILD = fileURLToPath(new URL("object-store-child.ts", import.meta.url))
const BODY = [Buffer.from("body")]

const temporaryDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "meridian-fs-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const open = (directory: string, fsync = false) => fs.make({ bucket: "test", directory, fsync })

const temporariesIn = (directory: string): ReadonlyArray<string> => readdirSync(join(directory, ".tmp"))

/** A put is answered before its temporary file is removed: waits until all are. Bounded by the test's own time. */
const cleanedUp = Effect.fnUntraced(function* (directory: string) {
  while (temporariesIn(directory).length > 0) yield* nextTick
})

const nextTick = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

const allKeys = Effect.fnUntraced(function* (store: ObjectStore) {
  const keys: Array<string> = []
  for (let after: string | undefined; ; after = keys[keys.length - 1]) {
    const page = yield* store.list({ prefix: "", limit: 1_000, ...(after === undefined ? {} : { after }) })
    if (page.length === 0) return keys
    keys.push(...page.map((head) => head.key))
  }
})

/** A volume of its own, in the given directory; undefined where this process may not mount. */
const mountTmpfs = (directory: string, options: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      mkdirSync(directory, { recursive: true })
      try {
        execFileSync("mount", ["-t", "tmpfs", "-o", options, "meridian-test", directory], { stdio: "ignore" })
        return true
      } catch {
        return false
      }
    }),
    (isMounted) => Effect.sync(() => (isMounted ? unmount(directory) : undefined))
  )

const unmount = (directory: string): void => {
  try {
    execFileSync("umount", ["-l", directory], { stdio: "ignore" })
  } catch {
    // A test unmounts by itself.
  }
}

describe("opening a directory as a bucket", () => {
  it.effect("refuses a directory that holds other things", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      writeFileSync(join(directory, "something"), "else")
      const error = yield* Effect.flip(open(directory))
      assertReason(error, "InvalidRequest")
      assert.include(String(error.cause), "something")
      assert.isFalse(existsSync(join(directory, ".meridian-bucket")))
    })
  )

  it.effect("refuses the directory of another bucket, and names both", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      yield* open(directory)
      const error = yield* Effect.flip(fs.make({ bucket: "other", directory, fsync: false }))
      assertReason(error, "InvalidRequest")
      assert.match(String(error.cause), /bucket "test", not "other"/)
    })
  )

  for (const [damage, reason] of [
    ["", "Corrupt"],
    ["{", "Corrupt"],
    ["null", "Corrupt"],
    ['{"format":"1","bucket":"test"}', "Corrupt"],
    ['{"format":2,"bucket":"test"}', "InvalidRequest"]
  ] as const) {
    it.effect(`refuses a marker that says ${JSON.stringify(damage)}`, () =>
      Effect.gen(function* () {
        const directory = yield* temporaryDirectory
        yield* open(directory)
        writeFileSync(join(directory, ".meridian-bucket"), damage)
        assertReason(yield* Effect.flip(open(directory)), reason)
      })
    )
  }

  it.effect("refuses a file in the directory's place", () =>
    Effect.gen(function* () {
      const path = join(yield* temporaryDirectory, "file")
      writeFileSync(path, "")
      assertReason(yield* Effect.flip(open(path)), "InvalidRequest")
    })
  )

  it.effect("makes the directory and its parents, and finds its objects again", () =>
    Effect.gen(function* () {
      const directory = join(yield* temporaryDirectory, "a/b/c")
      const first = yield* Effect.scoped(Effect.tap(open(directory), (store) => store.put("k/l", BODY)))
      assertReason(yield* Effect.flip(first.put("later", BODY)), "Unavailable")
      const second = yield* open(directory)
      assert.strictEqual((yield* second.get("k/l")).bytes.toString(), "body")
      assert.deepStrictEqual(yield* allKeys(second), ["k/l"])
    })
  )

  it.effect("is made once by many at the same time", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const stores = yield* Effect.all(
        Array.from({ length: 8 }, () => open(directory)),
        { concurrency: "unbounded" }
      )
      const results = yield* Effect.forEach(stores, (store) => Effect.result(store.put("k", BODY)))
      assert.strictEqual(results.filter(Result.isSuccess).length, 1)
      yield* cleanedUp(directory)
    })
  )
})

describe("a bucket that vanishes", () => {
  const callsOf = (store: ObjectStore) => ({
    put: store.put("new", BODY),
    putDeep: store.put("x/y/z", BODY),
    get: store.get("k/l"),
    getAbsent: store.get("absent"),
    head: store.head("k/l"),
    list: store.list({ prefix: "", limit: 10 }),
    listDeep: store.list({ prefix: "k/", limit: 10 }),
    delete: store.deleteMany(["k/l"])
  })
  const assertAllUnavailable = Effect.fnUntraced(function* (store: ObjectStore) {
    for (const [name, call] of Object.entries(callsOf(store))) {
      const result: Result.Result<unknown, unknown> = yield* Effect.result(call)
      assert.isTrue(Result.isFailure(result), `${name} should fail`)
      if (Result.isFailure(result)) assertReason(result.failure, "Unavailable")
    }
  })

  for (const fsync of [false, true]) {
    it.effect(`is Unavailable, is not made again, and works when it is back (fsync ${fsync})`, () =>
      Effect.gen(function* () {
        const parent = yield* temporaryDirectory
        const directory = join(parent, "bucket")
        const store = yield* open(directory, fsync)
        yield* store.put("k/l", BODY)
        yield* cleanedUp(directory)
        renameSync(directory, join(parent, "away"))
        yield* assertAllUnavailable(store)
        assert.isFalse(existsSync(directory))
        // What a vanished mount leaves: an empty directory.
        mkdirSync(directory)
        yield* assertAllUnavailable(store)
        assert.deepStrictEqual(readdirSync(directory), [])
        rmSync(directory, { recursive: true })
        writeFileSync(directory, "a file in its place")
        yield* assertAllUnavailable(store)
        rmSync(directory)
        renameSync(join(parent, "away"), directory)
        assert.strictEqual((yield* store.get("k/l")).bytes.toString(), "body")
        yield* store.put("x/y/z", BODY)
        assert.deepStrictEqual(yield* allKeys(store), ["k/l", "x/y/z"])
        yield* cleanedUp(directory)
      })
    )
  }

  it.effect("is Unavailable when its volume is unmounted, and nothing is written below the mount point", (ctx) =>
    Effect.gen(function* () {
      const directory = join(yield* temporaryDirectory, "volume")
      if (!(yield* mountTmpfs(directory, "size=1m"))) return ctx.skip("needs the right to mount a tmpfs")
      const store = yield* open(directory)
      yield* store.put("k/l", BODY)
      yield* cleanedUp(directory)
      unmount(directory)
      yield* assertAllUnavailable(store)
      assert.deepStrictEqual(readdirSync(directory), [])
    })
  )

  it.effect("gets its directories again when someone removed only them", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const store = yield* open(directory, true)
      yield* store.put("a/b/1", BODY)
      rmSync(join(directory, "a"), { recursive: true })
      rmSync(join(directory, ".tmp"), { recursive: true })
      assertReason(yield* Effect.flip(store.get("a/b/1")), "NotFound")
      yield* store.put("a/b/2", BODY)
      assert.deepStrictEqual(yield* allKeys(store), ["a/b/2"])
    })
  )
})

describe("a volume that refuses", () => {
  it.effect("says StorageFull, keeps what it has, leaves nothing behind, and takes objects when there is room", (ctx) =>
    Effect.gen(function* () {
      const directory = join(yield* temporaryDirectory, "volume")
      if (!(yield* mountTmpfs(directory, "size=1m"))) return ctx.skip("needs the right to mount a tmpfs")
      const store = yield* open(directory)
      yield* store.put("half", [Buffer.alloc(600_000, 1)])
      const error = yield* Effect.flip(store.put("too-much", [Buffer.alloc(300_000), Buffer.alloc(300_000)]))
      assertReason(error, "StorageFull")
      assert.isTrue(error.isRetryable)
      assert.deepStrictEqual(yield* allKeys(store), ["half"])
      yield* store.deleteMany(["half"])
      yield* store.put("too-much", [Buffer.alloc(600_000, 2)])
      assert.strictEqual((yield* store.head("too-much")).objectBytes, 600_000)
    })
  )

  it.effect("says StorageFull where it has no room for another file", (ctx) =>
    Effect.gen(function* () {
      const directory = join(yield* temporaryDirectory, "volume")
      if (!(yield* mountTmpfs(directory, "size=1m,nr_inodes=5"))) return ctx.skip("needs the right to mount a tmpfs")
      const store = yield* open(directory)
      // Root, marker and .tmp take three of five: not enough is left for two directories and the file.
      assertReason(yield* Effect.flip(store.put("a/b/c", BODY)), "StorageFull")
      assert.deepStrictEqual(yield* allKeys(store), [])
    })
  )

  it.effect("says AccessDenied to writers of a read-only volume, and readers read on", (ctx) =>
    Effect.gen(function* () {
      const directory = join(yield* temporaryDirectory, "volume")
      if (!(yield* mountTmpfs(directory, "size=1m"))) return ctx.skip("needs the right to mount a tmpfs")
      const store = yield* open(directory)
      yield* store.put("k", BODY)
      yield* cleanedUp(directory)
      execFileSync("mount", ["-o", "remount,ro", directory])
      const error = yield* Effect.flip(store.put("new", BODY))
      assertReason(error, "AccessDenied")
      assert.isFalse(error.isRetryable)
      assertReason(yield* Effect.flip(store.deleteMany(["k"])), "AccessDenied")
      assert.strictEqual((yield* store.get("k")).bytes.toString(), "body")
    })
  )
})

describe("several processes on one directory", () => {
  const run = (args: ReadonlyArray<string>) =>
    Effect.callback<string, Error>((resume) => {
      const child = spawn(process.execPath, [CHILD, ...args], { stdio: ["ignore", "pipe", "inherit"] })
      let output = ""
      child.stdout.on("data", (text) => (output += text))
      child.on("close", (code) =>
        resume(code === 0 ? Effect.succeed(output) : Effect.fail(new Error(`child ended with ${code}`)))
      )
      return Effect.sync(() => child.kill("SIGKILL"))
    })

  it.effect("lets exactly one of four racing processes win each key", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const keys = 300
      const outputs = yield* Effect.all(
        Array.from({ length: 4 }, () => run(["race", directory, String(keys)])),
        { concurrency: "unbounded" }
      )
      const store = yield* open(directory)
      const winnerOf = new Map<number, number>()
      for (const { pid, won } of outputs.map((output) => JSON.parse(output) as { pid: number; won: Array<number> })) {
        for (const key of won) {
          assert.isFalse(winnerOf.has(key), `key ${key} was won twice`)
          winnerOf.set(key, pid)
        }
      }
      assert.strictEqual(winnerOf.size, keys)
      for (const [key, pid] of winnerOf) {
        const { bytes } = yield* store.get(`race/${key}`)
        assert.isTrue(Buffer.alloc(20_000, `${pid};`).equals(bytes), `key ${key} holds another body than its winner's`)
      }
      assert.deepStrictEqual(temporariesIn(directory), [])
    })
  )

  /** Kills a child some time after it has said that it begins its put number `number`. */
  const killAtPut = (directory: string, options: { fsync: boolean; number: number; afterMs: number }) =>
    Effect.callback<number>((resume) => {
      const args = [CHILD, "crash", directory, options.fsync ? "fsync" : "none"]
      const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] })
      let lines = ""
      child.stdout.on("data", (text) => {
        lines += text
        if (lines.split("\n").length > options.number) setTimeout(() => child.kill("SIGKILL"), options.afterMs)
      })
      child.on("close", () => resume(Effect.succeed(child.pid!)))
      return Effect.sync(() => child.kill("SIGKILL"))
    })

  const seed = 4_711
  it.effect(`shows whole objects only, however often putters are killed (seed ${seed})`, () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const random = seededRandom(seed)
      let temporariesSeen = 0
      for (let round = 0; round < 20; round++) {
        const number = 1 + Math.floor(random() * 20)
        const afterMs = Math.floor(random() * 10)
        const pid = yield* killAtPut(directory, { fsync: round % 2 === 0, number, afterMs })
        temporariesSeen += temporariesIn(directory).length
        // Opening it removes what the killed process left, and nothing else.
        const store = yield* open(directory)
        assert.deepStrictEqual(temporariesIn(directory), [])
        const heads = yield* store.list({ prefix: `crash/${pid}/`, limit: 1_000 })
        assert.isAtLeast(heads.length, number - 1, "what was put before is there")
        for (const { key, objectBytes } of heads) {
          const value = Number(key.split("/")[2]!.split("-")[0])
          assert.strictEqual(objectBytes, 2_000_000)
          assert.isTrue(Buffer.alloc(2_000_000, value).equals((yield* store.get(key)).bytes), key)
        }
      }
      assert.isAbove(temporariesSeen, 0, "no kill hit a put: the test shows nothing")
    })
  )
})

describe("temporary files", () => {
  it.effect("stay hidden, and those of living, foreign or unknown owners are kept until they are a day old", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const temporaries = join(directory, ".tmp")
      const { owner: own } = yield* Effect.promise(() => openBucket({ bucket: "test", directory, fsync: false }))
      const [host, pid, start] = own.split("~")
      const parent = readFileSync(`/proc/${process.ppid}/stat`, "latin1")
      const parentStart = parent.slice(parent.lastIndexOf(")") + 2).split(" ")[19]
      const kept = [`${own}~77`, `${host}~${process.ppid}~${parentStart}~1`, "elsewhere~1~1~1", "unknown", "a~b"]
      const gone = [
        // A number that no process has, one that another process has now, and this process's number before it was its.
        `${host}~999999999~5~1`,
        `${host}~${process.ppid}~${Number(parentStart) + 1}~1`,
        `${host}~${pid}~${Number(start) - 1}~1`
      ]
      const old = ["elsewhere~1~1~2", "unknown-old"]
      for (const name of [...kept, ...gone, ...old]) writeFileSync(join(temporaries, name), "x")
      const longAgo = Date.now() / 1_000 - limits.temporaryFileAgeMs / 1_000 - 60
      for (const name of old) utimesSync(join(temporaries, name), longAgo, longAgo)
      const store = yield* open(directory)
      assert.deepStrictEqual(temporariesIn(directory).toSorted(), kept.toSorted())
      assert.deepStrictEqual(yield* allKeys(store), [])
    })
  )

  for (const how of ["its caller gives up", "the store is closed"] as const) {
    it.effect(`lead to no object when ${how} during the write`, () =>
      Effect.gen(function* () {
        const directory = yield* temporaryDirectory
        const scope = yield* Scope.make()
        const store = yield* Scope.provide(open(directory), scope)
        const fiber = yield* Effect.forkChild(store.put("k", [Buffer.alloc(64 * 1024 * 1024, 3)]))
        while (temporariesIn(directory).length === 0) yield* nextTick
        if (how === "the store is closed") {
          yield* Scope.close(scope, Exit.void)
          assertReason(yield* Effect.flip(Fiber.join(fiber)), "Unavailable")
        } else yield* Fiber.interrupt(fiber)
        yield* cleanedUp(directory)
        const reopened = yield* open(directory)
        assertReason(yield* Effect.flip(reopened.head("k")), "NotFound")
      })
    )
  }

  it.effect("of an own earlier link are recognised: a name that is the same file is no AlreadyExists", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const store = yield* open(directory)
      // As if the file system had carried out the link, lost the answer and been asked again.
      const fiber = yield* Effect.forkChild(store.put("k", [Buffer.alloc(64 * 1024 * 1024, 3)]))
      let linked = false
      while (!linked) {
        yield* nextTick
        const name = temporariesIn(directory)[0]
        if (name !== undefined) {
          linkSync(join(directory, ".tmp", name), join(directory, "k"))
          linked = true
        }
      }
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(fiber)))
      assert.strictEqual((yield* store.head("k")).objectBytes, 64 * 1024 * 1024)
    })
  )
})

describe("a directory that hangs", () => {
  /** A pipe in the object's place. Opened for both at the end, so that whoever waits for a writer goes on. */
  const hangingObject = (path: string) =>
    Effect.acquireRelease(
      Effect.sync(() => execFileSync("mkfifo", [path])),
      () => Effect.sync(() => closeSync(openSync(path, constants.O_RDWR | constants.O_NONBLOCK)))
    )

  it.effect("blocks neither the loop nor other buckets, calls end when they are interrupted, and turns come back", () =>
    Effect.gen(function* () {
      const parent = yield* temporaryDirectory
      const sick = yield* open(join(parent, "sick"))
      const healthy = yield* open(join(parent, "healthy"))
      yield* sick.put("k", BODY)
      const hanging = yield* Scope.make()
      yield* Scope.provide(hangingObject(join(parent, "sick", "hanging")), hanging)
      const gets = yield* Effect.forEach(Array.from({ length: limits.directoryGetsRunning + 20 }), () =>
        Effect.forkChild(sick.get("hanging"), { startImmediately: true })
      )
      // All turns of the sick bucket are taken, so this one waits and leaves the queue again.
      const waiting = yield* Effect.forkChild(sick.get("k"), { startImmediately: true })
      for (let index = 0; index < 20; index++) yield* healthy.put(`${index}`, BODY)
      assert.isUndefined(waiting.pollUnsafe())
      yield* Fiber.interrupt(waiting)
      yield* Fiber.interruptAll(gets)
      yield* Scope.close(hanging, Exit.void)
      assert.strictEqual((yield* sick.get("k")).bytes.toString(), "body")
    })
  )

  const openIfRead = (pipe: string): number | undefined => {
    try {
      return openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK)
    } catch {
      return undefined
    }
  }

  it.effect("can be given up while it is being opened", () =>
    Effect.gen(function* () {
      const directory = yield* temporaryDirectory
      const marker = join(directory, ".meridian-bucket")
      execFileSync("mkfifo", [marker])
      const opening = yield* Effect.forkChild(Effect.scoped(open(directory)), { startImmediately: true })
      // A pipe can be opened for writing only when it has a reader; that one now waits for bytes.
      let writer: number | undefined
      while (writer === undefined) {
        yield* nextTick
        writer = openIfRead(marker)
      }
      yield* Fiber.interrupt(opening)
      closeSync(writer)
    })
  )

  it.effect("refuses calls when too many wait for it", () =>
    Effect.gen(function* () {
      const directory = join(yield* temporaryDirectory, "sick")
      const store = yield* open(directory)
      const hanging = yield* Scope.make()
      yield* Scope.provide(hangingObject(join(directory, "hanging")), hanging)
      const most = limits.directoryGetsRunning + limits.directoryCallsWaiting
      const gets = yield* Effect.forEach(Array.from({ length: most }), () =>
        Effect.forkChild(store.get("hanging"), { startImmediately: true })
      )
      assertReason(yield* Effect.flip(store.get("k")), "Unavailable")
      // Other calls do not wait for the gets.
      assertReason(yield* Effect.flip(store.head("k")), "NotFound")
      yield* Fiber.interruptAll(gets)
      yield* Scope.close(hanging, Exit.void)
      yield* store.put("k", BODY)
    })
  )
})
