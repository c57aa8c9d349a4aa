/**
 * Writes librdkafka.json: the batches that a real client left in topics of a real Kafka broker, by topic.
 *
 *   node test/goldens/records/capture-fetched.ts 127.0.0.1:PORT TOPIC… > test/goldens/records/librdkafka.json
 */
import { connect, fetchBatches } from "./broker-connection.ts"

const [address = "", ...topics] = process.argv.slice(2)
const [host = "", port] = address.split(":")
const connection = await connect(host, Number(port))
const lines: Array<string> = []
for (const topic of topics) {
  const batches = await fetchBatches(connection, topic, 0)
  lines.push(`${JSON.stringify(topic)}: ${JSON.stringify(batches.map((batch) => batch.toString("hex")))}`)
}
connection.end()
process.stdout.write(`{\n${lines.join(",\n")}\n}\n`)
