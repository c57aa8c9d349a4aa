/**
 * Goal: a produced batch meets the verdict that a real Kafka broker gave, and what we store of it is what it stored.
 * Method: each case of broker-verdicts.json (captured from Apache Kafka 4.3.1) goes through validateProduced with the
 * topic's rules and the capture's clock. Where we mean to differ, the case stands in DELIBERATE with our answer.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { errorCodes } from "#core/protocol/error-codes.ts"
import * as batchHeader from "#core/records/batch-header.ts"
import { RecordCursor } from "#core/records/record-cursor.ts"
import { stampBatch } from "#core/records/stamp-batch.ts"
import { type BatchRules, validateProduced } from "#core/records/validate-batch.ts"

interface Verdict {
  readonly name: string
  readonly config: Readonly<Record<string, string>>
  readonly apiVersion: number
  readonly records: string | null
  readonly errorCode: number
  readonly baseOffset: number
  readonly logAppendTimeMs: number
  readonly recordErrors: ReadonlyArray<{ readonly batchIndex: number; readonly message: string }> | null
  readonly stored: string | null
}

const golden = JSON.parse(
  readFileSync(new URL("../../goldens/records/broker-verdicts.json", import.meta.url), "utf8")
) as { readonly nowMs: number; readonly verdicts: ReadonlyArray<Verdict> }

const { INVALID_PRODUCER_EPOCH, INVALID_RECORD, UNKNOWN_SERVER_ERROR } = errorCodes

const SKIPPED = "Kafka does not look at lengths inside compressed records; its consumers then fail on them"
const OFFSETS = "offsets must be countable; Kafka keeps wrong ones, or fails on its own exception where compressed"

/** Cases, by the beginning of their names, where our answer is another one than Kafka's, and why. */
const DELIBERATE: ReadonlyArray<readonly [nameStart: string, errorCode: number, why: string]> = [
  ["batch length 2147483647", INVALID_RECORD, "Kafka's size overflows"],
  ["control and transactional bits", INVALID_RECORD, "Kafka asks for the transactional id first: the request's matter"],
  ["producer with epoch -1", INVALID_PRODUCER_EPOCH, "our log has -1 for no producer"],
  ["record: length one less, gzip", INVALID_RECORD, SKIPPED],
  ["record: length one less, lz4", INVALID_RECORD, SKIPPED],
  ["record: length one more, gzip", INVALID_RECORD, SKIPPED],
  ["record: length one more, lz4", INVALID_RECORD, SKIPPED],
  ["record: length 0, gzip", INVALID_RECORD, SKIPPED],
  ["record: length 0, lz4", INVALID_RECORD, SKIPPED],
  ["record: length -1, gzip", INVALID_RECORD, SKIPPED],
  ["record: length -1, lz4", INVALID_RECORD, SKIPPED],
  ["record: length 2^31-1, gzip", INVALID_RECORD, SKIPPED],
  ["record: length 2^31-1, lz4", INVALID_RECORD, SKIPPED],
  ["record: length of 6 bytes, none", INVALID_RECORD, "Kafka fails on its own exception"],
  ["record: offset delta", INVALID_RECORD, OFFSETS],
  ["offset delta 1 into", INVALID_RECORD, OFFSETS],
  ["compressed: gzip followed by 4 bytes", UNKNOWN_SERVER_ERROR, "what clients without Java refuse"]
]

const rulesOf = (verdict: Verdict): BatchRules => {
  const config = verdict.config
  return {
    apiVersion: verdict.apiVersion,
    maxBytes: Number(config["max.message.bytes"] ?? 1_048_588),
    isCompacted: config["cleanup.policy"] === "compact",
    timestampType: config["message.timestamp.type"] === "LogAppendTime" ? "append" : "create",
    timestampBeforeMaxMs: Number(config["message.timestamp.before.max.ms"] ?? Number.MAX_SAFE_INTEGER),
    timestampAfterMaxMs: Number(config["message.timestamp.after.max.ms"] ?? 3_600_000),
    nowMs: golden.nowMs,
    compressionType: (config["compression.type"] ?? "producer") as BatchRules["compressionType"],
    uncompressedBytesMax: 1_000_000
  }
}

const deliberate = (name: string) => DELIBERATE.find(([start]) => name.startsWith(start))

describe("verdicts of a real broker", () => {
  for (const verdict of golden.verdicts) {
    const other = deliberate(verdict.name)
    const expected = other?.[1] ?? verdict.errorCode
    it(`${verdict.name}: ${expected}`, () => {
      const records = verdict.records === null ? null : Buffer.from(verdict.records, "hex")
      const before = records === null ? null : Buffer.from(records)
      const result = validateProduced(records, rulesOf(verdict))
      assert.strictEqual(result.ok ? 0 : result.errorCode, expected, result.ok ? "accepted" : result.message)
      if (other !== undefined) assert.notStrictEqual(verdict.errorCode, expected, "no longer a difference")
      if (result.ok) assertStoredAsBroker(result.batch, verdict)
      else {
        assert.deepEqual(records, before, "refused bytes stay as they were")
        assert.notStrictEqual(result.message, "")
        if (other === undefined && verdict.recordErrors !== null) {
          const indexes = (errors: ReadonlyArray<{ readonly batchIndex: number }>) => errors.map((e) => e.batchIndex)
          assert.deepEqual(indexes(result.recordErrors), indexes(verdict.recordErrors))
        }
      }
    })
  }

  it("every deliberate difference names a case", () => {
    for (const [start] of DELIBERATE) {
      assert.isTrue(
        golden.verdicts.some((verdict) => verdict.name.startsWith(start)),
        start
      )
    }
  })
})

/** As it would be served: stamped with what the broker assigned. A re-compressed block may differ, its records not. */
const assertStoredAsBroker = (accepted: Buffer, verdict: Verdict): void => {
  const stored = Buffer.from(verdict.stored!, "hex")
  const batch = Buffer.from(accepted)
  const appendTime = verdict.logAppendTimeMs >= 0 ? { appendTimeMs: verdict.logAppendTimeMs } : {}
  stampBatch(batch, 0, { baseOffset: verdict.baseOffset, leaderEpoch: 0, ...appendTime })
  assert.strictEqual(batchHeader.computeCrc(batch, 0), batchHeader.crc(batch, 0), "crc")
  if (verdict.config["compression.type"] === undefined) {
    assert.strictEqual(batch.toString("hex"), stored.toString("hex"))
    return
  }
  assert.strictEqual(batchHeader.attributes(batch, 0), batchHeader.attributes(stored, 0), "attributes")
  assert.strictEqual(batchHeader.maxTimestamp(batch, 0), batchHeader.maxTimestamp(stored, 0), "maxTimestamp")
  assert.deepEqual(recordsOf(batch), recordsOf(stored))
}

const recordsOf = (batch: Buffer) => {
  const cursor = new RecordCursor()
  const found = []
  cursor.open(batch)
  while (cursor.next()) {
    found.push([cursor.offset, cursor.timestamp, cursor.key(), cursor.value(), cursor.headers()])
  }
  return found
}
