/**
 * Parts of the directory-backed adapter that a real file system does not show at will: partial writes, refusals by
 * errno, turns. Method: the parts are given their system calls or errors.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { reasonOf } from "#backends/object/fs-error.ts"
import { toObjectStoreError } from "#backends/object/fs-failure.ts"
import { writeAll, type WriteOnce } from "#backends/object/fs-put.ts"
import { type ReadOnce, readAll } from "#backends/object/fs-get.ts"
import { CallTurns, directoryCallsRunning } from "#backends/object/fs-turns.ts"
import { limits } from "#core/model/limits.ts"
import { seededRandom } from "./seeded-random.ts"

const errno = (code: string): Error => Object.assign(new Error(code), { code })

/** Takes as many bytes of each call as `bytesOf` says, and keeps them. */
const partialWriter = (bytesOf: (offered: number) => number) => {
  const written: Array<Buffer> = []
  const writeOnce: WriteOnce = async (_descriptor, chunks) => {
    const offered = Buffer.concat(chunks)
    const bytesWritten = bytesOf(offered.length)
    written.push(offered.subarray(0, bytesWritten))
    return { bytesWritten }
  }
  return { writeOnce, bytes: () => Buffer.concat(written) }
}

const failureOf = (work: Promise<unknown>) =>
  Effect.promise(() =>
    work.then(
      () => undefined,
      (error: unknown) => error
    )
  )

const thrownBy = (work: () => unknown): unknown => {
  try {
    work()
    return undefined
  } catch (error) {
    return error
  }
}

describe("writing all bytes", () => {
  for (let seed = 1; seed <= 20; seed++) {
    it.effect(`goes on after partial writes, empty ones and EAGAIN (seed ${seed})`, () =>
      Effect.gen(function* () {
        const random = seededRandom(seed)
        const chunks = Array.from({ length: 30 }, (_, index) => Buffer.alloc(Math.floor(random() * 50), index + 1))
        const writer = partialWriter((offered) => {
          if (random() < 0.1) throw errno("EAGAIN")
          return random() < 0.1 ? 0 : Math.min(offered, Math.floor(random() * 120))
        })
        yield* Effect.promise(() => writeAll(3, chunks, writer.writeOnce))
        assert.isTrue(Buffer.concat(chunks).equals(writer.bytes()))
      })
    )
  }

  it.effect("does not call at all for nothing", () =>
    Effect.gen(function* () {
      let calls = 0
      const writeOnce: WriteOnce = async () => ({ bytesWritten: calls++ })
      yield* Effect.promise(() => writeAll(3, [], writeOnce))
      yield* Effect.promise(() => writeAll(3, [Buffer.alloc(0)], writeOnce))
      assert.strictEqual(calls, 0)
    })
  )

  it.effect("gives up when the file takes nothing again and again", () =>
    Effect.gen(function* () {
      let calls = 0
      const writeOnce: WriteOnce = async () => {
        calls++
        return { bytesWritten: 0 }
      }
      assert.instanceOf(yield* failureOf(writeAll(3, [Buffer.alloc(1)], writeOnce)), Error)
      assert.strictEqual(calls, limits.directoryIdleWritesMax)
    })
  )

  it.effect("does not believe in more bytes than it gave, or fewer than none", () =>
    Effect.gen(function* () {
      for (const bytesWritten of [5, -1]) {
        const writeOnce: WriteOnce = async () => ({ bytesWritten })
        assert.instanceOf(yield* failureOf(writeAll(3, [Buffer.alloc(4)], writeOnce)), Error)
      }
    })
  )
})

describe("reading all bytes", () => {
  const content = Buffer.from("0123456789abcdefghij")
  const readerOf =
    (most: () => number, end = content.length): ReadOnce =>
    (_descriptor, into, at, length, position) => {
      const bytesRead = Math.max(0, Math.min(most(), length, end - position))
      content.copy(into, at, position, position + bytesRead)
      return bytesRead
    }

  it("is Corrupt where the file ends before the size that it had", () => {
    for (const end of [0, 5, 12, 14]) {
      const error = thrownBy(() =>
        readAll(
          3,
          { offset: 5, length: 10 },
          readerOf(() => 4, end)
        )
      )
      assert.strictEqual(reasonOf(error), "Corrupt", `ended at ${end}`)
    }
  })

  for (let seed = 1; seed <= 10; seed++) {
    it(`goes on after partial reads (seed ${seed})`, () => {
      const random = seededRandom(seed)
      const read = readerOf(() => 1 + Math.floor(random() * 6))
      const bytes = Buffer.from(readAll(3, { offset: 3, length: 15 }, read))
      assert.isTrue(bytes.equals(content.subarray(3, 18)))
    })
  }
})

describe("reasons and outcomes by errno", () => {
  const place = { operation: "put", bucket: "b", key: "k" } as const
  const cases = [
    ["ENOSPC", "StorageFull", "definite"],
    ["EDQUOT", "StorageFull", "definite"],
    ["EFBIG", "StorageFull", "definite"],
    ["EACCES", "AccessDenied", "definite"],
    ["EPERM", "AccessDenied", "definite"],
    ["EROFS", "AccessDenied", "definite"],
    ["ENAMETOOLONG", "InvalidRequest", "definite"],
    ["ENOTDIR", "InvalidRequest", "definite"],
    ["EIO", "Unavailable", "indefinite"],
    ["ESTALE", "Unavailable", "indefinite"],
    ["ETIMEDOUT", "Unavailable", "indefinite"],
    ["EMFILE", "Unavailable", "indefinite"],
    ["EXDEV", "Unavailable", "indefinite"]
  ] as const
  for (const [code, reason, outcomeWhenChanging] of cases) {
    it(`${code} is ${reason}, ${outcomeWhenChanging} once the name was asked for, and definite before`, () => {
      const after = toObjectStoreError({ ...place, changing: true, cause: errno(code) })
      assert.deepStrictEqual([after.reason, after.outcome], [reason, outcomeWhenChanging])
      const before = toObjectStoreError({ ...place, changing: false, cause: errno(code) })
      assert.deepStrictEqual([before.reason, before.outcome], [reason, "definite"])
    })
  }

  it("what has no errno is Unavailable", () => {
    for (const cause of [new Error("x"), "x", undefined, null, { code: "ENOSPC" }]) {
      assert.strictEqual(toObjectStoreError({ ...place, changing: false, cause }).reason, "Unavailable")
    }
  })
})

describe("turns", () => {
  it("run so many at once, the others in order of arrival", () => {
    const turns = new CallTurns(2)
    const begun: Array<number> = []
    for (let index = 0; index < 5; index++) {
      assert.strictEqual(
        turns.enter(() => begun.push(index)),
        "accepted"
      )
    }
    assert.deepStrictEqual(begun, [0, 1])
    turns.leave()
    assert.deepStrictEqual(begun, [0, 1, 2])
    for (let left = 0; left < 4; left++) turns.leave()
    assert.deepStrictEqual(begun, [0, 1, 2, 3, 4])
    assert.throws(() => turns.leave(), /only who had a turn/)
  })

  it("pass over those who gave up, who make room at once", () => {
    const turns = new CallTurns(1)
    const begun: Array<string> = []
    const gone = () => begun.push("gone")
    turns.enter(() => begun.push("first"))
    turns.enter(gone)
    for (let index = 1; index < limits.directoryCallsWaiting; index++) turns.enter(() => begun.push("waiting"))
    assert.strictEqual(
      turns.enter(() => begun.push("one too many")),
      "refused"
    )
    turns.giveUp(gone)
    assert.strictEqual(
      turns.enter(() => begun.push("fits")),
      "accepted"
    )
    for (let left = 0; left <= limits.directoryCallsWaiting; left++) turns.leave()
    assert.deepStrictEqual(new Set(begun), new Set(["first", "waiting", "fits"]))
    assert.strictEqual(begun[begun.length - 1], "fits")
  })

  it("are a third of libuv's threads, at least one, at most the limit", () => {
    const running = (["1", "4", "6", "9", "16", "128", "x", "", undefined] as const).map(directoryCallsRunning)
    const most = limits.directoryCallsRunning
    assert.deepStrictEqual(running, [1, 1, 2, 3, Math.min(5, most), most, 1, 1, 1])
  })
})
