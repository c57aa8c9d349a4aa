/**
 * Agents whose metadata is on a database server: they wait for it and say why, go on by themselves after it was killed, and lose
 * nothing over that; and the commands that show an operator what there is.
 */
import { strict as assert } from "node:assert"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { delay, run, start, stop, waitUntil } from "../peers/child-process.ts"
import {
  databaseUrl,
  freePort,
  POSTGRES_PASSWORD,
  type PostgresServerProcess,
  sql,
  startPostgres
} from "../peers/postgres/postgres.ts"
import { build, bundle } from "./harness.ts"
import { flowing, judge, startStreams } from "./numbered-streams.ts"
import { type Context, type SystemTest } from "./system-test.ts"

const readyDeadlineMs = 30_000
const awayMs = 20_000
/** What was settled before the server died reaches its producer within this time, also on a busy machine. */
const onTheirWayMs = 3_000

async function withServer(context: Context, use: (server: PostgresServerProcess) => Promise<void>): Promise<void> {
  const server = await startPostgres({ logFile: join(context.dir, "postgresql.log") })
  try {
    await use(server)
  } finally {
    await server.stop()
  }
}

/** Runs `meridian metadata …` and gives what it says. */
async function metadata(
  args: readonly string[],
  exitCodes: readonly number[] = [0]
): Promise<{ readonly code: number | null; readonly text: string }> {
  const { code, stdout, stderr } = await run(process.execPath, [bundle, "metadata", ...args], {
    deadlineMs: 60_000,
    exitCodes
  })
  const text = stdout.toString() + stderr
  assert(!text.includes(POSTGRES_PASSWORD), "a password is shown")
  return { code, text }
}

export const agentWaits: SystemTest = {
  name: "database-agents: an agent waits for its database, and says why",
  needs: ["postgresql", "meridian"],
  deadlineMs: 180_000,
  run: async (context) =>
    await withServer(context, async (server) => {
      await build()
      const [kafkaPort, httpPort] = [await freePort(), await freePort()]
      mkdirSync(join(context.dir, "bucket"))
      const config = join(context.dir, "topology.yaml")
      writeFileSync(
        config,
        JSON.stringify({
          cluster: "waiting",
          regions: [{ name: "r1" }],
          buckets: [{ name: "b1", region: "r1", url: "file:bucket" }],
          metadata: { url: databaseUrl(server.url(), "later") }
        })
      )
      const flags = ["--config", config, "--region", "r1", "--host", "127.0.0.1"]
      flags.push("--port", String(kafkaPort), "--http-port", String(httpPort))
      const logFile = join(context.dir, "agent.log")
      const agent = start(process.execPath, [bundle, "agent", ...flags], { logFile })
      const http = async (path: string): Promise<{ readonly status: number; readonly text: string }> => {
        const answer = await fetch(`http://127.0.0.1:${httpPort}${path}`)
        return { status: answer.status, text: await answer.text() }
      }
      const notReady = async (reason: RegExp): Promise<void> => {
        await waitUntil(`/ready says ${reason}`, readyDeadlineMs, async () => {
          assert(agent.isRunning(), "the agent has ended")
          const { status, text } = await http("/ready").catch(() => ({ status: 0, text: "" }))
          return status === 503 && reason.test(text)
        })
        assert.equal((await http("/live")).status, 200)
      }
      const ready = async (): Promise<void> => {
        await waitUntil("/ready", readyDeadlineMs, async () => {
          assert(agent.isRunning(), "the agent has ended")
          return (await http("/ready")).status === 200
        })
      }
      try {
        await notReady(/the database \\"later\\" does not exist .*create it/)
        await sql(server.url(), "CREATE DATABASE later")
        await ready()
        const { pid } = agent
        await server.kill("SIGKILL")
        await notReady(/database has not answered/)
        await server.startAgain()
        await ready()
        assert.equal(agent.pid, pid)
        const { text } = await metadata(["status", "--config", config])
        assert.match(text, /cluster waiting, home region r1/)
        await server.kill("SIGKILL")
        const away = await metadata(["check", "--config", config], [2])
        assert.match(away.text, /cannot be used: nothing listens at/)
        await server.startAgain()
      } finally {
        await stop(agent)
      }
      const log = readFileSync(logFile, "utf8")
      assert(!log.includes(POSTGRES_PASSWORD), "the agent logs a password")
      const told = log.split("\n").filter((line) => line.includes("cannot be used yet"))
      assert.equal(told.length, 1, `one reason is told once:\n${told.join("\n")}`)
      context.say("not ready with the reason, ready when it is mended, and again after kill -9 of the server")
    })
}

export const databaseOutage: SystemTest = {
  name: "database-agents: the database server is killed under load",
  needs: ["postgresql", "kcat", "kafka", "confluent-kafka", "meridian"],
  deadlineMs: 500_000,
  run: async (context) =>
    await withServer(context, async (server) => {
      await sql(server.url(), "CREATE DATABASE playground")
      const cluster = await context.startCluster({ metadata: server.url("playground") })
      const streams = await startStreams(context, cluster)
      const pids = [0, 1, 2].flatMap((region) => cluster.pidsOf(region))
      for (const pauseMs of [0, awayMs]) {
        await server.kill("SIGKILL")
        const killedAtMs = Date.now()
        await delay(pauseMs)
        const startedAtMs = Date.now()
        await server.startAgain()
        await flowing(streams)
        for (const { topic, producer } of streams) {
          const during = producer.acknowledged.filter(({ atMs }) => atMs > killedAtMs && atMs < startedAtMs)
          const late = during.filter(({ atMs }) => atMs > killedAtMs + onTheirWayMs)
          assert.equal(late.length, 0, `${topic}: ${late.length} acknowledged without a database`)
          context.say(`${topic}: away for ${pauseMs / 1000} s, ${during.length} answers were on their way`)
        }
      }
      assert.deepEqual(
        [0, 1, 2].flatMap((region) => cluster.pidsOf(region)),
        pids,
        "no agent has ended over it"
      )
      await judge(context, cluster, streams, [0, 1, 2])
      const config = join(cluster.dir, "topology.yaml")
      const status = await metadata(["status", "--config", config])
      for (const line of status.text.trimEnd().split("\n")) context.say(line)
      // The shards come first, and name an agent too.
      const agents = status.text.slice(status.text.indexOf("clients"))
      assert.equal((agents.match(/^\d+ +\S+-1 +/gm) ?? []).length, 3, "three agents are alive")
      const check = await metadata(["check", "--config", config])
      assert.match(check.text, /can be used/)
      const migrate = await metadata(["migrate", "--config", config])
      assert.match(migrate.text, /nothing to do: schema version \d+/)
    })
}
