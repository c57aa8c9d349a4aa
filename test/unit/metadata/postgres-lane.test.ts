/**
 * Goal: a lane never has more connections than it may, nobody waits for one that cannot come, and whoever is gone holds none.
 * Method: connections that are objects, opened when the test says so.
 */
import { assert, describe, it } from "vitest"
import { type PostgresConnection } from "#backends/metadata/postgres-connection.ts"
import { type PostgresFailure, refusal } from "#backends/metadata/postgres-failure.ts"
import { Lane } from "#backends/metadata/postgres-lane.ts"

interface Fake {
  isUsable: boolean
  idleSinceMs: number
  sentAtMs: number | undefined
  closed: boolean
}

const world = (max: number) => {
  const openings: Array<{ readonly succeed: () => Fake; readonly fail: () => void }> = []
  const made: Array<Fake> = []
  const lane = new Lane({
    max,
    open: () =>
      new Promise((resolve, reject) => {
        openings.push({
          succeed: () => {
            const fake: Fake & Pick<PostgresConnection, "close" | "cutOff"> = {
              isUsable: true,
              idleSinceMs: 0,
              sentAtMs: undefined,
              closed: false,
              close: () => {
                fake.isUsable = false
                fake.closed = true
                return Promise.resolve()
              },
              cutOff: () => {
                fake.isUsable = false
              }
            }
            made.push(fake)
            resolve(fake as unknown as PostgresConnection)
            return fake
          },
          fail: () => reject(refusal("Unavailable", "no more"))
        })
      })
  })
  const acquire = (options: { readonly withinMs?: number; readonly signal?: AbortSignal } = {}) =>
    lane.acquire(performance.now() + (options.withinMs ?? 5_000), options.signal ?? new AbortController().signal)
  return { lane, acquire, openings, made }
}

const failureOf = (call: Promise<unknown>): Promise<PostgresFailure> =>
  call.then(
    () => assert.fail("it got a connection"),
    (error: unknown) => error as PostgresFailure
  )

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn += 1) await Promise.resolve()
}

describe("a lane of connections", () => {
  it("opens as many as are asked for at once, and no more than it may", async () => {
    const { lane, acquire, openings } = world(2)
    const calls = [acquire(), acquire(), acquire()]
    assert.lengthOf(openings, 2)
    openings[0]!.succeed()
    openings[1]!.succeed()
    const [first] = await Promise.all([calls[0]!, calls[1]!])
    assert.lengthOf(openings, 2)
    lane.release(first)
    assert.strictEqual(await calls[2]!, first)
  })

  it("gives an idle connection at once, and not one that has gone away", async () => {
    const { lane, acquire, openings, made } = world(2)
    const call = acquire()
    openings[0]!.succeed()
    const connection = await call
    lane.release(connection)
    assert.strictEqual(await acquire(), connection)
    lane.release(connection)
    made[0]!.isUsable = false
    const next = acquire()
    assert.lengthOf(openings, 2)
    openings[1]!.succeed()
    assert.notStrictEqual(await next, connection)
  })

  it("tells all who wait why, where none is open and none can be opened", async () => {
    const { acquire, openings } = world(1)
    const calls = [acquire(), acquire(), acquire()].map(failureOf)
    openings[0]!.fail()
    for (const failure of await Promise.all(calls)) {
      assert.strictEqual([failure.message, failure.scope].join(), "no more,server")
    }
  })

  it("lets them wait for others where one is open", async () => {
    const { lane, acquire, openings } = world(2)
    const calls = [acquire(), acquire()]
    openings[0]!.succeed()
    const first = await calls[0]!
    openings[1]!.fail()
    await turns()
    lane.release(first)
    assert.strictEqual(await calls[1]!, first)
    assert.lengthOf(openings, 2, "what failed is not tried at every call")
  })

  it("ends a wait in time, and one whose caller is gone", async () => {
    const { acquire, openings } = world(1)
    const held = acquire()
    openings[0]!.succeed()
    await held
    const late = await failureOf(acquire({ withinMs: 5 }))
    assert.strictEqual([late.reason, late.outcome, late.scope].join(), "TimedOut,definite,statement")
    const abort = new AbortController()
    const gone = failureOf(acquire({ signal: abort.signal }))
    abort.abort()
    assert.strictEqual((await gone).scope, "statement")
  })

  it("opens another for who waits when one that was used has gone away", async () => {
    const { lane, acquire, openings, made } = world(1)
    const first = acquire()
    openings[0]!.succeed()
    const connection = await first
    const waiting = acquire()
    assert.lengthOf(openings, 1)
    made[0]!.isUsable = false
    lane.release(connection)
    assert.lengthOf(openings, 2)
    openings[1]!.succeed()
    assert.notStrictEqual(await waiting, connection)
  })

  it("closes what nobody used for long, and everything when it is closed", async () => {
    const { lane, acquire, openings, made } = world(2)
    const calls = [acquire(), acquire()]
    openings[0]!.succeed()
    openings[1]!.succeed()
    const [old, young] = await Promise.all([calls[0]!, calls[1]!])
    lane.release(old)
    const betweenMs = performance.now()
    await new Promise((resolve) => setTimeout(resolve, 2))
    lane.release(young)
    lane.closeIdleSince(betweenMs + 1)
    assert.deepStrictEqual(
      made.map(({ closed }) => closed),
      [true, false]
    )
    const busy = await acquire()
    await lane.close()
    assert.isTrue(made[1]!.closed)
    lane.release(busy)
    assert.strictEqual((await failureOf(acquire())).message, "the database is closed")
  })
})
