/**
 * Goal: a command and its answer reach another agent as they are, and nothing else is taken for one.
 * Method: a golden file pins the bytes of every kind; every cut, every changed byte, and lies behind a right checksum must
 * give an EntryError or something sound; random commands go round, and so do the judge's own answers to random histories.
 */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { assertCommand } from "#core/log/command-check.ts"
import { decodeAnswer, decodeCommand, encodeAnswer, encodeCommand } from "#core/log/command-bytes.ts"
import {
  type AnswerOf,
  type BatchAnswer,
  type BatchSummary,
  type Command,
  type CommitSegment,
  type CommitSegmentAnswer
} from "#core/log/command.ts"
import { EntryError } from "#core/log/entry-bytes.ts"
import { limits } from "#core/model/limits.ts"
import { crc32c } from "#core/records/crc32c.ts"
import {
  batchOf,
  commitOf,
  createTopicOf,
  foldWithTopic,
  idempotent,
  idOf,
  NOW_MS,
  randomOf,
  runOf,
  settle,
  TOPIC
} from "./log-builders.ts"

interface Example {
  readonly name: string
  readonly command: Command
  readonly answer: AnswerOf<Command>
}

const accepted = (baseOffset: number, appendTimeMs = -1): BatchAnswer => ({
  verdict: "accepted",
  baseOffset,
  appendTimeMs
})
const refused = (verdict: BatchAnswer["verdict"]): BatchAnswer => ({ verdict, baseOffset: -1, appendTimeMs: -1 })

const COMMIT = commitOf(
  7,
  [
    runOf([batchOf({ offsetCount: 10 }), idempotent(70_000, 3, 2_147_483_647), idempotent(1, 0, 5)]),
    runOf([batchOf({ maxTimestampMs: -1 })], { topicId: idOf("topic", 2), partition: 299, byteOffset: 1_000 }),
    runOf([batchOf({ offsetCount: 300 }), idempotent(1, 0, 6)], {
      topicId: idOf("topic", 1),
      partition: 4_000_000_000,
      byteOffset: 500,
      byteLength: 4_000_000_000,
      timestampType: "append"
    })
  ],
  {
    bucketSet: "größer",
    ackedBuckets: ["east", "", "west"],
    segmentBytes: 2 ** 40,
    blockOffsets: [0, 500, 4_000_000_000]
  }
)

const COMMIT_ANSWER: CommitSegmentAnswer = {
  runs: [
    [accepted(2 ** 40), { verdict: "duplicate", baseOffset: 12, appendTimeMs: NOW_MS - 1 }, accepted(2 ** 40 + 10)],
    [refused("unknownTopic")],
    [accepted(5, NOW_MS), refused("outOfOrderSequence")]
  ]
}

const OLD_DUPLICATE_ANSWER: CommitSegmentAnswer = {
  runs: COMMIT_ANSWER.runs.with(2, [accepted(5, NOW_MS), refused("duplicateWithoutOffset")])
}

const EXAMPLES: ReadonlyArray<Example> = [
  { name: "commit-segment", command: COMMIT, answer: COMMIT_ANSWER },
  {
    name: "create-topic",
    command: {
      ...createTopicOf("orders"),
      configs: [
        ["retention.ms", "-1"],
        ["meridian.note", "größer"]
      ]
    },
    answer: { result: "exists", topicId: idOf("topic", 4) }
  },
  {
    name: "delete-topic",
    command: { kind: "delete-topic", topicId: TOPIC, mayBeDone: true },
    answer: { result: "unknown" }
  },
  {
    name: "create-partitions",
    command: { kind: "create-partitions", topicId: TOPIC, partitions: 300, mayBeDone: false },
    answer: { result: "not-more", partitions: 301 }
  },
  { name: "allocate-producer-ids", command: { kind: "allocate-producer-ids" }, answer: { first: 5_000, count: 1_000 } },
  { name: "materialized", command: { kind: "materialized", throughSeq: 2 ** 45 }, answer: { result: "behind" } }
]

/** Lines of a name, `command` or `answer`, and hex. */
const golden = (): ReadonlyMap<string, string> => {
  const text = readFileSync(new URL("../../goldens/log/command-v1.hex", import.meta.url), "utf8")
  return new Map(
    text
      .trim()
      .split("\n")
      .map((line) => [line.slice(0, line.lastIndexOf(" ")), line.slice(line.lastIndexOf(" ") + 1)])
  )
}

/** The bytes with a checksum that matches, so that what lies behind it is looked at. */
const resealed = (bytes: Uint8Array): Buffer => {
  const copy = Buffer.from(bytes)
  copy.writeUInt32BE(crc32c(copy.subarray(0, -4)), copy.length - 4)
  return copy
}

/** These bytes, with a checksum behind them. */
const sealed = (...bytes: ReadonlyArray<number>): Buffer => resealed(Buffer.from([...bytes, 0, 0, 0, 0]))

const errorOf = (read: () => unknown): EntryError => {
  try {
    read()
  } catch (error) {
    assert.instanceOf(error, EntryError)
    return error
  }
  return assert.fail("it was taken")
}

const refusalOf = (bytes: Uint8Array): EntryError => errorOf(() => decodeCommand(bytes))

/** What is read is either refused, or sound and written as something that reads the same. */
const assertSoundOrRefused = (bytes: Buffer): void => {
  let command: Command
  try {
    command = decodeCommand(bytes)
  } catch (error) {
    assert.instanceOf(error, EntryError)
    assert.isAtMost(error.byteOffset, bytes.length)
    return
  }
  assertCommand(command)
  assert.deepEqual(decodeCommand(encodeCommand(command)), command)
}

const assertAnswerSoundOrRefused = (command: Command, bytes: Buffer): void => {
  let answer: AnswerOf<Command>
  try {
    answer = decodeAnswer(command, bytes)
  } catch (error) {
    assert.instanceOf(error, EntryError)
    assert.isAtMost(error.byteOffset, bytes.length)
    return
  }
  assert.deepEqual(decodeAnswer(command, encodeAnswer(command, answer)), answer)
}

describe("damaged commands and answers", () => {
  for (const { name, command, answer } of EXAMPLES) {
    it(`are refused wherever they are cut: ${name}`, () => {
      const [asked, answered] = [encodeCommand(command), encodeAnswer(command, answer)]
      for (let length = 0; length < asked.length; length += 1) {
        assert.match(refusalOf(asked.subarray(0, length)).message, /^command: /)
        if (length >= 5) refusalOf(resealed(asked.subarray(0, length)))
      }
      for (let length = 0; length < answered.length; length += 1) {
        const cut = answered.subarray(0, length)
        assert.match(errorOf(() => decodeAnswer(command, cut)).message, /^answer: /)
        if (length >= 5) errorOf(() => decodeAnswer(command, resealed(cut)))
      }
    })

    it(`are refused whichever byte is changed: ${name}`, () => {
      for (const change of [0x01, 0x10, 0x80, 0xff]) {
        for (const bytes of [encodeCommand(command), encodeAnswer(command, answer)]) {
          for (let index = 0; index < bytes.length; index += 1) {
            const damaged = Buffer.from(bytes)
            damaged[index] = damaged[index]! ^ change
            const expected = index === 0 ? /version \d+ is unknown/ : /checksum does not match/
            assert.match(refusalOf(damaged).message, expected)
            assert.match(errorOf(() => decodeAnswer(command, damaged)).message, expected)
          }
        }
      }
    })

    it(`are sound or refused, whichever byte lies behind a right checksum: ${name}`, () => {
      const [asked, answered] = [encodeCommand(command), encodeAnswer(command, answer)]
      for (let value = 0; value < 256; value += 1) {
        for (let index = 1; index < asked.length - 4; index += 1) {
          const lying = Buffer.from(asked)
          lying[index] = value
          assertSoundOrRefused(resealed(lying))
        }
        for (let index = 1; index < answered.length - 4; index += 1) {
          const lying = Buffer.from(answered)
          lying[index] = value
          assertAnswerSoundOrRefused(command, resealed(lying))
        }
      }
    })
  }

  it("are refused with what is unknown and where", () => {
    assert.match(refusalOf(sealed(1, 99)).message, /^command: kind 99 is unknown to this program at byte 2/)
    assert.match(refusalOf(sealed(2, 5)).message, /version 2 is unknown to this program at byte 0/)
    assert.match(refusalOf(sealed(1, 5, 0)).message, /1 bytes are left over at byte 2/)
    const deletion = encodeCommand({ kind: "delete-topic", topicId: TOPIC, mayBeDone: true }).subarray(0, -5)
    assert.match(refusalOf(sealed(...deletion, 2)).message, /flags 2 are unknown/)
    const answerOf = (...bytes: ReadonlyArray<number>) =>
      errorOf(() => decodeAnswer({ kind: "delete-topic", topicId: TOPIC, mayBeDone: true }, sealed(...bytes))).message
    assert.match(answerOf(1, 3, 2), /^answer: result 2 is unknown to this program/)
    assert.match(answerOf(1, 4, 0, 0), /^answer: kind 4 is no answer to delete-topic/)
    assert.match(answerOf(1, 3, 0, 0), /1 bytes are left over/)
  })

  it("are refused where a count or a length is false, before anything is reserved for it", () => {
    const head = [1, 1, ...Buffer.from(idOf("segment", 1), "hex"), 5]
    const huge = [0xff, 0xff, 0xff, 0x7f]
    assert.match(refusalOf(sealed(...head, ...huge)).message, /bucket set is cut short/)
    assert.match(
      refusalOf(sealed(...head, 0, ...huge)).message,
      /acked buckets of 268435455 does not fit into the command/
    )
    assert.match(refusalOf(sealed(...head, 0, 0, 0, ...huge)).message, /block offsets of 268435455 does not fit/)
    assert.match(refusalOf(sealed(...head, 0, 0, 0, 0, ...huge)).message, /runs of 268435455 does not fit/)
    const run = [1, 0, ...Buffer.from(TOPIC, "hex"), 0, 0, 1, 0, 0, 0, 0, 0]
    assert.match(refusalOf(sealed(...head, 0, 0, 0, 0, ...run, ...huge)).message, /batches of 268435455 does not fit/)
    assert.match(
      refusalOf(sealed(...head, 0, 0, 0, 0, 1, 1, ...Array.from({ length: 20 }, () => 0))).message,
      /run's topic 1 is not one of 0/
    )
    const answered = (...bytes: ReadonlyArray<number>) => errorOf(() => decodeAnswer(COMMIT, sealed(1, 1, 0, ...bytes)))
    assert.match(answered(...huge).message, /runs of 268435455 does not fit into the answer/)
    assert.match(answered(3, 1, ...huge, 0, 0).message, /excluded batches of 268435455 does not fit/)
    assert.match(refusalOf(Buffer.alloc(limits.entryBytesMax + 1, 1)).message, /8388609 bytes are too many/)
  })

  it("are refused where text is no UTF-8", () => {
    const bytes = encodeCommand(createTopicOf("abc"))
    bytes[bytes.indexOf("abc")] = 0xff
    assert.match(refusalOf(resealed(bytes)).message, /topic name is not UTF-8/)
  })

  it("are refused where they are whole and unsound, with what is wrong", () => {
    // encodeCommand would refuse them too: so a sound one is changed.
    const grown = encodeCommand({ kind: "create-partitions", topicId: TOPIC, partitions: 1, mayBeDone: false })
    grown[2 + 16] = 0
    assert.match(refusalOf(resealed(grown)).message, /^command: partitions must be 1 to 10000, got 0 at byte/)
    const created = encodeCommand(createTopicOf("x"))
    const nameless = Buffer.concat([created.subarray(0, 18), Buffer.from([0]), created.subarray(20)])
    assert.match(refusalOf(resealed(nameless)).message, /a topic needs a name/)
  })

  it("are a programmer's error where an unsound command is to be sent", () => {
    const unsound: Command = { kind: "create-partitions", topicId: TOPIC, partitions: 0, mayBeDone: false }
    assert.throws(() => encodeCommand(unsound), /partitions must be 1 to/)
    assert.throws(() => encodeCommand({ kind: "materialized", throughSeq: -1 }), /throughSeq/)
  })
})

describe("answers that do not fit the command", () => {
  const misfit = (command: Command, answer: AnswerOf<Command>): string =>
    errorOf(() => encodeAnswer(command, answer)).message

  it("are not written", () => {
    const { runs } = COMMIT_ANSWER
    const unfitting: ReadonlyArray<readonly [runs: CommitSegmentAnswer["runs"], message: RegExp]> = [
      [runs.slice(1), /2 runs where 3 were asked/],
      [[...runs, []], /4 runs where 3 were asked/],
      [[runs[0]!.slice(1), runs[1]!, runs[2]!], /run 0: the batches are others/],
      [[runs[0]!, [...runs[1]!, ...runs[1]!], runs[2]!], /run 1: the batches are others/],
      [[runs[0]!.with(2, accepted(2 ** 40 + 11)), runs[1]!, runs[2]!], /run 0: the batches are others/],
      [[runs[0]!.with(0, accepted(2 ** 40, NOW_MS)), runs[1]!, runs[2]!], /run 0: the batches are others/],
      [[runs[0]!, runs[1]!, runs[2]!.with(0, accepted(5))], /without the time of its append/],
      [[runs[0]!, [{ ...refused("tooLate"), baseOffset: 3 }], runs[2]!], /offset 3 of a batch that is tooLate/],
      [[runs[0]!, [refused("duplicate")], runs[2]!], /offset -1 of a batch that is duplicate/],
      [
        [runs[0]!, [{ ...refused("duplicateWithoutOffset"), baseOffset: 3 }], runs[2]!],
        /offset 3 of a batch that is duplicateWithoutOffset/
      ]
    ]
    for (const [answer, message] of unfitting) assert.match(misfit(COMMIT, { runs: answer }), message)
    assert.match(misfit(createTopicOf("a", 1), { result: "created", topicId: idOf("topic", 2) }), /was created, not/)
    const grow: Command = { kind: "create-partitions", topicId: TOPIC, partitions: 3, mayBeDone: false }
    assert.match(misfit(grow, { result: "created", partitions: 4 }), /4 partitions where 3 were asked: created/)
    assert.match(misfit(grow, { result: "not-more", partitions: 2 }), /2 partitions where 3/)
    assert.match(misfit(grow, { result: "unknown", partitions: 2 }), /2 partitions where 3/)
    assert.match(misfit({ kind: "allocate-producer-ids" }, { first: 1, count: 0 }), /0 producer ids/)
  })

  it("are not read: that to another segment under the same id, to another topic, to another kind", () => {
    const bytes = encodeAnswer(COMMIT, COMMIT_ANSWER)
    const others: ReadonlyArray<readonly [command: CommitSegment, message: RegExp]> = [
      [{ ...COMMIT, runs: COMMIT.runs.slice(1) }, /3 runs where 2 were asked/],
      [
        { ...COMMIT, runs: COMMIT.runs.with(0, { ...COMMIT.runs[0]!, batches: [batchOf()] }) },
        /excluded batch 1 is not/
      ],
      [
        { ...COMMIT, runs: COMMIT.runs.with(1, { ...COMMIT.runs[1]!, batches: [batchOf(), batchOf()] }) },
        /without offsets/
      ],
      [{ ...COMMIT, runs: COMMIT.runs.with(2, { ...COMMIT.runs[2]!, timestampType: "create" }) }, /no batch carries/],
      [
        {
          ...COMMIT,
          runs: COMMIT.runs.with(2, { ...COMMIT.runs[2]!, batches: [batchOf(), idempotent(1, 0, 6)].slice(1) })
        },
        /excluded batch 1 is not/
      ]
    ]
    for (const [command, message] of others) assert.match(errorOf(() => decodeAnswer(command, bytes)).message, message)
    const created = encodeAnswer(createTopicOf("a", 1), { result: "created", topicId: idOf("topic", 1) })
    assert.match(errorOf(() => decodeAnswer(createTopicOf("a", 2), created)).message, /was created, not/)
    assert.match(errorOf(() => decodeAnswer({ kind: "allocate-producer-ids" }, created)).message, /kind 2 is no answer/)
  })

  it("are not read where offsets pass 2^53 - 1", () => {
    const command = commitOf(1, [runOf([batchOf({ offsetCount: 2 })])])
    const largest = encodeAnswer(command, { runs: [[accepted(Number.MAX_SAFE_INTEGER - 2)]] })
    assert.deepEqual(decodeAnswer(command, largest).runs, [[accepted(Number.MAX_SAFE_INTEGER - 2)]])
    const longer = commitOf(1, [runOf([batchOf({ offsetCount: 3 })])])
    assert.match(errorOf(() => decodeAnswer(longer, largest)).message, /pass 2\^53 - 1/)
  })
})

describe("sound commands and answers", () => {
  it("read the golden bytes of version 1, and are written so still", () => {
    const hexByName = golden()
    assert.equal(hexByName.size, EXAMPLES.length * 2)
    for (const { name, command, answer } of EXAMPLES) {
      const [asked, answered] = [hexByName.get(`${name} command`)!, hexByName.get(`${name} answer`)!]
      assert.deepEqual(decodeCommand(Buffer.from(asked, "hex")), command, name)
      assert.equal(encodeCommand(command).toString("hex"), asked, name)
      assert.deepEqual(decodeAnswer(command, Buffer.from(answered, "hex")), answer, name)
      assert.equal(encodeAnswer(command, answer).toString("hex"), answered, name)
    }
  })

  it("are read inside a larger buffer", () => {
    for (const { command, answer } of EXAMPLES) {
      const around = (bytes: Buffer): Buffer =>
        Buffer.concat([Buffer.alloc(13, 1), bytes, Buffer.alloc(7, 2)]).subarray(13, 13 + bytes.length)
      assert.deepEqual(decodeCommand(around(encodeCommand(command))), command)
      assert.deepEqual(decodeAnswer(command, around(encodeAnswer(command, answer))), answer)
    }
  })

  it("take at most 22 bytes to ask and 6 to answer for a run of one idempotent batch", () => {
    const runs = Array.from({ length: 200 }, (_, partition) =>
      runOf([idempotent(4_321, 0, 100_000, 100)], { partition, byteOffset: partition * 20_000, byteLength: 20_000 })
    )
    const command = commitOf(1, runs)
    const answer = { runs: runs.map(() => [accepted(10_000_000)]) }
    const [none, noRuns] = [commitOf(1, []), { runs: [] }]
    assert.isAtMost((encodeCommand(command).length - encodeCommand(none).length) / runs.length, 22)
    assert.isAtMost((encodeAnswer(command, answer).length - encodeAnswer(none, noRuns).length) / runs.length, 6)
  })

  it("go round, for random commands", () => {
    const random = randomOf(20_261_124)
    for (let round = 0; round < 300; round += 1) {
      const command = randomCommand(random)
      assert.deepEqual(decodeCommand(encodeCommand(command)), command, `round ${round}`)
    }
  })

  it("go round where a batch is a duplicate of one that is not remembered", () => {
    assert.deepEqual(decodeAnswer(COMMIT, encodeAnswer(COMMIT, OLD_DUPLICATE_ANSWER)), OLD_DUPLICATE_ANSWER)
  })

  it("go round as the judge answers them, first and again, for random histories", () => {
    const random = randomOf(20_261_125)
    const verdicts = new Set<string>()
    for (let history = 0; history < 20; history += 1) {
      const fold = foldWithTopic()
      const asked: Array<Command> = []
      for (let entry = 0; entry < 15; entry += 1) {
        const commands = Array.from({ length: 1 + Math.floor(random() * 4) }, () =>
          asked.length > 0 && random() < 0.2 ? asked[Math.floor(random() * asked.length)]! : smallCommand(random)
        )
        asked.push(...commands)
        const answers = settle(fold, commands, NOW_MS + entry * 1_000)
        for (const [index, command] of commands.entries()) {
          const answer = answers[index]!
          const arrived = decodeCommand(encodeCommand(command))
          assert.deepEqual(decodeAnswer(arrived, encodeAnswer(arrived, answer)), answer)
          if ("runs" in answer) for (const batch of answer.runs.flat()) verdicts.add(batch.verdict)
          else if ("result" in answer) verdicts.add(`${command.kind} ${answer.result}`)
        }
      }
    }
    assert.includeMembers(
      [...verdicts],
      ["accepted", "duplicate", "outOfOrderSequence", "unknownTopic", "unknownPartition", "tooLate"].concat([
        "duplicateWithoutOffset",
        "create-topic created",
        "create-topic exists",
        "delete-topic deleted",
        "delete-topic unknown",
        "create-partitions created",
        "create-partitions not-more",
        "materialized materialized",
        "materialized behind"
      ])
    )
  })
})

const wholeOf =
  (random: () => number) =>
  (max: number): number =>
    Math.floor(random() * max)

/** Of any sound numbers, also the largest. */
const randomCommand = (random: () => number): Command => {
  const whole = wholeOf(random)
  const upTo = (max: number): number => (random() < 0.1 ? max : random() < 0.5 ? whole(Math.min(max, 300)) : whole(max))
  const text = (lengthMax: number): string =>
    Array.from({ length: whole(lengthMax) }, () => ["a", "-", "ö", "字", "🙂"][whole(5)]!).join("")
  const topicId = idOf("topic", whole(4))
  const configs = Array.from({ length: whole(4) }, () => [text(20), text(200)] as const)
  const mayBeDone = random() < 0.5
  const partitions = 1 + upTo(limits.partitionsPerTopicMax - 1)
  switch (whole(8)) {
    case 0:
      return { kind: "create-topic", topicId, name: `t${text(20)}`, partitions, configs }
    case 1:
      return { kind: "delete-topic", topicId, mayBeDone }
    case 2:
      return { kind: "create-partitions", topicId, partitions, mayBeDone }
    case 3:
      return { kind: "allocate-producer-ids" }
    case 4:
      return { kind: "materialized", throughSeq: upTo(Number.MAX_SAFE_INTEGER) }
    default: {
      const timeOf = (): number => (random() < 0.5 ? upTo(limits.timestampMsMax) : 0 - upTo(limits.timestampMsMax))
      const batch = (): BatchSummary => ({
        ...(random() < 0.5 ? batchOf() : idempotent(upTo(Number.MAX_SAFE_INTEGER - 1), upTo(0x7fff), upTo(0x7fffffff))),
        offsetCount: 1 + upTo(0x7ffffffe),
        maxTimestampMs: timeOf()
      })
      const runs = Array.from({ length: whole(6) }, () =>
        runOf(Array.from({ length: 1 + whole(4) }, batch), {
          topicId: idOf("topic", whole(3)),
          partition: upTo(0xffffffff),
          byteOffset: upTo(0xffffffff),
          byteLength: upTo(0xffffffff),
          crc: whole(2 ** 32),
          timestampType: random() < 0.5 ? "append" : "create"
        })
      )
      return commitOf(whole(1_000), runs, {
        createdAtMs: upTo(limits.timestampMsMax),
        bucketSet: text(20),
        ackedBuckets: Array.from({ length: whole(4) }, () => text(20)),
        segmentBytes: upTo(Number.MAX_SAFE_INTEGER),
        blockOffsets: Array.from({ length: whole(5) }, () => upTo(0xffffffff)).toSorted((a, b) => a - b)
      })
    }
  }
}

/** Few topics, partitions and producers, so that commands meet. */
const smallCommand = (random: () => number): Command => {
  const whole = wholeOf(random)
  const topicId = idOf("topic", 1 + whole(3))
  const mayBeDone = random() < 0.3
  const draw = random()
  if (draw < 0.1) return createTopicOf(`topic-${whole(2)}`, 1 + whole(4), 1 + whole(2))
  if (draw < 0.14) return { kind: "delete-topic", topicId, mayBeDone }
  if (draw < 0.2) return { kind: "create-partitions", topicId, partitions: 1 + whole(4), mayBeDone }
  if (draw < 0.25) return { kind: "allocate-producer-ids" }
  if (draw < 0.35) return { kind: "materialized", throughSeq: whole(20) }
  const batch = (): BatchSummary =>
    random() < 0.4 ? batchOf({ offsetCount: 1 + whole(9) }) : idempotent(whole(2), whole(2), whole(3), 1 + whole(2))
  const runs = Array.from({ length: 1 + whole(3) }, () =>
    runOf(Array.from({ length: 1 + whole(3) }, batch), {
      topicId,
      partition: whole(3),
      timestampType: random() < 0.5 ? "append" : "create"
    })
  )
  return commitOf(whole(10_000), runs, { createdAtMs: random() < 0.1 ? NOW_MS - 10 ** 9 : NOW_MS })
}
