/**
 * What a caller of the port sees when single calls to a cloud's store go wrong: on the wire, or in their answers.
 *
 * Method: the adapters on the project's fakes with a plan of faults; what really happened is asked of the fake's own
 * objects and of the requests that it saw. Both clouds go through the same cases, with what differs in a table.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { limits } from "#core/model/limits.ts"
import { asked, BODY, BODY_BYTES, CLOUDS, HASTY_MS, socketsClosed, textOf, until } from "./object-store-clouds.ts"
import { assertReason } from "./object-store-expectations.ts"

for (const cloud of CLOUDS) {
  describe(`${cloud.name}: puts`, () => {
    for (const when of ["before", "after"] as const) {
      it.effect(`that are answered with 503 ${when} their work are indefinite, and not tried again`, () =>
        Effect.gen(function* () {
          const { store, http, objects } = yield* cloud.open()
          http.add({ operation: "put", fault: { kind: "status", when, status: 503, code: "ServerBusy" } })
          const error = yield* Effect.flip(store.put("k", BODY))
          assertReason(error, "Unavailable", "indefinite")
          assert.isTrue(error.isRetryable)
          assert.strictEqual(objects.get("p/k") !== undefined, when === "after")
          assert.strictEqual(asked(http, "put").length, 1)
        })
      )
    }

    it.effect("that are throttled with 429 changed nothing", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.add({ operation: "put", fault: { kind: "status", when: "before", status: 429, code: "TooManyRequests" } })
        const error = yield* Effect.flip(store.put("k", BODY))
        assertReason(error, "Unavailable", "definite")
        assert.match(textOf(error), /fewer requests/)
      })
    )

    it.effect("that are forbidden name the permission that is missing", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.add({
          operation: "put",
          fault: { kind: "status", when: "before", status: 403, code: "AuthorizationPermissionMismatch" }
        })
        const error = yield* Effect.flip(store.put("k", BODY))
        assertReason(error, "AccessDenied", "definite")
        assert.isFalse(error.isRetryable)
        assert.match(textOf(error), cloud.permission)
      })
    )

    for (const when of ["head", "body"] as const) {
      it.effect(`whose connection is cut at the ${when} of the request are indefinite`, () =>
        Effect.gen(function* () {
          const { store, http, objects } = yield* cloud.open()
          http.add({ operation: "put", times: 1, fault: { kind: "cut", when } })
          assertReason(yield* Effect.flip(store.put("k", BODY)), "Unavailable", "indefinite")
          assert.isUndefined(objects.get("p/k"))
          yield* store.put("k", BODY)
        })
      )
    }

    it.effect("whose answer is lost are indefinite, and AlreadyExists when they come again", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.add({ operation: "put", times: 1, fault: { kind: "cut", when: "after" } })
        assertReason(yield* Effect.flip(store.put("k", BODY)), "Unavailable", "indefinite")
        assertReason(yield* Effect.flip(store.put("k", BODY)), "AlreadyExists", "definite")
        assert.strictEqual((yield* store.head("k")).objectBytes, BODY_BYTES)
      })
    )

    for (const when of ["before", "after"] as const) {
      it.effect(`that hang ${when} their work end in time, indefinite, and hold no connection`, () =>
        Effect.gen(function* () {
          const { store, http } = yield* cloud.open(HASTY_MS)
          http.add({ operation: "put", fault: { kind: "hang", when } })
          const error = yield* Effect.flip(store.put("k", BODY))
          assertReason(error, "TimedOut", "indefinite")
          yield* socketsClosed(http)
        })
      )
    }

    it.effect("whose bytes change on the way do not come to be", () =>
      Effect.gen(function* () {
        const { store, http, objects } = yield* cloud.open()
        http.add({ operation: "put", fault: { kind: "corrupt-request", byteIndex: 100_000 } })
        assertReason(yield* Effect.flip(store.put("k", BODY)), "Unavailable", "definite")
        assert.isUndefined(objects.get("p/k"))
      })
    )

    it.effect(
      "that are refused before their body was read are AlreadyExists, or indefinite where the reset came first",
      () =>
        Effect.gen(function* () {
          const { store, http } = yield* cloud.open()
          const remove = http.add({ operation: "put", fault: { kind: "early", ...cloud.taken } })
          const body = Buffer.alloc(4 * 1024 * 1024)
          for (let round = 0; round < 20; round++) {
            const error = yield* Effect.flip(store.put("k", [body]))
            if (error.reason === "AlreadyExists") assertReason(error, "AlreadyExists", "definite")
            else assertReason(error, "Unavailable", "indefinite")
          }
          remove()
          yield* store.put("k", [body])
        })
    )

    it.effect("that are interrupted let go of their connection at once", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.add({ operation: "put", fault: { kind: "hang", when: "before" } })
        const fiber = yield* Effect.forkChild(store.put("k", BODY))
        yield* until(() => asked(http, "put").length === 1)
        yield* Fiber.interrupt(fiber)
        yield* socketsClosed(http)
      })
    )

    it.effect("that are answered with what no store would say are not believed", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.add({ operation: "put", fault: { kind: "nonsense", body: "<html>hello</html>" } })
        const error = yield* Effect.flip(store.put("k", BODY))
        assert.strictEqual(error.outcome, "indefinite")
      })
    )
  })

  describe(`${cloud.name}: reads`, () => {
    for (const range of [undefined, { offset: 5, length: 100_000 }]) {
      const what = range === undefined ? "whole objects" : "ranges"
      it.effect(
        `of ${what} whose connection ends within the answer are Unavailable: the store said nothing wrong`,
        () =>
          Effect.gen(function* () {
            const { store, http } = yield* cloud.open()
            yield* store.put("k", BODY)
            http.add({ operation: "get", times: 1, fault: { kind: "truncate", bytes: 70_000 } })
            assertReason(yield* Effect.flip(store.get("k", range)), "Unavailable", "definite")
            assert.strictEqual((yield* store.get("k", range)).objectBytes, BODY_BYTES)
          })
      )
    }

    it.effect("of ranges that are answered with fewer bytes than the answer's own range are Corrupt", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        yield* store.put("k", BODY)
        http.add({ operation: "get", fault: { kind: "shorten", bytes: 10 } })
        assertReason(yield* Effect.flip(store.get("k", { offset: 5, length: 20 })), "Corrupt")
      })
    )

    it.effect("are definite whatever fails, and come through when the answer is only slow", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open(HASTY_MS)
        yield* store.put("k", BODY)
        const faults = [
          [{ kind: "cut", when: "head" }, "Unavailable"],
          [{ kind: "cut", when: "after" }, "Unavailable"],
          [{ kind: "hang", when: "before" }, "TimedOut"],
          [{ kind: "status", when: "before", status: 500 }, "Unavailable"],
          [{ kind: "status", when: "before", status: 503, code: "ServerBusy" }, "Unavailable"],
          [{ kind: "status", when: "before", status: 403 }, "AccessDenied"]
        ] as const
        for (const [fault, reason] of faults) {
          http.add({ operation: "get", times: 1, fault })
          http.add({ operation: "head", times: 1, fault })
          http.add({ operation: "list", times: 1, fault })
          assertReason(yield* Effect.flip(store.get("k")), reason, "definite")
          assertReason(yield* Effect.flip(store.head("k")), reason, "definite")
          assertReason(yield* Effect.flip(store.list({ prefix: "", limit: 5 })), reason, "definite")
        }
        http.add({ operation: "get", fault: { kind: "slow", pieces: 20, pauseMs: 5 } })
        assert.isTrue(Buffer.concat(BODY).equals((yield* store.get("k")).bytes))
      })
    )

    it.effect("of lists that are no lists fail", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        http.add({ operation: "list", fault: { kind: "nonsense", body: "<html>hello" } })
        assertReason(yield* Effect.flip(store.list({ prefix: "", limit: 5 })), "Unavailable")
      })
    )
  })

  describe(`${cloud.name}: deletes`, () => {
    it.effect("that fail for one key name it, and are indefinite where others may be gone", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        for (const key of ["a", "b", "c"]) yield* store.put(key, BODY)
        http.add({
          operation: "delete",
          keyPrefix: "p/b",
          fault: { kind: "status", when: "before", status: 403, code: "forbidden" }
        })
        const error = yield* Effect.flip(store.deleteMany(["a", "b", "c"]))
        assertReason(error, "AccessDenied", "indefinite")
        assert.strictEqual(error.key, "b")
        yield* store.head("b")
        assertReason(yield* Effect.flip(store.deleteMany(["b"])), "AccessDenied", "definite")
      })
    )

    it.effect("go on at most so many at a time, and their lost answers are indefinite", () =>
      Effect.gen(function* () {
        const { store, http } = yield* cloud.open()
        const keys = Array.from({ length: 100 }, (_, index) => `d/${index}`)
        yield* Effect.forEach(keys, (key) => store.put(key, []), { concurrency: 4 })
        http.add({ operation: "delete", fault: { kind: "delay", ms: 2 } })
        yield* store.deleteMany(keys)
        assert.isAtMost(http.socketsMax, limits.cloudDeletesRunning)
        assert.deepStrictEqual(yield* store.list({ prefix: "", limit: 5 }), [])
        http.add({ operation: "delete", fault: { kind: "cut", when: "after" } })
        assertReason(yield* Effect.flip(store.deleteMany(["x"])), "Unavailable", "indefinite")
      })
    )
  })
}
