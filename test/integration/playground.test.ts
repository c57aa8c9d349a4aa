/**
 * Goal: the playground does what its help says: three regions that serve each other's records, agents that come back, a
 * clean stop that leaves nothing but data, and data that is there after the next start, also after kill -9.
 *
 * Method: the real command as a child process on free ports in a temporary directory, spoken to through our own client.
 * Waiting is for conditions with a deadline. Everything that was started is ended by its pid, whatever a test finds.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, renameSync, rmSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as pause } from "node:timers/promises"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { onTestFinished } from "vitest"
import * as TcpConnector from "#backends/network/tcp-connector.ts"
import { type Connection, connect } from "#core/client/connection.ts"
import { Produce } from "#core/protocol/api/00-produce.ts"
import { Fetch } from "#core/protocol/api/01-fetch.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { CreateTopics } from "#core/protocol/api/19-create-topics.ts"
import { buildBatch } from "#core/records/build-batch.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"
import { limits } from "#core/model/limits.ts"
import { PLAYGROUND_REGIONS } from "../../bin/playground-plan.ts"
import { checkPort } from "../../bin/port-check.ts"
import { type MeridianProcess, startMeridian } from "../unit/bin/meridian-process.ts"
import { temporaryDirectory } from "../unit/bin/temporary-directory.ts"

const HOST = "127.0.0.1"
const DEADLINE_MS = 30_000
const POLL_MS = 25

const until = async <A>(
  what: string,
  condition: () => A | undefined | false | Promise<A | undefined | false>
): Promise<A> => {
  const deadlineMs = performance.now() + DEADLINE_MS
  while (performance.now() < deadlineMs) {
    const value = await condition()
    if (value !== undefined && value !== false) return value
    await pause(POLL_MS)
  }
  return assert.fail(`not within ${DEADLINE_MS} ms: ${what}`)
}

/** Of the first agent of each region. */
const portsOf = (base: number): ReadonlyArray<number> => PLAYGROUND_REGIONS.map((_, index) => base + index * 100)
const PEER_PORT_OFFSET = 50

const areFree = async (ports: ReadonlyArray<number>): Promise<boolean> => {
  for (const port of ports) if ((await Effect.runPromise(checkPort(HOST, port))) !== "free") return false
  return true
}

/** Below the ports that systems give to outgoing connections; every test process begins elsewhere. */
const freeBase = async (): Promise<number> => {
  for (let base = 11_000 + (process.pid % 97) * 200; base < 32_000; base += 10) {
    if (await areFree([...portsOf(base), ...portsOf(base + PEER_PORT_OFFSET)])) return base
  }
  return assert.fail("no free ports")
}

interface Playground {
  readonly dir: string
  readonly kafka: number
  readonly http: number
  readonly meridian: MeridianProcess
  readonly stop: (signal?: NodeJS.Signals) => Promise<number | null>
  /** undefined while it is not running. */
  readonly pidOf: (region: number) => number | undefined
  /** Of the process that supervises the agents. */
  readonly supervisorPid: () => number
}

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

const start = async (dir: string, ...flags: ReadonlyArray<string>): Promise<Playground> => {
  const kafka = await freeBase()
  const http = kafka + 25
  const meridian = startMeridian(
    "playground",
    "--dir",
    dir,
    "--port-base",
    String(kafka),
    "--http-port-base",
    String(http),
    ...flags
  )
  // Agents end by themselves when their supervisor is gone, and the supervisor with this child.
  onTestFinished(async () => {
    meridian.child.kill("SIGKILL")
    await until("all ports free", () => areFree([kafka, kafka + PEER_PORT_OFFSET, http].flatMap(portsOf)))
  })
  const ended = meridian.ended.then(({ exitCode, stderr }) => assert.fail(`ended with ${exitCode}: ${stderr}`))
  await Promise.race([ended, until("ready", () => /^ready in [\d.]+ s$/m.test(meridian.output().stdout))])
  ended.catch(() => {})
  return {
    dir,
    kafka,
    http,
    meridian,
    stop: async (signal = "SIGINT") => {
      meridian.child.kill(signal)
      return (await meridian.ended).exitCode
    },
    pidOf: (region) => {
      const file = join(dir, "agents", `${PLAYGROUND_REGIONS[region]}-1.pid`)
      return existsSync(file) ? Number(readFileSync(file, "utf8")) : undefined
    },
    supervisorPid: () => JSON.parse(readFileSync(join(dir, "playground.lock"), "utf8")).pid
  }
}

const withClient = <A>(port: number, use: (client: Connection) => Effect.Effect<A, unknown>): Promise<A> =>
  Effect.runPromise(
    Effect.scoped(Effect.flatMap(connect({ host: HOST, port, clientId: "test" }), use)).pipe(
      Effect.provide(TcpConnector.layer)
    )
  )

const brokersAt = (port: number) =>
  withClient(port, (client) => client.request(Metadata, 12, { topics: [] })).then(({ brokers }) =>
    brokers.map((broker) => `${broker.host}:${broker.port}`)
  )

const TOPIC = "playground"

const produce = (port: number, ...values: ReadonlyArray<string>) =>
  withClient(port, (client) =>
    Effect.gen(function* () {
      yield* client.request(CreateTopics, 5, {
        topics: [{ name: TOPIC, numPartitions: 1, replicationFactor: -1, assignments: [], configs: [] }],
        timeoutMs: 10_000,
        validateOnly: false
      })
      const records = buildBatch({
        records: values.map((value) => ({ key: null, value: Buffer.from(value) })),
        timestampMs: Date.now()
      })
      const { responses } = yield* client.request(Produce, 9, {
        acks: -1,
        timeoutMs: 10_000,
        topicData: [{ name: TOPIC, partitionData: [{ index: 0, records }] }]
      })
      assert.strictEqual(responses[0]!.partitionResponses[0]!.errorCode, 0)
    })
  )

/** Values from the partition's beginning; empty while the topic is not known there. */
const consume = (port: number): Promise<ReadonlyArray<string>> =>
  withClient(port, (client) =>
    Effect.map(
      client.request(Fetch, 11, {
        maxWaitMs: 100,
        minBytes: 1,
        topics: [{ topic: TOPIC, partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1_000_000 }] }],
        forgottenTopicsData: []
      }),
      ({ responses }) => {
        const partition = responses[0]!.partitions[0]!
        return partition.errorCode === 0 ? valuesOf(partition.records) : []
      }
    )
  )

/** An agent learns of what others appended with a short delay. */
const consumed = (port: number, count: number): Promise<ReadonlyArray<string>> =>
  until(`${count} records read at ${port}`, async () => {
    const values = await consume(port)
    return values.length >= count && values
  })

const valuesOf = (records: Buffer | null): ReadonlyArray<string> => {
  const values: Array<string> = []
  const cursor = new RecordCursor()
  for (let at = 0; records !== null && at < records.length; at += 12 + records.readInt32BE(at + 8)) {
    cursor.open(records, at)
    while (cursor.next()) values.push(cursor.bytes.toString("utf8", cursor.valueStart, cursor.valueEnd))
  }
  return values
}

const httpStatus = async (port: number, path: string): Promise<number> =>
  (await fetch(`http://${HOST}:${port}${path}`)).status

describe("playground", () => {
  it("an agent that dies is said to have died, comes back and serves what was written", async () => {
    const playground = await start(temporaryDirectory())
    await produce(playground.kafka, "before")
    const pid = playground.pidOf(1)!
    process.kill(pid, "SIGKILL")
    const { meridian, kafka } = playground
    await until("said", () => /agent us-west-2-1 was killed \(SIGKILL\)/.test(meridian.output().stderr))
    await until("back", () => /agent us-west-2-1 is back/.test(meridian.output().stderr))
    assert.notStrictEqual(playground.pidOf(1), pid)
    assert.deepStrictEqual(await consume(kafka + 100), ["before"])
    assert.deepStrictEqual(await consume(kafka), ["before"], "the other regions were not disturbed")
  })

  it("with --no-restart a dead agent stays dead and the other regions go on", async () => {
    const playground = await start(temporaryDirectory(), "--no-restart")
    const { meridian, kafka } = playground
    process.kill(playground.pidOf(0)!, "SIGKILL")
    await until("said", () => /agent us-east-1-1 was killed \(SIGKILL\); it stays down/.test(meridian.output().stderr))
    assert.isUndefined(playground.pidOf(0))
    assert.strictEqual(await Effect.runPromise(checkPort(HOST, kafka)), "free")
    await produce(kafka + 100, "still here")
    assert.deepStrictEqual(await consumed(kafka + 200, 1), ["still here"])
  })

  it("regions name their own agents, and see each other's records", async () => {
    const { kafka, http } = await start(temporaryDirectory(), "--agents-per-region", "2")
    await produce(kafka, "one", "two")
    for (const port of portsOf(kafka)) {
      await until(`both agents at ${port}`, async () => {
        return (await brokersAt(port)).toSorted().join() === [`${HOST}:${port}`, `${HOST}:${port + 1}`].join()
      })
      assert.deepStrictEqual(await consumed(port + 1, 2), ["one", "two"])
    }
    for (const port of portsOf(http)) {
      for (const path of ["/live", "/ready", "/metrics"]) assert.strictEqual(await httpStatus(port, path), 200, path)
    }
  })

  it("stops cleanly on Ctrl-C, however often one keypress is delivered, and has its data after the next start", async () => {
    const dir = temporaryDirectory()
    const first = await start(dir)
    await produce(first.kafka, "kept")
    const pids = [first.supervisorPid(), ...PLAYGROUND_REGIONS.map((_, region) => first.pidOf(region)!)]
    process.kill(first.supervisorPid(), "SIGINT")
    assert.strictEqual(await first.stop("SIGINT"), 0)
    assert.deepStrictEqual(pids.filter(isAlive), [], "no process is left")
    assert.isTrue(await areFree([...portsOf(first.kafka), ...portsOf(first.http)]), "no port is left")
    assert.deepStrictEqual(readdirSync(join(dir, "agents")), [], "no pid file is left")
    assert.isFalse(existsSync(join(dir, "playground.lock")), "no lock is left")
    const second = await start(dir)
    assert.deepStrictEqual(await consume(second.kafka + 200), ["kept"])
    assert.strictEqual(await second.stop("SIGTERM"), 0)
  })

  it("a second Ctrl-C does not wait for an agent that hangs", async () => {
    const playground = await start(temporaryDirectory())
    const { meridian } = playground
    const agents = PLAYGROUND_REGIONS.map((_, region) => playground.pidOf(region)!)
    process.kill(agents[0]!, "SIGSTOP")
    let exitCode: number | null | undefined
    void meridian.ended.then((ended) => (exitCode = ended.exitCode))
    // Those shortly after the first are one keypress with it.
    await until("ended", () => exitCode !== undefined || (meridian.child.kill("SIGINT"), false))
    assert.strictEqual(exitCode, 130)
    await until("agents ended", () => !agents.some(isAlive))
  })

  it("killed with all its agents, it starts again at once with everything that was acknowledged", async () => {
    const dir = temporaryDirectory()
    const first = await start(dir)
    await produce(first.kafka, "acknowledged")
    const agents = PLAYGROUND_REGIONS.map((_, region) => first.pidOf(region)!)
    for (const pid of [first.supervisorPid(), ...agents]) process.kill(pid, "SIGKILL")
    await first.meridian.ended
    const second = await start(dir)
    assert.deepStrictEqual(await consume(second.kafka + 100), ["acknowledged"])
  })

  it("killed alone, it takes its agents with it", async () => {
    const playground = await start(temporaryDirectory())
    const agents = PLAYGROUND_REGIONS.map((_, region) => playground.pidOf(region)!)
    process.kill(playground.supervisorPid(), "SIGKILL")
    await until("agents ended", () => !agents.some(isAlive))
  })

  it("a second playground on the same directory is refused, and the first goes on", async () => {
    const { dir, supervisorPid, kafka } = await start(temporaryDirectory())
    const base = await freeBase()
    const flags = ["--port-base", String(base), "--http-port-base", String(base + 25)]
    const { exitCode, stderr } = await startMeridian("playground", "--dir", dir, ...flags).ended
    assert.strictEqual(exitCode, 2)
    assert.include(stderr, `pid ${supervisorPid()}`)
    assert.lengthOf(await brokersAt(kafka), 1)
  })

  it("an agent that cannot have its port does not take the name of the one that has it", async () => {
    const playground = await start(temporaryDirectory(), "--no-restart")
    const { dir, kafka } = playground
    const running = playground.pidOf(0)!
    const who = ["--config", join(dir, "topology.yaml"), "--region", "us-east-1", "--name", "us-east-1-1"]
    const where = ["--host", HOST, "--port", String(kafka), "--http-port", String(kafka + 7)]
    const { exitCode, stderr } = await startMeridian("agent", ...who, ...where).ended
    assert.strictEqual(exitCode, 2)
    assert.include(stderr, `port ${kafka} is in use`)
    // Longer than the agent needs to notice that its name was taken.
    await pause(2_500)
    assert.isTrue(isAlive(running))
    await produce(kafka, "still here")
    assert.deepStrictEqual(await consumed(kafka, 1), ["still here"])
  })

  it("starts without a bucket that is gone, does not make it anew, and takes it back", async () => {
    const dir = temporaryDirectory()
    const first = await start(dir)
    await produce(first.kafka, "one")
    await first.stop()
    const bucket = join(dir, "buckets", "us-west-2")
    renameSync(bucket, `${bucket}.away`)
    const second = await start(dir)
    const { meridian, kafka, http } = second
    assert.match(meridian.output().stderr, /bucket cannot be opened.* bucket=us-west-2/)
    assert.isFalse(existsSync(bucket))
    await produce(kafka + 100, "two")
    assert.deepStrictEqual(await consumed(kafka + 200, 2), ["one", "two"])
    for (const port of portsOf(http)) assert.strictEqual(await httpStatus(port, "/ready"), 200)
    renameSync(`${bucket}.away`, bucket)
    await until("opened again", () => /bucket opened bucket=us-west-2/.test(meridian.output().stderr))
  })

  it("is not ready while too few buckets work, and says which", async () => {
    const dir = temporaryDirectory()
    const { http, kafka, stop } = await start(dir)
    for (const region of ["us-west-2", "eu-west-1"]) renameSync(join(dir, "buckets", region), join(dir, region))
    const text = await until("503", async () => {
      // Writes are what notices.
      await produce(kafka, "x").catch(() => {})
      const response = await fetch(`http://${HOST}:${http}/ready`)
      return response.status === 503 && (await response.text())
    })
    assert.include(text, "us-west-2")
    for (const region of ["us-west-2", "eu-west-1"]) renameSync(join(dir, region), join(dir, "buckets", region))
    await until("ready again", async () => (await httpStatus(http, "/ready")) === 200)
    assert.strictEqual(await stop(), 0)
  })

  // A producer may wait for as long as a command may take to settle, which is half of what a test has.
  const databaseRemovedMs = 2 * limits.commandSettleMs + 60_000
  it(
    "acknowledges nothing once its database was removed, begins no other, and goes on with the one restored",
    { timeout: databaseRemovedMs },
    async () => {
      const dir = temporaryDirectory()
      const first = await start(dir)
      const { meridian, kafka, http } = first
      await produce(kafka, "kept")
      const database = readdirSync(dir).filter((name) => name.startsWith("metadata.db"))
      const backup = join(dir, "backup")
      mkdirSync(backup)
      for (const name of database) {
        cpSync(join(dir, name), join(backup, name))
        rmSync(join(dir, name))
      }
      const refused = await Promise.all(
        portsOf(kafka).map((port) =>
          produce(port, "lost").then(
            () => false,
            () => true
          )
        )
      )
      assert.deepStrictEqual(refused, [true, true, true], "no agent acknowledges")
      for (const port of portsOf(http)) {
        await until("503", async () => (await httpStatus(port, "/ready")) === 503)
      }
      for (const region of PLAYGROUND_REGIONS) {
        const told = meridian
          .output()
          .stderr.match(new RegExp(`${region}-1 .* error the metadata database is lost`, "g"))
        assert.lengthOf(told ?? [], 1, `${region} says it once`)
      }
      process.kill(first.pidOf(1)!, "SIGKILL")
      await until("refused", () =>
        /us-west-2-1 ended with exit code 2: .*metadata\.db does not exist, but these buckets hold segments/.test(
          meridian.output().stderr
        )
      )
      assert.strictEqual(await first.stop(), 0)
      const base = await freeBase()
      const flags = ["--port-base", String(base), "--http-port-base", String(base + 25)]
      const { exitCode, stderr } = await startMeridian("playground", "--dir", dir, ...flags).ended
      assert.strictEqual(exitCode, 2)
      assert.match(
        stderr,
        /^meridian: .*does not exist, but .*: us-east-1, us-west-2, eu-west-1; restore the database/m
      )
      assert.isFalse(existsSync(join(dir, "metadata.db")))
      for (const name of database) if (!name.endsWith("-shm")) cpSync(join(backup, name), join(dir, name))
      const second = await start(dir)
      assert.deepStrictEqual(await consume(second.kafka + 200), ["kept"])
    }
  )

  it("with --log-format json everything on standard error is JSON with region and agent", async () => {
    const { meridian, stop } = await start(temporaryDirectory(), "--log-format", "json")
    assert.strictEqual(await stop(), 0)
    const lines = meridian.output().stderr.trimEnd().split("\n")
    assert.isAtLeast(lines.length, PLAYGROUND_REGIONS.length)
    for (const line of lines) assert.containsAllKeys(JSON.parse(line), ["time", "level", "event", "region", "agent"])
  })
})
