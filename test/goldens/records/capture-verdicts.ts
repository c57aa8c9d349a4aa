/**
 * Writes broker-verdicts.json: sends each case of verdict-cases.ts to a real Kafka broker, as a Produce request made by
 * hand, and records the answer and, where it was accepted, the batch that a fetch then returns.
 *
 *   node test/goldens/records/capture-verdicts.ts 127.0.0.1:PORT > test/goldens/records/broker-verdicts.json
 *
 * The topics are those of `topics` in verdict-cases.ts and must exist, each with one partition (README.md).
 */
import { API_PRODUCE, connect, fetchBatches, int16, int32, type Reader, string } from "./broker-connection.ts"
import { topics, verdictCases, type VerdictCase } from "./verdict-cases.ts"

const main = async (address: string): Promise<void> => {
  const [host, port] = address.split(":")
  const connection = await connect(host!, Number(port))
  const nowMs = Date.now()
  const verdicts = []
  for (const each of verdictCases(nowMs)) {
    const answer = readProduceAnswer(each, await connection.ask(API_PRODUCE, each.apiVersion, produceRequest(each)))
    const isAccepted = answer.errorCode === 0
    const stored = isAccepted ? await fetchBatches(connection, each.topic, answer.baseOffset) : []
    verdicts.push({
      name: each.name,
      config: topics[each.topic],
      apiVersion: each.apiVersion,
      records: each.records?.toString("hex") ?? null,
      ...answer,
      stored: stored[0]?.toString("hex") ?? null
    })
  }
  connection.end()
  const lines = verdicts.map((verdict) => JSON.stringify(verdict)).join(",\n")
  process.stdout.write(`{"broker": "Apache Kafka 4.3.1", "nowMs": ${nowMs}, "verdicts": [\n${lines}\n]}\n`)
}

const produceRequest = (each: VerdictCase): Buffer =>
  Buffer.concat([
    string(null),
    int16(-1),
    int32(10_000),
    int32(1),
    string(each.topic),
    int32(1),
    int32(0),
    each.records === null ? int32(-1) : Buffer.concat([int32(each.records.length), each.records])
  ])

const readProduceAnswer = (each: VerdictCase, reader: Reader) => {
  reader.skip(4)
  reader.string()
  reader.skip(8)
  const errorCode = reader.int16()
  const baseOffset = reader.int64()
  const logAppendTimeMs = reader.int64()
  if (each.apiVersion >= 5) reader.skip(8)
  if (each.apiVersion < 8) return { errorCode, baseOffset, logAppendTimeMs, recordErrors: null, errorMessage: null }
  const recordErrors = []
  for (let rest = reader.int32(); rest > 0; rest--) {
    recordErrors.push({ batchIndex: reader.int32(), message: reader.string() })
  }
  return { errorCode, baseOffset, logAppendTimeMs, recordErrors, errorMessage: reader.string() }
}

await main(process.argv[2] ?? "127.0.0.1:9092")
