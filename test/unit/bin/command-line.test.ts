/**
 * Goal: whoever mistypes a command, flag or file gets one line that names the mistake, and exit code 2; nothing is
 * started. Method: the real program through bin/run.mjs.
 */
import { writeFileSync } from "node:fs"
import { createServer, type Server } from "node:net"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import { runMeridian } from "./meridian-process.ts"
import { temporaryDirectory } from "./temporary-directory.ts"

const assertRefused = async (args: ReadonlyArray<string>, ...parts: ReadonlyArray<RegExp | string>): Promise<void> => {
  const { exitCode, stdout, stderr } = await runMeridian(...args)
  assert.strictEqual(exitCode, 2, `meridian ${args.join(" ")}: ${stderr}`)
  assert.strictEqual(stdout, "", "nothing on standard output")
  const lines = stderr.trimEnd().split("\n")
  assert.lengthOf(lines, 1, stderr)
  assert.match(stderr, /^meridian: /)
  for (const part of parts) {
    if (typeof part === "string") assert.include(stderr, part)
    else assert.match(stderr, part)
  }
}

const listenAnywhere = (): Promise<Server> =>
  new Promise((resolve) => {
    const server = createServer()
    server.listen(0, "127.0.0.1", () => resolve(server))
  })

const portOf = (server: Server): number => {
  const address = server.address()
  return typeof address === "object" && address !== null ? address.port : assert.fail("no port")
}

describe.concurrent("mistakes on the command line", () => {
  it("an unknown command is named, with the nearest one", () =>
    assertRefused(["playgrund"], '"playgrund"', "playground"))
  it("an unknown flag is named", () => assertRefused(["playground", "--foo"], "--foo", "meridian playground --help"))
  it("a port that is no number", () => assertRefused(["playground", "--port-base", "x"], "--port-base", '"x"'))
  it("a port out of range", () => assertRefused(["playground", "--port-base", "70000"], "--port-base", "1 to 65535"))
  it("ports of the last region out of range", ({ onTestFinished }) =>
    assertRefused(
      ["playground", "--dir", temporaryDirectory(onTestFinished), "--port-base", "65500"],
      "--port-base",
      "65285"
    ))
  it("Kafka and HTTP on the same port", ({ onTestFinished }) =>
    assertRefused(
      ["playground", "--dir", temporaryDirectory(onTestFinished), "--port-base", "21000", "--http-port-base", "21100"],
      "21100",
      "--port-base",
      "--http-port-base"
    ))
  it("too many agents", () => assertRefused(["playground", "--agents-per-region", "0"], "--agents-per-region"))
  it("a missing flag is named", () => assertRefused(["agent", "--config", "x"], "--region"))
  it("a missing argument is named", () => assertRefused(["segment", "inspect"], "file"))
  it("a segment that is not there", () =>
    assertRefused(["segment", "inspect", "/nowhere/segment"], "/nowhere/segment", "no such file"))
  it("a topology file that is not there", () =>
    assertRefused(["agent", "--config", "/nowhere/t.yaml", "--region", "r"], "/nowhere/t.yaml", "no such file"))
  it("a database flag that names no server", ({ onTestFinished }) =>
    assertRefused(
      ["playground", "--dir", temporaryDirectory(onTestFinished), "--metadata", "mysql://a@b/c"],
      "--metadata",
      "postgres://"
    ))
  it("a dialect that is none", () =>
    assertRefused(["metadata", "sql", "--dialect", "mysql"], "--dialect", "cockroachdb"))
  it("a wrong log level", () => assertRefused(["playground", "--log-level", "loud"], "--log-level", '"loud"'))
})

const TOPOLOGY = `
cluster: test
regions: [{ name: r1, zones: [z1, z2] }]
buckets: [{ name: b1, region: r1, url: "memory:" }]
metadata: { url: "memory:" }
`

describe("a topology file", () => {
  const topologyFile = (text: string): string => {
    const file = join(temporaryDirectory(), "topology.yaml")
    writeFileSync(file, text)
    return file
  }

  it("with one wrong field: one line that names field, value and fix", () =>
    assertRefused(
      ["topology", "check", topologyFile(TOPOLOGY.replace("r1, url", "r9, url"))],
      "buckets[0].region",
      "r9"
    ))

  it("with several: all are listed", async () => {
    const { exitCode, stderr } = await runMeridian("topology", "check", topologyFile("cluster: 5\nregoins: []\n"))
    assert.strictEqual(exitCode, 2)
    for (const field of ["cluster", "regoins", "buckets", "metadata"]) assert.include(stderr, `${field}:`)
    assert.notMatch(stderr, /^ +at /m, "no stack trace")
  })

  it("that is sound is summed up, exit code 0", async () => {
    const { exitCode, stdout } = await runMeridian("topology", "check", topologyFile(TOPOLOGY))
    assert.strictEqual(exitCode, 0)
    assert.include(stdout, "1 region, 1 bucket; quorum writes 1 of 1")
  })

  it("that lacks the agent's region or zone", async () => {
    const file = topologyFile(TOPOLOGY)
    await assertRefused(["agent", "--config", file, "--region", "r2"], "--region", '"r2"', "r1")
    await assertRefused(["agent", "--config", file, "--region", "r1", "--zone", "z3"], "--zone", '"z3"', "z1")
  })
})

describe("metadata commands", () => {
  const topologyOn = (url: string): string => {
    const file = join(temporaryDirectory(), "topology.yaml")
    writeFileSync(file, TOPOLOGY.replace('metadata: { url: "memory:" }', `metadata: { url: "${url}" }`))
    return file
  }

  it("make nothing of a database that is not there, but for migrate", async () => {
    const file = topologyOn("sqlite:metadata.db")
    for (const command of ["status", "check"]) {
      await assertRefused(["metadata", command, "--config", file], "metadata.db does not exist")
    }
    const made = await runMeridian("metadata", "migrate", "--config", file)
    assert.strictEqual(made.exitCode, 0, made.stderr)
    const { exitCode, stdout } = await runMeridian("metadata", "status", "--config", file)
    assert.strictEqual(exitCode, 0)
    assert.match(stdout, /^cluster test, home region r1\n\nshard +holder/)
  })

  it("name a server that is away, with field and fix, exit code 2", async () => {
    const file = topologyOn("postgres://app:secret@127.0.0.1:1/x")
    const { exitCode, stdout, stderr } = await runMeridian("metadata", "check", "--config", file)
    assert.strictEqual(exitCode, 2)
    assert.match(stdout, /^metadata\.url: app@127\.0\.0\.1:1\/x\n {2}cannot be used: nothing listens/)
    assert.match(stderr, /nothing listens at 127\.0\.0\.1:1 \(metadata\.url\): start the database/)
    assert.notInclude(stdout + stderr, "secret")
    await assertRefused(["metadata", "status", "--config", file], "nothing listens at 127.0.0.1:1")
    await assertRefused(["metadata", "migrate", "--config", file], "nothing listens at 127.0.0.1:1")
  })

  it("print all statements, each ended by a semicolon at a line's end, with the topology's regions", async () => {
    const file = topologyOn("postgres://app@db/orders")
    const { exitCode, stdout } = await runMeridian("metadata", "sql", "--dialect", "cockroachdb", "--topology", file)
    assert.strictEqual(exitCode, 0)
    const statements = stdout.split(";\n")
    assert.strictEqual(statements.pop(), "")
    assert.isAbove(statements.length, 45)
    assert.include(statements, 'ALTER DATABASE "orders" PRIMARY REGION "r1"')
    assert.isTrue(statements.some((statement) => statement.startsWith("CREATE TABLE IF NOT EXISTS commit_log")))
    assert.isTrue(statements.some((statement) => statement.startsWith("INSERT INTO commit_log")))
    const postgres = await runMeridian("metadata", "sql", "--dialect", "postgres")
    assert.notInclude(postgres.stdout, "REGION")
  })
})

describe("ports in use", () => {
  it("the playground names port and flag, and starts nothing", async () => {
    const taken = await listenAnywhere()
    try {
      const dir = temporaryDirectory()
      // The first that is looked at: others may be taken by whatever runs beside this test.
      const port = portOf(taken)
      const base = port
      await assertRefused(
        ["playground", "--dir", dir, "--port-base", String(base), "--http-port-base", String(base + 1)],
        String(port),
        "--port-base"
      )
    } finally {
      taken.close()
    }
  })

  it("an agent names the port and the flag", async () => {
    const taken = await listenAnywhere()
    try {
      const file = join(temporaryDirectory(), "topology.yaml")
      writeFileSync(file, TOPOLOGY)
      const port = String(portOf(taken))
      const flags = ["agent", "--config", file, "--region", "r1", "--host", "127.0.0.1"]
      await assertRefused([...flags, "--port", "1", "--http-port", port], port, "--http-port")
      await assertRefused([...flags, "--port", port], port, "--port")
      await assertRefused([...flags, "--port", "1", "--peer-port", port], port, "--peer-port")
      await assertRefused([...flags, "--port", port, "--peer-port", port], port, "--peer-port")
    } finally {
      taken.close()
    }
  })
})

describe.concurrent("directories", () => {
  it("a file where the playground's directory should be", ({ onTestFinished }) => {
    const file = join(temporaryDirectory(onTestFinished), "file")
    writeFileSync(file, "")
    return assertRefused(["playground", "--dir", join(file, "x")], file, "--dir")
  })

  it("a directory that takes no entries", () =>
    assertRefused(["playground", "--dir", "/proc/meridian"], "/proc", "--dir"))
})

describe.concurrent("help", () => {
  it("--version prints the package's version, exit code 0", async () => {
    const { exitCode, stdout } = await runMeridian("--version")
    assert.strictEqual(exitCode, 0)
    assert.match(stdout, /^meridian v\d+\.\d+\.\d+\n$/)
  })

  it("--help lists the commands, exit code 0", async () => {
    const { exitCode, stdout } = await runMeridian("--help")
    assert.strictEqual(exitCode, 0)
    for (const command of ["playground", "agent", "segment", "topology", "bench"]) assert.include(stdout, command)
  })
})
