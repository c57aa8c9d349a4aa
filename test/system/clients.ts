/**
 * Each client's records, produced through region 1, read back by other clients through other regions.
 *
 * Every producer meets at least two readers that are not itself. kafkajs has no consumer without a group, so it only
 * produces here.
 */
import { strict as assert } from "node:assert"
import { consoleConsume, consoleProduce } from "../peers/apache-kafka/console-clients.ts"
import { confluentAdmin, confluentConsume, confluentProduce } from "../peers/confluent-kafka/confluent-kafka.ts"
import { franzGoConsume, franzGoProduce } from "../peers/franz-go/franz-go.ts"
import { kafkajsProduce, platformaticConsume, platformaticProduce } from "../peers/javascript-clients.ts"
import { kcatConsume } from "../peers/kcat.ts"
import { type InputRecord, difference } from "../peers/record-frames.ts"
import { type Cluster } from "./harness.ts"
import { packageRecordSample, packageRecordsOnLines } from "./package-records.ts"
import { type SystemTest } from "./system-test.ts"

const sample = 5_000
const partitions = 4
const deadlineMs = 90_000

async function roundTrip(
  cluster: Cluster,
  topic: string,
  records: readonly InputRecord[],
  produce: (bootstrap: string) => Promise<void>,
  readers: ReadonlyArray<"kcat" | "confluent-kafka" | "platformatic" | "franz-go">
): Promise<void> {
  await cluster.createTopic(topic, partitions)
  const [first = "", second = "", third = ""] = cluster.bootstrap
  await produce(first)
  for (const [index, reader] of readers.entries()) {
    const bootstrap = index % 2 === 0 ? third : second
    const task = { bootstrap, topic, deadlineMs }
    const read =
      reader === "kcat"
        ? await kcatConsume(task)
        : reader === "confluent-kafka"
          ? await confluentConsume(task)
          : reader === "franz-go"
            ? await franzGoConsume(task)
            : await platformaticConsume(task)
    assert.equal(difference(records, read), undefined, `read by ${reader}`)
  }
}

export const javaConsole: SystemTest = {
  name: "clients: Java console producer and consumer",
  needs: ["kafka", "kcat", "package-list"],
  deadlineMs: 300_000,
  run: async ({ startCluster }) => {
    const cluster = await startCluster()
    const records = packageRecordsOnLines(sample)
    const topic = "java-console"
    const produce = async (bootstrap: string): Promise<void> => {
      await consoleProduce({ bootstrap, topic, records, deadlineMs })
    }
    await roundTrip(cluster, topic, records, produce, ["kcat", "platformatic"])
    const bootstrap = cluster.bootstrap[2] ?? ""
    const known = await kcatConsume({ bootstrap, topic, deadlineMs })
    const read = []
    for (let partition = 0; partition < partitions; partition++) {
      const count = known.filter((record) => record.partition === partition).length
      if (count > 0) read.push(...(await consoleConsume({ bootstrap, topic, partition, count, deadlineMs })))
    }
    assert.equal(difference(records, read), undefined, "read by the console consumer")
  }
}

export const kafkajs: SystemTest = {
  name: "clients: kafkajs producer",
  needs: ["kcat", "package-list"],
  deadlineMs: 300_000,
  run: async ({ startCluster }) => {
    const records = packageRecordSample(sample)
    const produce = async (bootstrap: string): Promise<void> => {
      await kafkajsProduce({ bootstrap, topic: "kafkajs", records })
    }
    await roundTrip(await startCluster(), "kafkajs", records, produce, ["kcat", "platformatic"])
  }
}

export const platformatic: SystemTest = {
  name: "clients: @platformatic/kafka producer and consumer",
  needs: ["kcat", "confluent-kafka", "package-list"],
  deadlineMs: 300_000,
  run: async ({ startCluster }) => {
    const records = packageRecordSample(sample)
    const topic = "platformatic"
    const produce = async (bootstrap: string): Promise<void> => await platformaticProduce({ bootstrap, topic, records })
    await roundTrip(await startCluster(), topic, records, produce, ["kcat", "confluent-kafka", "platformatic"])
  }
}

export const confluentKafka: SystemTest = {
  name: "clients: python3-confluent-kafka producer, consumer and admin",
  needs: ["kcat", "confluent-kafka", "package-list"],
  deadlineMs: 300_000,
  run: async ({ startCluster }) => {
    const cluster = await startCluster()
    const records = packageRecordSample(sample)
    const topic = "confluent-kafka"
    const produce = async (bootstrap: string): Promise<void> => {
      await confluentProduce({ bootstrap, topic, records, deadlineMs })
    }
    await roundTrip(cluster, topic, records, produce, ["kcat", "confluent-kafka", "platformatic"])
    await confluentAdmin({ bootstrap: cluster.bootstrap[1] ?? "", topic: "confluent-admin", deadlineMs })
  }
}

export const franzGo: SystemTest = {
  name: "clients: franz-go producer and consumer",
  needs: ["franz-go", "kcat", "package-list"],
  deadlineMs: 400_000,
  run: async ({ startCluster }) => {
    const records = packageRecordSample(sample)
    const produce = async (bootstrap: string): Promise<void> => {
      await franzGoProduce({ bootstrap, topic: "franz-go", records, deadlineMs })
    }
    await roundTrip(await startCluster(), "franz-go", records, produce, ["kcat", "franz-go", "platformatic"])
  }
}
