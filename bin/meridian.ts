/**
 * The command line: parses, starts a command, and turns its end into an exit code.
 *
 * What commands need is imported when they run, because `--version` and `--help` should not wait for it. A mistake of
 * the caller's (flags, files, ports) is one line on standard error and exit code 2, a failure 1, a stop that was asked
 * for (signal, or the starting process gone) 0 for programs that run until then.
 */
import { readFileSync } from "node:fs"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Effect, Exit, Option } from "effect"
import { Argument, CliConfig, CliError, CliOutput, Command, Flag, GlobalFlag } from "effect/cli"
import { limits } from "#core/model/limits.ts"
import { CommandFailed } from "./command-failed.ts"
import { endProcess } from "./process-end.ts"

const version = (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string })
  .version

/** Whether the running command is one that runs until it is stopped. */
let runsUntilStopped = false

/** Imports the command's module and runs it. */
const lazily = <Module>(
  load: () => Promise<Module>,
  run: (module: Module) => Effect.Effect<void, CommandFailed>
): Effect.Effect<void, CommandFailed> =>
  Effect.flatMap(
    Effect.promise(() => {
      // Costs start-up time, which only matters before this point; a stack trace from here on names source lines.
      process.setSourceMapsEnabled(true)
      return load()
    }),
    run
  )

const untilStopped = <E>(effect: Effect.Effect<void, E>): Effect.Effect<void, E> =>
  Effect.suspend(() => {
    runsUntilStopped = true
    return effect
  })

const PORT_MAX = 65_535

const port = (name: string) =>
  Flag.Int(name).pipe(
    Flag.filter(
      (value) => value >= 1 && value <= PORT_MAX,
      () => `a port from 1 to ${PORT_MAX}`
    )
  )

const logFormat = Flag.Literals("log-format", ["pretty", "json"]).pipe(
  Flag.withDefault("pretty"),
  Flag.withDescription("How log events are written to standard error (default pretty)")
)

/** As the agents' flag has it. */
const logLevel = Effect.map(GlobalFlag.LogLevel, (level) => Option.getOrElse(level, () => "Info" as const))

const playground = Command.make(
  "playground",
  {
    dir: Flag.String("dir").pipe(
      Flag.withDefault(".meridian/playground"),
      Flag.withDescription("Where it keeps its data (default .meridian/playground)")
    ),
    metadata: Flag.String("metadata").pipe(
      Flag.optional,
      Flag.withDescription(
        "Database server to work with (postgres://…; default: a SQLite file in the directory); the directory remembers it"
      )
    ),
    portBase: port("port-base").pipe(
      Flag.withDefault(9092),
      Flag.withDescription(
        "Kafka port of the first region (default 9092); the others follow at +100 and +200, the agents' own ports at +50"
      )
    ),
    httpPortBase: port("http-port-base").pipe(
      Flag.withDefault(8080),
      Flag.withDescription("HTTP port of the first region (default 8080); the others follow at +100 and +200")
    ),
    agentsPerRegion: Flag.Int("agents-per-region").pipe(
      Flag.filter(
        (value) => value >= 1 && value <= limits.playgroundAgentsPerRegionMax,
        () => `a number from 1 to ${limits.playgroundAgentsPerRegionMax}`
      ),
      Flag.withDefault(1),
      Flag.withDescription("Agents of each region (default 1), on the ports after its first")
    ),
    noRestart: Flag.Boolean("no-restart").pipe(
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Leave an agent that died dead")
    ),
    logFormat
  },
  Effect.fnUntraced(function* ({ noRestart, metadata, ...options }) {
    const level = yield* logLevel
    yield* untilStopped(
      lazily(
        () => import("./playground.ts"),
        (module) =>
          module.run({ ...options, metadata: Option.getOrUndefined(metadata), restart: !noRestart, logLevel: level })
      )
    )
  })
).pipe(
  Command.withDescription("Three regions on this machine: agents, buckets and database, to try Meridian"),
  Command.withExamples([
    { command: "meridian playground", description: "Kafka on 9092, 9192 and 9292, data in .meridian/playground" }
  ])
)

const config = Flag.String("config").pipe(Flag.withDescription("Topology file, the same for all agents"))

const agent = Command.make(
  "agent",
  {
    config,
    region: Flag.String("region").pipe(Flag.withDescription("Region of the topology in which this agent runs")),
    zone: Flag.String("zone").pipe(Flag.optional, Flag.withDescription("Zone of the region (default: its first)")),
    name: Flag.String("name").pipe(
      Flag.optional,
      Flag.withDescription("Stable name; its broker id follows it (default: host name and port)")
    ),
    host: Flag.String("host").pipe(
      Flag.withDefault("0.0.0.0"),
      Flag.withDescription("Address to listen on for Kafka clients (default 0.0.0.0)")
    ),
    port: port("port").pipe(Flag.withDefault(9092), Flag.withDescription("Port for Kafka clients (default 9092)")),
    advertisedHost: Flag.String("advertised-host").pipe(
      Flag.optional,
      Flag.withDescription("Address that clients are told (default: --host, or the host's name where that is 0.0.0.0)")
    ),
    peerHost: Flag.String("peer-host").pipe(
      Flag.optional,
      Flag.withDescription("Address to listen on for other agents (default: --host)")
    ),
    peerPort: port("peer-port").pipe(
      Flag.withDefault(7092),
      Flag.withDescription("Port for other agents (default 7092)")
    ),
    advertisedPeerHost: Flag.String("advertised-peer-host").pipe(
      Flag.optional,
      Flag.withDescription("Address that other agents are told (default: as clients are told)")
    ),
    httpHost: Flag.String("http-host").pipe(
      Flag.optional,
      Flag.withDescription("Address for /live, /ready and /metrics (default: --host)")
    ),
    httpPort: port("http-port").pipe(
      Flag.withDefault(8080),
      Flag.withDescription("Port for /live, /ready and /metrics (default 8080)")
    ),
    logFormat,
    supervised: Flag.Boolean("supervised").pipe(Flag.withoutNegation, Flag.withDefault(false), Flag.withHidden)
  },
  (options) =>
    untilStopped(
      lazily(
        () => import("./agent-main.ts"),
        (module) =>
          module.run({
            ...options,
            zone: Option.getOrUndefined(options.zone),
            name: Option.getOrUndefined(options.name),
            advertisedHost: Option.getOrUndefined(options.advertisedHost),
            peerHost: Option.getOrUndefined(options.peerHost),
            advertisedPeerHost: Option.getOrUndefined(options.advertisedPeerHost),
            httpHost: Option.getOrUndefined(options.httpHost),
            version
          })
      )
    )
).pipe(Command.withDescription("One agent: a Kafka broker that keeps no state of its own"))

const segmentInspect = Command.make(
  "inspect",
  {
    file: Argument.String("file").pipe(Argument.withDescription("A segment, as it lies in a bucket")),
    records: Flag.Boolean("records").pipe(
      Flag.withoutNegation,
      Flag.withDefault(false),
      Flag.withDescription("Show every record")
    ),
    json: Flag.Boolean("json").pipe(Flag.withoutNegation, Flag.withDefault(false), Flag.withDescription("As JSON"))
  },
  (options) =>
    lazily(
      () => import("./segment-inspect.ts"),
      (module) => module.run(options)
    )
).pipe(Command.withDescription("Shows what a segment holds, and checks it"))

const segment = Command.make("segment").pipe(
  Command.withDescription("Segments: the objects that hold the records"),
  Command.withSubcommands([segmentInspect])
)

const topologyCheck = Command.make(
  "check",
  { file: Argument.String("file").pipe(Argument.withDescription("The topology file")) },
  ({ file }) =>
    lazily(
      () => import("./topology-file.ts"),
      (module) => module.check(file)
    )
).pipe(Command.withDescription("Checks a topology file and says everything that is wrong with it"))

const topology = Command.make("topology").pipe(
  Command.withDescription("The file that describes regions, buckets and database"),
  Command.withSubcommands([topologyCheck])
)

const metadataCommand = (name: "migrate" | "status" | "check", description: string) =>
  Command.make(name, { config }, (flags) =>
    lazily(
      () => import("./metadata.ts"),
      (module) => module[name](flags.config)
    )
  ).pipe(Command.withDescription(description))

const metadataSql = Command.make(
  "sql",
  {
    dialect: Flag.Literals("dialect", ["postgres", "cockroachdb"]).pipe(
      Flag.withDescription("Kind of server that the statements are for")
    ),
    topology: Flag.String("topology").pipe(
      Flag.optional,
      Flag.withDescription(
        "Topology file whose regions stand in statements for CockroachDB (default: the playground's)"
      )
    )
  },
  (flags) =>
    lazily(
      () => import("./metadata.ts"),
      (module) => module.sql(flags.dialect, Option.getOrUndefined(flags.topology))
    )
).pipe(Command.withDescription("Every statement that Meridian can send, each ended by a semicolon at a line's end"))

const metadata = Command.make("metadata").pipe(
  Command.withDescription("The metadata database: tables, state, health"),
  Command.withSubcommands([
    metadataCommand("migrate", "Makes the tables, or brings them up to date"),
    metadataCommand("status", "Shards: holder, epoch, rows, checkpoint, lag; live agents"),
    metadataCommand(
      "check",
      "Connects and looks at versions, rights, schema, clock, latency; exit code 2 says why not"
    ),
    metadataSql
  ])
)

const bucketsCheck = Command.make("check", { config }, (flags) =>
  lazily(
    () => import("./buckets-check.ts"),
    (module) => module.check(flags.config)
  )
).pipe(
  Command.withDescription(
    "Tries every operation on every bucket of the topology; exit code 1 and fixes where one fails"
  )
)

const buckets = Command.make("buckets").pipe(
  Command.withDescription("The buckets that segments are written to"),
  Command.withSubcommands([bucketsCheck])
)

const bench = Command.make("bench", { args: Argument.String("benchmark").pipe(Argument.variadic()) }, ({ args }) =>
  lazily(
    () => import("./bench.ts"),
    (module) => module.run(args)
  )
).pipe(Command.withDescription("Benchmarks; needs a clone of the repository"))

const meridian = Command.make("meridian").pipe(
  Command.withDescription("Kafka-compatible streaming on object storage, active in several regions"),
  Command.withSubcommands([playground, agent, segment, topology, buckets, metadata, bench])
)

/** Help as usual; a mistake in one line, because whoever made it is looking for what is wrong, not for a manual. */
const presenter: CliOutput.Presenter = {
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Effect.sync(() => complain(`${mistakesOf(event.errors)} (see: ${event.commandPath.join(" ")} --help)`))
      : CliOutput.defaultPresenter.present(event)
}

const mistakesOf = (errors: ReadonlyArray<CliError.NonShowHelpErrors>): string =>
  errors.map((error) => error.message.trim().replace(/\s*\n\s*/g, " ")).join("; ")

const complain = (message: string): void => {
  process.stderr.write(`meridian: ${message}\n`)
}

const exitCodeOf = (exit: Exit.Exit<void, unknown>): number => {
  if (Exit.isSuccess(exit)) return 0
  if (Cause.hasInterruptsOnly(exit.cause)) return runsUntilStopped ? 0 : 130
  const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
  if (error instanceof CommandFailed) {
    complain(error.message)
    return error.exitCode
  }
  if (CliError.isCliError(error)) return error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : 2
  complain(`this should not happen, please report it:\n${Cause.pretty(exit.cause)}`)
  return 1
}

const main = (): void => {
  const fiber = Effect.runFork(
    Command.runWith(meridian, { version })(process.argv.slice(2)).pipe(
      Effect.provide(NodeServices.layer),
      Effect.provideService(CliOutput.Presenter, presenter),
      Effect.provideService(CliConfig.CliConfig, {
        builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel]
      })
    )
  )
  let stoppedAtMs: number | undefined
  const stop = (): void => {
    const nowMs = performance.now()
    if (stoppedAtMs === undefined) {
      stoppedAtMs = nowMs
      fiber.interruptUnsafe(fiber.id)
    } else if (nowMs - stoppedAtMs > limits.signalRepeatMs) endProcess(130)
  }
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, stop)
  // Whoever started this process is gone, and asked with an IPC channel to end with it.
  process.on("disconnect", stop)
  process.channel?.unref()
  // `meridian … | head` is no error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => endProcess(error.code === "EPIPE" ? 0 : 1))
  fiber.addObserver((exit) => endProcess(exitCodeOf(exit)))
}

main()
