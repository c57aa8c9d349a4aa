/**
 * `meridian buckets check`: tries everything that Meridian asks of a bucket, on every bucket of the topology.
 *
 * Each bucket gets objects under a key prefix of this run's own, which are deleted at the end, whatever failed. A step that
 * fails does not stop those behind it: an operator wants all missing permissions at once. What is tried is the port
 * (core/ports/object-store.ts), so what passes here is what agents need, and no more.
 */
import { randomBytes, randomUUID } from "node:crypto"
import { Effect, Logger, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { type ObjectStore, ObjectStoreError } from "#core/ports/object-store.ts"
import { type TopologyBucket } from "#regions/topology.ts"
import { openStore } from "./buckets.ts"
import { causeText, type CommandFailed, failed } from "./command-failed.ts"
import { textTable } from "./text-table.ts"
import { readTopology } from "./topology-file.ts"

export const check = (config: string): Effect.Effect<void, CommandFailed> =>
  Effect.gen(function* () {
    const { buckets } = yield* readTopology(config)
    const checked = yield* Effect.forEach(buckets, checkBucket, { concurrency: "unbounded" })
    yield* Effect.promise(
      () => new Promise<void>((resolve) => process.stdout.write(reportOf(checked), () => resolve()))
    )
    const bad = checked.filter(({ steps }) => steps.some(({ problem }) => problem !== undefined)).length
    if (bad > 0) return yield* failed(`${bad} of ${buckets.length} buckets cannot be used as they are`)
  }).pipe(Effect.scoped, Effect.provide(Logger.layer([])))

export interface CheckedBucket {
  readonly name: string
  readonly kind: string
  /** In order; those that made no sense because the bucket could not be opened are not there. */
  readonly steps: ReadonlyArray<CheckedStep>
}

export interface CheckedStep {
  readonly name: StepName
  readonly ms: number
  /** What is wrong, with the fix where one is known. */
  readonly problem: string | undefined
}

const STEP_NAMES = [
  "open",
  "missing",
  "put",
  "again",
  "race",
  "get",
  "range",
  "last",
  "head",
  "list",
  "delete"
] as const
export type StepName = (typeof STEP_NAMES)[number]

const BODY_BYTES = 64 * 1024
const RACERS = 8

export const checkBucket = (bucket: TopologyBucket): Effect.Effect<CheckedBucket, never, Scope.Scope> =>
  Effect.gen(function* () {
    const steps: Array<CheckedStep> = []
    const store = yield* step(steps, "open", openStore(bucket))
    if (store !== undefined) {
      const run = `meridian-check/${randomUUID()}`
      for (const [name, work] of stepsOf(store, run)) yield* step(steps, name, work)
    }
    return { name: bucket.name, kind: bucket.location.kind, steps }
  })

/** A thing that the bucket did, and should not have done. */
class Wrong extends Error {}

type Step = readonly [name: StepName, work: Effect.Effect<unknown, ObjectStoreError | Wrong>]

const stepsOf = (store: ObjectStore, run: string): ReadonlyArray<Step> => {
  const key = `${run}/a`
  const raced = `${run}/b`
  const body = randomBytes(BODY_BYTES)
  const bytesAt = (
    from: number,
    range?: { readonly offset: number; readonly length: number } | { readonly last: number }
  ) =>
    Effect.flatMap(store.get(key, range), ({ bytes, objectBytes }) => {
      const expected =
        range === undefined ? body : body.subarray(from, from + ("last" in range ? range.last : range.length))
      return expect(
        bytes.equals(expected) && objectBytes === BODY_BYTES,
        `other bytes came back than were put (${bytes.length} of ${objectBytes})`
      )
    })
  const isAway = reasonIs(store.get(key), "NotFound", "a key that nothing was put to")
  const racing = Effect.flatMap(
    Effect.forEach(Array.from({ length: RACERS }), () => Effect.result(store.put(raced, [body])), {
      concurrency: "unbounded"
    }),
    (results) => {
      const winners = results.filter(({ _tag }) => _tag === "Success").length
      return expect(winners === 1, `${winners} of ${RACERS} puts of one key at once succeeded: exactly one must`)
    }
  )
  const heads = Effect.flatMap(store.head(key), ({ objectBytes }) =>
    expect(objectBytes === BODY_BYTES, `the object has ${objectBytes} bytes instead of ${BODY_BYTES}`)
  )
  const lists = Effect.gen(function* () {
    const all = yield* store.list({ prefix: `${run}/`, limit: 10 })
    const later = yield* store.list({ prefix: `${run}/`, after: key, limit: 10 })
    const shown = (heads: ReadonlyArray<{ readonly key: string }>) =>
      heads.map((head) => head.key.slice(run.length + 1)).join(" ")
    yield* expect(shown(all) === "a b", `the list of two keys holds "${shown(all)}" instead of "a b"`)
    yield* expect(shown(later) === "b", `the list after the first of two keys holds "${shown(later)}" instead of "b"`)
  })
  const deletes = Effect.andThen(
    store.deleteMany([key, raced, `${run}/never`]),
    reasonIs(store.get(key), "NotFound", "a key that was deleted")
  )
  return [
    ["missing", isAway],
    ["put", store.put(key, [body.subarray(0, 100), body.subarray(100)])],
    ["again", reasonIs(store.put(key, [Buffer.from("other")]), "AlreadyExists", "a put of a key that is taken")],
    ["race", racing],
    ["get", bytesAt(0)],
    ["range", bytesAt(1_000, { offset: 1_000, length: 2_000 })],
    ["last", bytesAt(BODY_BYTES - 500, { last: 500 })],
    ["head", heads],
    ["list", lists],
    ["delete", deletes]
  ]
}

const expect = (isSo: boolean, otherwise: string): Effect.Effect<void, Wrong> =>
  isSo ? Effect.void : Effect.fail(new Wrong(otherwise))

const reasonIs = (
  call: Effect.Effect<unknown, ObjectStoreError>,
  reason: ObjectStoreError["reason"],
  what: string
): Effect.Effect<void, ObjectStoreError | Wrong> =>
  Effect.flatMap(Effect.result(call), (result) => {
    if (result._tag === "Success") return Effect.fail(new Wrong(`${what} succeeded: it must be refused (${reason})`))
    return result.failure.reason === reason ? Effect.void : Effect.fail(result.failure)
  })

/** Notes how it went; what it gave, or undefined where it failed. */
const step = <A, R>(
  steps: Array<CheckedStep>,
  name: StepName,
  work: Effect.Effect<A, ObjectStoreError | Wrong, R>
): Effect.Effect<A | undefined, never, R> =>
  Effect.suspend(() => {
    const beganAtMs = performance.now()
    const bounded = Effect.timeoutOrElse(work, {
      duration: limits.bucketCheckStepMs,
      orElse: () => Effect.fail(new Wrong(`no answer within ${limits.bucketCheckStepMs} ms`))
    })
    return Effect.map(Effect.result(bounded), (result) => {
      const problem = result._tag === "Success" ? undefined : problemOf(result.failure)
      steps.push({ name, ms: performance.now() - beganAtMs, problem })
      return result._tag === "Success" ? result.success : undefined
    })
  })

const problemOf = (error: ObjectStoreError | Wrong): string =>
  error instanceof ObjectStoreError ? `${error.reason}: ${causeText(error.cause)}` : error.message

/** A table with a row for each bucket and a column for each step, in milliseconds; below it what is wrong. */
export const reportOf = (checked: ReadonlyArray<CheckedBucket>): string => {
  const cellOf = (bucket: CheckedBucket, name: StepName): string => {
    const found = bucket.steps.find((candidate) => candidate.name === name)
    if (found === undefined) return "-"
    return found.problem === undefined ? found.ms.toFixed(1) : "FAILED"
  }
  const table = textTable(
    ["bucket", "kind", ...STEP_NAMES.map((name) => (name === "open" ? "open ms" : name))],
    checked.map((bucket) => [bucket.name, bucket.kind, ...STEP_NAMES.map((name) => cellOf(bucket, name))])
  )
  const problems = checked.flatMap(({ name, steps }) => problemLines(name, steps))
  return [...table, ...(problems.length === 0 ? [] : ["", ...problems]), ""].join("\n")
}

/** Steps that fail for the same reason are told together. */
const problemLines = (bucket: string, steps: ReadonlyArray<CheckedStep>): ReadonlyArray<string> => {
  const names = new Map<string, Array<string>>()
  for (const { name, problem } of steps) {
    if (problem !== undefined) names.set(problem, [...(names.get(problem) ?? []), name])
  }
  return [...names].map(([problem, which]) => `${bucket}, ${which.join(", ")}: ${problem}`)
}
