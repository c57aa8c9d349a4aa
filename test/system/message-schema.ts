/** Our message schema against the one inside Apache Kafka's own client jar: no difference that is not meant. */
import { strict as assert } from "node:assert"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { unpackKafkaJar } from "../peers/apache-kafka/installation.ts"
import { type SystemTest } from "./system-test.ts"

export const messageSchema: SystemTest = {
  name: "message schema: the same as in kafka-clients 4.3.1",
  needs: ["kafka"],
  deadlineMs: 300_000,
  run: async ({ dir }) => {
    await unpackKafkaJar("kafka-clients", dir)
    // Loaded late, so that a fault in there fails this test and not the whole run.
    const module = pathToFileURL(join(import.meta.dirname, "protocol-schema.ts")).href
    const { compareSchema } = (await import(module)) as { compareSchema: (dir: string) => string[] | Promise<string[]> }
    const differences = await compareSchema(join(dir, "common", "message"))
    assert.deepEqual(differences, [])
  }
}
