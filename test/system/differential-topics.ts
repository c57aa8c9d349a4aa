/** Differential replay: making, growing, describing and deleting topics, with everything that can be wrong about it. */
import { UUID_ZERO } from "#core/model/uuid.ts"
import { CreatePartitions } from "#core/protocol/api/37-create-partitions.ts"
import { CreateTopics } from "#core/protocol/api/19-create-topics.ts"
import { DeleteTopics } from "#core/protocol/api/20-delete-topics.ts"
import { DescribeConfigs } from "#core/protocol/api/32-describe-configs.ts"
import { Metadata } from "#core/protocol/api/03-metadata.ts"
import { type RequestInput } from "#core/protocol/schema.ts"
import { UNKNOWN_ID, versionsOf } from "./differential-cluster.ts"
import { type Side } from "./differential-side.ts"

type NewTopic = RequestInput<typeof CreateTopics>["topics"][number]

const timeoutMs = 30_000

export async function topicsScenario(side: Side): Promise<void> {
  await creation(side)
  await deletion(side)
  await growth(side)
  await configs(side)
}

async function creation(side: Side): Promise<void> {
  await side.createTopic("exists")
  await side.createTopic("with.dot")
  for (const version of versionsOf(CreateTopics)) {
    for (const validateOnly of [true, false]) {
      const how = validateOnly ? "validated" : "created"
      for (const [what, topics] of Object.entries(creations(side, `v${version}-${how}`))) {
        await side.ask(`${how}: ${what}`, CreateTopics, version, { topics, timeoutMs, validateOnly })
      }
    }
  }
}

/** Requests by what is asked. */
function creations(side: Side, suffix: string): Readonly<Record<string, ReadonlyArray<NewTopic>>> {
  const topic = (what: string, more: Partial<NewTopic> = {}): NewTopic => ({
    name: side.topic(`${what}-${suffix}`),
    numPartitions: 1,
    replicationFactor: 1,
    assignments: [],
    configs: [],
    ...more
  })
  const named = (name: string): NewTopic => topic("", { name })
  const withConfig = (what: string, name: string, value: string | null): NewTopic =>
    topic(what, { configs: [{ name, value }] })
  const assigned = (what: string, assignments: ReadonlyArray<readonly [number, ReadonlyArray<number>]>): NewTopic =>
    topic(what, {
      numPartitions: -1,
      replicationFactor: -1,
      assignments: assignments.map(([partitionIndex, brokerIds]) => ({ partitionIndex, brokerIds }))
    })
  const id = side.brokerId
  return {
    none: [],
    plain: [topic("plain", { numPartitions: 3 })],
    names: ["", ".", "..", "a b", "é", "x".repeat(250), "a/b"].map(named),
    "an existing one": [named(side.topic("exists"))],
    "a colliding one": [named(side.topic("with_dot"))],
    "the same twice": [topic("twice"), topic("twice", { numPartitions: 2 }), topic("once")],
    "an invalid one twice": [named("a b"), named("a b")],
    "default partitions": [topic("p-default", { numPartitions: -1 })],
    "default replicas": [topic("r-default", { replicationFactor: -1 })],
    "all defaults": [topic("defaults", { numPartitions: -1, replicationFactor: -1 })],
    "partition counts": [0, -2, -2_147_483_648].map((count) => topic(`p${count}`, { numPartitions: count })),
    "too many partitions": [topic("p-many", { numPartitions: 2_147_483_647 })],
    "replication factors": [0, -2, -32_768].map((count) => topic(`r${count}`, { replicationFactor: count })),
    "two replicas": [topic("r2", { replicationFactor: 2 })],
    "no partitions and no replicas": [topic("p0r0", { numPartitions: 0, replicationFactor: 0 })],
    assigned: [
      assigned("a-good", [
        [0, [id]],
        [1, [id]]
      ])
    ],
    "assigned, backwards": [
      assigned("a-back", [
        [1, [id]],
        [0, [id]]
      ])
    ],
    "assigned, with a gap": [
      assigned("a-gap", [
        [0, [id]],
        [2, [id]]
      ])
    ],
    "assigned, from 1": [assigned("a-one", [[1, [id]]])],
    "assigned, negative": [assigned("a-minus", [[-1, [id]]])],
    "assigned, the same twice": [
      assigned("a-same", [
        [0, [id]],
        [0, [id]]
      ])
    ],
    "assigned to nobody": [assigned("a-none", [[0, []]])],
    "assigned to a broker twice": [assigned("a-dup", [[0, [id, id]]])],
    "assigned to a negative broker": [assigned("a-neg", [[0, [-1]]])],
    "assigned to an unknown broker": [assigned("a-unknown", [[0, [id + 700]]])],
    "assigned to different numbers of brokers": [
      assigned("a-uneven", [
        [0, [id]],
        [1, []]
      ])
    ],
    "assigned, with a number of partitions": [{ ...assigned("a-np", [[0, [id]]]), numPartitions: 1 }],
    "assigned, with a replication factor": [{ ...assigned("a-rf", [[0, [id]]]), replicationFactor: 1 }],
    configs: [
      withConfig("c-good", "retention.ms", "1000"),
      withConfig("c-unknown", "retention.mz", "1000"),
      withConfig("c-text", "retention.ms", "abc"),
      withConfig("c-low", "retention.ms", "-2"),
      withConfig("c-empty", "retention.ms", ""),
      withConfig("c-null", "retention.ms", null),
      withConfig("c-noname", "", "1"),
      withConfig("c-spaces", "retention.ms", " 1000 "),
      withConfig("c-policy", "cleanup.policy", "compact,delete"),
      withConfig("c-nopolicy", "cleanup.policy", ""),
      withConfig("c-badpolicy", "cleanup.policy", "compact,keep"),
      withConfig("c-codec", "compression.type", "brotli"),
      withConfig("c-type", "message.timestamp.type", "logappendtime"),
      withConfig("c-bool", "preallocate", "TRUE"),
      withConfig("c-nobool", "preallocate", "yes"),
      withConfig("c-isr", "min.insync.replicas", "0"),
      withConfig("c-tier", "remote.storage.enable", "true")
    ],
    "two configs": [
      topic("c-two", {
        configs: [
          { name: "retention.ms", value: "5" },
          { name: "cleanup.policy", value: "compact" }
        ]
      }),
      topic("c-lags", {
        configs: [
          { name: "min.compaction.lag.ms", value: "10" },
          { name: "max.compaction.lag.ms", value: "5" }
        ]
      })
    ],
    "the same config twice": [
      topic("c-same", {
        configs: [
          { name: "retention.ms", value: "5" },
          { name: "retention.ms", value: "6" }
        ]
      })
    ],
    "good and bad together": [topic("good"), named("a b"), topic("bad", { numPartitions: 0 })]
  }
}

async function deletion(side: Side): Promise<void> {
  for (const version of versionsOf(DeleteTopics)) {
    const made = (name: string): string => `${name}-v${version}`
    await side.createTopic(made("gone"))
    const names = (what: string, ...list: ReadonlyArray<string>): Promise<void> =>
      side.ask(what, DeleteTopics, version, {
        ...(version >= 6 ? { topics: list.map((name) => ({ name, topicId: UUID_ZERO })) } : { topicNames: list }),
        timeoutMs
      })
    await names("of none")
    await names("by name", side.topic(made("gone")), side.topic("absent"))
    await side.forget(made("gone"))
    await names("by name again", side.topic(made("gone")))
    for (const name of ["", "a b", "x".repeat(250)]) await names(`of the name "${name.slice(0, 9)}"`, name)
    await side.createTopic(made("twice"))
    await names("by name twice", side.topic(made("twice")), side.topic(made("twice")))
    if (version >= 6) await deletionById(side)
  }
}

async function deletionById(side: Side): Promise<void> {
  const ask = (what: string, ...topics: ReadonlyArray<{ readonly name: string | null; readonly topicId: string }>) =>
    side.ask(what, DeleteTopics, 6, { topics, timeoutMs })
  for (const name of ["id-1", "id-2", "id-3", "id-4", "id-5"]) await side.createTopic(name)
  await ask("by id", { name: null, topicId: side.idOf("id-1") })
  await side.forget("id-1")
  await ask("by id again", { name: null, topicId: side.idOf("id-1") })
  await ask("by an unknown id", { name: null, topicId: UNKNOWN_ID })
  await ask("by neither", { name: null, topicId: UUID_ZERO })
  await ask("by both", { name: side.topic("id-2"), topicId: side.idOf("id-2") })
  await ask("by id twice", { name: null, topicId: side.idOf("id-3") }, { name: null, topicId: side.idOf("id-3") })
  const both = [
    { name: null, topicId: side.idOf("id-4") },
    { name: side.topic("id-4"), topicId: UUID_ZERO }
  ]
  await ask("by id and by name", ...both)
  await ask(
    "by id and another by name",
    { name: null, topicId: side.idOf("id-5") },
    { name: side.topic("no"), topicId: UUID_ZERO }
  )
}

async function growth(side: Side): Promise<void> {
  type Growth = RequestInput<typeof CreatePartitions>["topics"][number]
  const to = (name: string, count: number, assignments: Growth["assignments"] = null): Growth => ({
    name: name === "" || name === "a b" ? name : side.topic(name),
    count,
    assignments
  })
  const here = { brokerIds: [side.brokerId] }
  for (const version of versionsOf(CreatePartitions)) {
    const topic = `grow-v${version}`
    await side.createTopic(topic, { partitions: 2 })
    const ask = (what: string, topics: ReadonlyArray<Growth>, validateOnly = true): Promise<void> =>
      side.ask(what, CreatePartitions, version, { topics, timeoutMs, validateOnly })
    await ask("of none", [])
    for (const count of [2, 1, 0, -1]) await ask(`to ${count}`, [to(topic, count)])
    await ask("of absent ones", [to("absent", 3), to("", 3), to("a b", 3)])
    await ask("twice the same", [to(topic, 3), to(topic, 4)])
    await ask("with too few assignments", [to(topic, 4, [here])])
    await ask("with too many assignments", [to(topic, 3, [here, here])])
    await ask("with no assignments", [to(topic, 3, [])])
    await ask("assigned to nobody", [to(topic, 3, [{ brokerIds: [] }])])
    await ask("assigned to a broker twice", [to(topic, 3, [{ brokerIds: [side.brokerId, side.brokerId] }])])
    await ask("assigned to an unknown broker", [to(topic, 3, [{ brokerIds: [side.brokerId + 700] }])])
    await ask("validated", [to(topic, 5)])
    await ask("good and bad together", [to(topic, 3), to("absent", 3)], false)
    await side.learn(topic, 3)
    await ask("with assignments", [to(topic, 5, [here, here])], false)
    await side.learn(topic, 5)
    await side.ask(`of ${topic}`, Metadata, 12, { topics: [{ name: side.topic(topic), topicId: UUID_ZERO }] })
  }
}

async function configs(side: Side): Promise<void> {
  const own = { "retention.ms": "60000", "cleanup.policy": "compact", "max.message.bytes": "4096" }
  await side.createTopic("configured", { configs: own })
  await side.createTopic("plain")
  const topic = (name: string, configurationKeys: ReadonlyArray<string> | null = null) => ({
    resourceType: 2,
    resourceName: name,
    configurationKeys
  })
  const [configured, plain] = [side.topic("configured"), side.topic("plain")]
  for (const version of versionsOf(DescribeConfigs)) {
    type Resource = RequestInput<typeof DescribeConfigs>["resources"][number]
    const ask = (what: string, resources: ReadonlyArray<Resource>, includeSynonyms = false): Promise<void> =>
      side.ask(what, DescribeConfigs, version, { resources, includeSynonyms })
    await ask("of none", [])
    await ask("of topics", [topic(configured), topic(plain)])
    await ask("with synonyms", [topic(configured), topic(plain)], true)
    if (version >= 3) {
      const answer = await side.request(DescribeConfigs, version, {
        resources: [topic(plain)],
        includeDocumentation: true
      })
      const documented = answer.results[0]!.configs.filter(({ documentation }) => (documentation ?? "") !== "")
      side.answers.set(`DescribeConfigs v${version} documentation`, documented.length)
    }
    await ask("by key", [topic(configured, ["retention.ms", "segment.ms", "no.such.key", "retention.ms"])])
    await ask("by no key", [topic(configured, [])])
    await ask("twice the same", [topic(plain, ["retention.ms"]), topic(plain, ["segment.ms"])])
    await ask("of absent topics", [topic(side.topic("absent")), topic(""), topic("a b"), topic("..")])
    for (const [resourceType, resourceName] of [
      [0, ""],
      [1, "x"],
      [3, ""],
      [99, "x"],
      [-1, ""]
    ] as const) {
      await ask(`of type ${resourceType}`, [{ resourceType, resourceName, configurationKeys: null }])
    }
    for (const name of ["", "abc", "-1", "123456"]) {
      await ask(`of broker "${name}"`, [{ resourceType: 4, resourceName: name, configurationKeys: null }])
    }
  }
}
