// Goal: a bucket's threads take calls in bulk, survive hanging objects and their own death, and skip what nobody wants.
// Method: real threads on a temporary directory. An object that hangs is a named pipe, which blocks whoever opens it until
// someone opens its other end; threads that die or count are small programs in the real one's place.
import { execFileSync } from "node:child_process"
import { closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterEach, assert, describe, it, vi } from "vitest"
import { type DirectoryBucket } from "#backends/object/fs-bucket.ts"
import { type CallFailure, type DirectoryCall } from "#backends/object/fs-call.ts"
import { reasonOf } from "#backends/object/fs-error.ts"
import { BucketThreads, type BucketThreadsOptions } from "#backends/object/fs-threads.ts"
import { runningThreads } from "#backends/running-threads.ts"
import { limits } from "#core/model/limits.ts"
import { type ObjectBytes } from "#core/ports/object-store.ts"

const cleanups: Array<() => void> = []
const openPipes: Array<number> = []

// A thread that still hangs would keep this process from ending.
afterEach(async () => {
  vi.restoreAllMocks()
  for (const cleanUp of cleanups.splice(0).toReversed()) cleanUp()
  await whenNoneRuns()
  for (const descriptor of openPipes.splice(0)) closeSync(descriptor)
})

const whenNoneRuns = async (): Promise<void> => {
  while (runningThreads().length > 0) await new Promise((resolve) => setImmediate(resolve))
}

const makeBucket = (): DirectoryBucket => {
  const directory = mkdtempSync(join(tmpdir(), "meridian-threads-"))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  mkdirSync(join(directory, ".tmp"))
  writeFileSync(join(directory, ".meridian-bucket"), '{"format":1,"bucket":"test"}\n')
  return { bucket: "test", directory, fsync: false, owner: "o~1~1", durableDirectories: new Set(), isClosed: false }
}

const PROGRAM = new URL("../../../backends/object/fs-worker.ts", import.meta.url)

const makeThreads = (bucket: DirectoryBucket, options: Partial<BucketThreadsOptions> = {}): BucketThreads => {
  const defaults = { workerUrl: PROGRAM, work: "get", callsMax: 40, threadsMax: 1, behindMs: 0 } as const
  const threads = new BucketThreads({ bucket, ...defaults, ...options })
  cleanups.push(() => threads.close())
  return threads
}

/** A program in place of the threads' own. */
const program = (bucket: DirectoryBucket, text: string): URL => {
  const file = join(bucket.directory, "program.mjs")
  writeFileSync(file, `import { parentPort } from "node:worker_threads"\n${text}\n`)
  return pathToFileURL(file)
}

/** Blocks who opens it, until the function it gives is called. */
const hangingObject = (bucket: DirectoryBucket, key: string): (() => void) => {
  const path = join(bucket.directory, key)
  execFileSync("mkfifo", [path])
  const letGo = (): void => void openPipes.push(openSync(path, constants.O_RDWR | constants.O_NONBLOCK))
  cleanups.push(letGo)
  return letGo
}

interface Outcome<A> {
  readonly answer?: A
  readonly failure?: CallFailure
}

const callOf = <A>() => {
  const outcome = Promise.withResolvers<Outcome<A>>()
  const call: DirectoryCall<A> = {
    isAbandoned: () => false,
    succeed: (answer) => outcome.resolve({ answer }),
    fail: (failure) => outcome.resolve({ failure })
  }
  return { call, outcome: outcome.promise }
}

const getting = (threads: BucketThreads, key: string) => {
  const { call, outcome } = callOf<ObjectBytes>()
  return { call, outcome, left: threads.get(key, undefined, call) }
}

const textOf = async ({ outcome }: { readonly outcome: Promise<Outcome<ObjectBytes>> }): Promise<string> =>
  String((await outcome).answer?.bytes)

describe("threads that hang or die", () => {
  it("an object that hangs takes one thread; a further one reads on, and the number of threads is bounded", async () => {
    const bucket = makeBucket()
    writeFileSync(join(bucket.directory, "k"), "body")
    const letGo = hangingObject(bucket, "hanging")
    const threads = makeThreads(bucket, { threadsMax: 2 })
    await getting(threads, "k").left
    assert.lengthOf(runningThreads(), 1)
    const hanging = getting(threads, "hanging")
    assert.strictEqual(await textOf(getting(threads, "k")), "body")
    assert.lengthOf(runningThreads(), 2)
    const several = Array.from({ length: 10 }, () => getting(threads, "k"))
    // Some may wait behind the object that hangs until it goes on.
    letGo()
    for (const get of several) assert.strictEqual(await textOf(get), "body")
    assert.lengthOf(runningThreads(), 2)
    assert.strictEqual(reasonOf((await hanging.outcome).failure?.cause), "NotFound", "a pipe is no object")
  })

  it("gets given up before they begin are not begun", async () => {
    const bucket = makeBucket()
    writeFileSync(join(bucket.directory, "k"), "body")
    const letGo = hangingObject(bucket, "hanging")
    hangingObject(bucket, "never-opened")
    const threads = makeThreads(bucket)
    const hanging = getting(threads, "hanging")
    const abandoned = getting(threads, "never-opened")
    const wanted = getting(threads, "k")
    threads.giveUp(abandoned.call)
    letGo()
    assert.strictEqual(await textOf(wanted), "body")
    await Promise.all([hanging.left, abandoned.left, wanted.left])
    assert.strictEqual(reasonOf((await abandoned.outcome).failure?.cause), "Unavailable")
  })

  it("a thread that dies fails its gets definitely and its puts perhaps; another is started after a pause", async () => {
    const bucket = makeBucket()
    const workerUrl = program(bucket, 'parentPort.on("message", () => process.exit(1))')
    for (const work of ["get", "put"] as const) {
      const threads = makeThreads(bucket, { workerUrl, work })
      const { call, outcome } = callOf<unknown>()
      const left =
        work === "get"
          ? threads.get("k", undefined, call as never)
          : threads.put("k", [Buffer.from("x")], call as never)
      const { failure } = await outcome
      assert.deepStrictEqual([reasonOf(failure?.cause), failure?.changing], ["Unavailable", work === "put"])
      await left
      const soon = getting(threads, "k")
      assert.match(String((await soon.outcome).failure?.cause), /thread has ended/)
      await soon.left
      const nowMs = performance.now()
      vi.spyOn(performance, "now").mockReturnValue(nowMs + limits.directoryThreadRestartMs)
      assert.notMatch(String((await getting(threads, "k").outcome).failure?.cause), /thread has ended/)
      vi.restoreAllMocks()
    }
  })

  it("a program that does not load fails the calls and says why", async () => {
    const bucket = makeBucket()
    const threads = makeThreads(bucket, { workerUrl: program(bucket, 'throw new Error("broken on purpose")') })
    assert.match(String((await getting(threads, "k").outcome).failure?.cause), /broken on purpose/)
  })
})

describe("messages and memory", () => {
  it("a thread that is slow to start is not helped by further ones", async () => {
    const bucket = makeBucket()
    writeFileSync(join(bucket.directory, "k"), "body")
    const threads = makeThreads(bucket, { threadsMax: 4 })
    const gets = Array.from({ length: 8 }, () => getting(threads, "k"))
    for (const get of gets) assert.strictEqual(await textOf(get), "body")
    // Asked at the very moment of an answer, when the thread has left the call before.
    const { call } = callOf<ObjectBytes>()
    let next: Promise<string> | undefined
    await threads.get("k", undefined, { ...call, succeed: () => (next = textOf(getting(threads, "k"))) })
    assert.strictEqual(await next, "body")
    assert.lengthOf(runningThreads(), 1)
  })

  it("gets asked in one turn of the loop are one message", async () => {
    const bucket = makeBucket()
    const workerUrl = program(
      bucket,
      `parentPort.on("message", (requests) => parentPort.postMessage(requests.flatMap(({ id }) => [
        { kind: "failed", id, changing: false, reason: "Unavailable", message: "of " + requests.length },
        { kind: "left", id }
      ])))`
    )
    const threads = makeThreads(bucket, { workerUrl })
    const gets = Array.from({ length: 30 }, () => getting(threads, "k"))
    for (const { outcome, left } of gets) {
      assert.match(String((await outcome).failure?.cause), /of 30$/)
      await left
    }
  })

  it("a get's bytes are memory of its own, as long as the range", async () => {
    const bucket = makeBucket()
    writeFileSync(join(bucket.directory, "k"), Buffer.alloc(100_000, "0123456789"))
    const threads = makeThreads(bucket)
    const { call, outcome } = callOf<ObjectBytes>()
    await threads.get("k", { offset: 50_001, length: 70_000 }, call)
    const { bytes, objectBytes } = (await outcome).answer!
    assert.deepStrictEqual([bytes.length, bytes.buffer.byteLength, objectBytes], [49_999, 49_999, 100_000])
    assert.strictEqual(bytes.toString("latin1", 0, 5), "12345")
  })

  it("close ends threads that are idle at once, and those that hang when they go on", async () => {
    const bucket = makeBucket()
    writeFileSync(join(bucket.directory, "k"), "body")
    const letGo = hangingObject(bucket, "hanging")
    const idle = makeThreads(bucket)
    await getting(idle, "k").left
    const busy = makeThreads(bucket, { threadsMax: 2 })
    await getting(busy, "k").left
    getting(busy, "hanging")
    const behind = getting(busy, "k")
    await behind.outcome
    idle.close()
    busy.close()
    assert.isAbove(runningThreads().length, 0)
    letGo()
    await whenNoneRuns()
  })
})
