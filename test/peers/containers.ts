/** Servers in containers, where an engine answers. The library is loaded then only: it is large, and most runs need none. */

/** Which CockroachDB is tried; any that MERIDIAN_TEST_COCKROACHDB_IMAGE names. */
const image = process.env["MERIDIAN_TEST_COCKROACHDB_IMAGE"] ?? "cockroachdb/cockroach:v25.2.0"
const sqlPort = 26_257
const startDeadlineMs = 300_000

export async function containersMissing(): Promise<string | undefined> {
  const { getContainerRuntimeClient } = await import("testcontainers")
  try {
    await getContainerRuntimeClient()
    return undefined
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return `no container engine answers: ${why.split("\n")[0]}`
  }
}

export interface StartedContainer {
  readonly url: string
  readonly stop: () => Promise<void>
}

/** One node, in memory, without passwords. */
export async function startCockroachdbContainer(): Promise<StartedContainer> {
  const { GenericContainer, Wait } = await import("testcontainers")
  const container = await new GenericContainer(image)
    .withCommand(["start-single-node", "--insecure", "--store=type=mem,size=640MiB"])
    .withExposedPorts(sqlPort)
    .withWaitStrategy(Wait.forLogMessage(/CockroachDB node starting/))
    .withStartupTimeout(startDeadlineMs)
    .start()
  return {
    url: `postgres://root@${container.getHost()}:${container.getMappedPort(sqlPort)}/defaultdb?sslmode=disable`,
    stop: async () => {
      await container.stop()
    }
  }
}
