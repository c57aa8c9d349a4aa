/**
 * A process of its own for object-store-fs.test.ts: node object-store-child.ts race|crash DIRECTORY ARGUMENT.
 *
 * race: for each key race/0…ARGUMENT-1 puts a body of its own, all processes at about the same time, and prints the
 *   numbers that it won.
 * crash: puts objects without end, large ones in many chunks, printing a line before each put; it waits to be killed.
 */
import { Effect, Result } from "effect"
import * as fs from "#backends/object/fs.ts"

const [mode, directory, argument] = process.argv.slice(2) as [string, string, string]

const race = Effect.gen(function* () {
  const store = yield* fs.make({ bucket: "test", directory, fsync: false })
  const won: Array<number> = []
  const keys = Array.from({ length: Number(argument) }, (_, index) => index)
  yield* Effect.forEach(
    keys,
    Effect.fnUntraced(function* (key) {
      const body = Buffer.alloc(20_000, `${process.pid};`)
      const result = yield* Effect.result(store.put(`race/${key}`, [body.subarray(0, 7), body.subarray(7)]))
      if (Result.isSuccess(result)) won.push(key)
      else if (result.failure.reason !== "AlreadyExists") return yield* result.failure
    }),
    { concurrency: 4 }
  )
  process.stdout.write(JSON.stringify({ pid: process.pid, won }))
})

const crash = Effect.gen(function* () {
  const store = yield* fs.make({ bucket: "test", directory, fsync: argument === "fsync" })
  for (let number = 0; ; number++) {
    // The key says what the body is: so many bytes of that value, in chunks of a thousand.
    const value = (number % 255) + 1
    const chunks = Array.from({ length: 2_000 }, () => Buffer.alloc(1_000, value))
    process.stdout.write(`${number}\n`)
    yield* store.put(`crash/${process.pid}/${value}-${number}`, chunks)
  }
})

await Effect.runPromise(Effect.scoped(mode === "race" ? race : crash))
