/** What a system test may need of the machine, and the sentence that says what is missing and how to get it. */
import { kafkaMissing } from "../peers/apache-kafka/installation.ts"
import { isInstalled } from "../peers/child-process.ts"
import { cockroachdbParserMissing } from "../peers/cockroachdb-parser/cockroachdb-parser.ts"
import { confluentMissing } from "../peers/confluent-kafka/confluent-kafka.ts"
import { franzGoMissing } from "../peers/franz-go/franz-go.ts"
import { containersMissing } from "../peers/containers.ts"
import { azuriteMissing } from "../peers/object-stores/azurite.ts"
import { fakeGcsServerMissing } from "../peers/object-stores/fake-gcs-server.ts"
import { s3ProxyMissing } from "../peers/object-stores/s3proxy.ts"
import { postgresMissing } from "../peers/postgres/postgres.ts"
import { packageRecordsMissing } from "./package-records.ts"

export type Need =
  | "kcat"
  | "kafka"
  | "confluent-kafka"
  | "franz-go"
  | "package-list"
  | "postgresql"
  | "s3proxy"
  | "cockroachdb-url"
  | "cockroachdb-parser"
  | "containers"
  | "fake-gcs-server"
  | "azurite"
  | "meridian"

/** Which system the tests run against: the product, or a real Apache Kafka to try the tests themselves. */
export type Against = "meridian" | "kafka"

export class Requirements {
  private readonly against: Against
  private readonly known = new Map<Need, Promise<string | undefined>>()

  constructor(against: Against) {
    this.against = against
  }

  /** The reason why a test cannot run, or undefined. Each need is looked at once. */
  async missing(needs: readonly Need[]): Promise<string | undefined> {
    for (const need of needs) {
      const answer = this.known.get(need) ?? this.look(need)
      this.known.set(need, answer)
      const reason = await answer
      if (reason !== undefined) return reason
    }
    return undefined
  }

  private async look(need: Need): Promise<string | undefined> {
    switch (need) {
      case "kcat":
        return isInstalled("kcat", ["-V"]) ? undefined : "kcat is missing: apt-get install kcat"
      case "kafka":
        return await kafkaMissing()
      case "confluent-kafka":
        return confluentMissing()
      case "franz-go":
        return await franzGoMissing()
      case "package-list":
        return packageRecordsMissing()
      case "postgresql":
        return postgresMissing()
      case "s3proxy":
        return await s3ProxyMissing()
      case "cockroachdb-url":
        return process.env["MERIDIAN_TEST_COCKROACHDB_URL"] === undefined
          ? "MERIDIAN_TEST_COCKROACHDB_URL names no CockroachDB"
          : undefined
      case "cockroachdb-parser":
        return await cockroachdbParserMissing()
      case "containers":
        return await containersMissing()
      case "fake-gcs-server":
        return await fakeGcsServerMissing()
      case "azurite":
        return azuriteMissing()
      case "meridian":
        return this.against === "meridian" ? undefined : "this test is about Meridian itself"
    }
  }
}
