/** An agent whose metadata is on a database server: it waits for it and says why, and goes on by itself after it was killed. */
import { strict as assert } from "node:assert"
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { start, stop, waitUntil } from "../peers/child-process.ts"
import {
  databaseUrl,
  freePort,
  POSTGRES_PASSWORD,
  type PostgresServerProcess,
  sql,
  startPostgres
} from "../peers/postgres/postgres.ts"
import { build, bundle } from "./harness.ts"
import { metadata } from "./metadata-command.ts"
import { type Context, type SystemTest } from "./system-test.ts"

const readyDeadlineMs = 30_000

async function withServer(context: Context, use: (server: PostgresServerProcess) => Promise<void>): Promise<void> {
  const server = await startPostgres({ logFile: join(context.dir, "postgresql.log") })
  try {
    await use(server)
  } finally {
    await server.stop()
  }
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
