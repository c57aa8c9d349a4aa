/**
 * Goal: a directory bucket's session is there when it is needed, renewed before it ends, and no failure of that goes unheard
 * or unhandled. Method: sessions made by hand, and a clock of the test's own.
 */
import { afterEach, assert, beforeEach, describe, it, vi } from "vitest"
import { ExpressSession, SessionFailed } from "#backends/object/express-session.ts"
import { limits } from "#core/model/limits.ts"

let nowMs = 0
beforeEach(() => {
  nowMs = 1_000_000
  vi.spyOn(performance, "now").mockImplementation(() => nowMs)
})
afterEach(() => void vi.restoreAllMocks())

/** Each one made waits until it is answered. */
const maker = () => {
  const waiting: Array<{ readonly answer: () => void; readonly fail: () => void }> = []
  let made = 0
  const session = new ExpressSession(
    () =>
      new Promise((resolve, reject) => {
        const id = String(++made)
        waiting.push({
          answer: () => resolve({ accessKeyId: id, secretAccessKey: "s", sessionToken: "t" }),
          fail: () => reject(new Error("denied"))
        })
      })
  )
  return { session, waiting, made: () => made }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

const opened = async () => {
  const made = maker()
  const first = made.session.credentials()
  made.waiting.shift()!.answer()
  assert.strictEqual((await first).accessKeyId, "1")
  return made
}

describe("a directory bucket's session", () => {
  it("is asked for once by all that wait, and kept", async () => {
    const { session, waiting, made } = maker()
    const all = [session.credentials(), session.credentials(), session.credentials()]
    waiting.shift()!.answer()
    for (const one of await Promise.all(all)) assert.strictEqual(one.accessKeyId, "1")
    nowMs += limits.expressSessionRenewMs - 1
    await session.credentials()
    assert.strictEqual(made(), 1)
  })

  it("is renewed in the background, and nobody waits for that", async () => {
    const { session, waiting, made } = await opened()
    nowMs += limits.expressSessionRenewMs
    assert.strictEqual((await session.credentials()).accessKeyId, "1")
    assert.strictEqual((await session.credentials()).accessKeyId, "1")
    assert.strictEqual(made(), 2)
    waiting.shift()!.answer()
    await turn()
    assert.strictEqual((await session.credentials()).accessKeyId, "2")
  })

  it("whose renewal fails is used until it ends, and asked for again after a pause", async () => {
    const { session, waiting, made } = await opened()
    nowMs += limits.expressSessionRenewMs
    await session.credentials()
    waiting.shift()!.fail()
    await turn()
    await session.credentials()
    assert.strictEqual(made(), 2)
    nowMs += limits.expressSessionRetryMs
    assert.strictEqual((await session.credentials()).accessKeyId, "1")
    assert.strictEqual(made(), 3)
    waiting.shift()!.fail()
    await turn()
    nowMs += limits.expressSessionMs
    const late = session.credentials()
    waiting.shift()!.fail()
    const error: unknown = await late.then(
      () => undefined,
      (thrown: unknown) => thrown
    )
    assert.instanceOf(error, SessionFailed)
    assert.strictEqual(((error as SessionFailed).cause as Error).message, "denied")
  })

  it("that was dropped is not used again", async () => {
    const { session, waiting } = await opened()
    session.drop()
    const next = session.credentials()
    waiting.shift()!.answer()
    assert.strictEqual((await next).accessKeyId, "2")
  })
})
