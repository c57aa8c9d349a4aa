/**
 * Apache Kafka's jars and our own small Java programs, fetched and compiled once into the peer cache.
 *
 * Invariant: a folder of the cache is complete or absent (made aside, then renamed), and its name holds a hash of what
 * it was made from, so that a change of pom.xml or of a program never meets old jars or classes. It must not install
 * Java or Maven: it says that they are missing.
 */
import { createHash } from "node:crypto"
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs"
import { homedir } from "node:os"
import { basename, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { type Finished, isInstalled, run } from "../child-process.ts"

/** A Java program of this folder that runs from its single source file. */
export type JavaProgram = "AssignConsumerPerf" | "NumberedProducer"

const kit = dirname(fileURLToPath(import.meta.url))
/** Named in full: what Maven 3.8 takes by itself is older, and copies Maven's own jars too. */
const copyDependencies = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
const installDeadlineMs = 300_000
const javaMajorMin = 17

/** Where peers keep what they download: MERIDIAN_PEER_CACHE, or a folder of the user's cache. */
export function peerCache(): string {
  const folder = process.env["MERIDIAN_PEER_CACHE"] ?? join(homedir(), ".cache", "meridian-peers")
  mkdirSync(folder, { recursive: true })
  return folder
}

/** Why Apache Kafka cannot be used on this machine, in one sentence; undefined when it can. */
export async function kafkaMissing(): Promise<string | undefined> {
  return await javaMissing("javac")
}

/** Why programs of Maven Central cannot be fetched and run (`java`) or compiled against (`javac`). */
export async function javaMissing(tool: "java" | "javac"): Promise<string | undefined> {
  const kind = tool === "java" ? "Java" : "JDK"
  if (!isInstalled(tool, ["-version"])) return `Java is missing: install a ${kind} of version ${javaMajorMin} or newer`
  const { stdout, stderr } = await run(tool, ["-version"], { deadlineMs: 30_000 })
  const major = Number(/(?:javac|version) "?(\d+)/.exec(`${stdout.toString()}${stderr}`)?.[1] ?? 0)
  if (major < javaMajorMin) return `Java ${major} is too old: install a ${kind} of version ${javaMajorMin} or newer`
  if (!isInstalled("mvn", ["-v"])) return "Maven is missing: install Maven 3.8 or newer"
  return undefined
}

/** The folder of the jars; fetches them from Maven Central when they are not there yet. */
export async function installKafka(): Promise<string> {
  const pom = join(kit, "pom.xml")
  return await cached(`kafka-${hash([pom])}`, async (target) => {
    const args = ["-q", "-B", "-f", pom, copyDependencies, "-DincludeScope=runtime", `-DoutputDirectory=${target}`]
    await run("mvn", args, { deadlineMs: installDeadlineMs })
  })
}

/** The class path that runs one of our own programs. */
export async function installProgram(program: JavaProgram): Promise<string> {
  const source = join(kit, `${program}.java`)
  const jars = await installKafka()
  const classes = await cached(`${program}-${hash([source, join(kit, "pom.xml")])}`, async (target) => {
    await run("javac", ["-cp", `${jars}/*`, "-d", target, source], { deadlineMs: installDeadlineMs })
  })
  return `${classes}:${jars}/*`
}

/** Arguments of `java` for a main class; `heapMiB` bounds the process. */
export function javaArguments(classPath: string, heapMiB: number): string[] {
  const log = `-Dlog4j2.configurationFile=file:${join(kit, "log4j2.xml")}`
  // A JVM that is short of heap must end: one that stays up and serves nothing looks like a hang of the other side.
  return [`-Xmx${heapMiB}m`, "-XX:+ExitOnOutOfMemoryError", log, "-cp", classPath]
}

/** Unpacks one of Kafka's own jars: `kafka-clients` holds the message schemas. */
export async function unpackKafkaJar(artifact: string, target: string): Promise<void> {
  const jars = await installKafka()
  const version = /<kafka.version>([^<]*)</.exec(readFileSync(join(kit, "pom.xml"), "utf8"))?.[1] ?? ""
  const jar = join(jars, `${artifact}-${version}.jar`)
  if (!existsSync(jar)) throw new Error(`the jars of Apache Kafka hold no ${basename(jar)}: check apache-kafka/pom.xml`)
  mkdirSync(target, { recursive: true })
  await run("jar", ["xf", jar], { deadlineMs: 120_000, cwd: target })
}

export async function runJava(
  classPath: string,
  main: string,
  args: readonly string[],
  options: {
    readonly deadlineMs: number
    readonly input?: Buffer | string
    readonly heapMiB?: number
  }
): Promise<Finished> {
  return await run("java", [...javaArguments(classPath, options.heapMiB ?? 512), main, ...args], options)
}

function hash(files: readonly string[]): string {
  const digest = createHash("sha256")
  for (const file of files) digest.update(readFileSync(file))
  return digest.digest("hex").slice(0, 12)
}

/** The folder of that name in the cache; made whole or not at all where it is not there. */
export async function cached(name: string, make: (target: string) => Promise<void>): Promise<string> {
  const folder = join(peerCache(), name)
  if (existsSync(folder)) return folder
  const aside = mkdtempSync(`${folder}.`)
  try {
    await make(aside)
    renameSync(aside, folder)
  } catch (error) {
    rmSync(aside, { recursive: true, force: true })
    // Somebody else made the same folder meanwhile: theirs is as good.
    if (!existsSync(folder)) throw error
  }
  return folder
}
