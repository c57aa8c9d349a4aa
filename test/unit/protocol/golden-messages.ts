/** The goldens of test/goldens/protocol: messages as Kafka's own Java classes write them, with their values. */
import { readdirSync, readFileSync } from "node:fs"
import { type KafkaApi, kafkaRegistry } from "#core/protocol/registry.ts"
import { type Direction, type Field, type Fields, isIn, type Message } from "#core/protocol/schema.ts"

export interface Golden {
  readonly api: KafkaApi
  readonly message: Message
  readonly version: number
  readonly direction: Direction
  readonly mode: string
  readonly correlationId: number
  readonly clientId: string | null
  readonly header: Buffer
  readonly body: Buffer
  /** As encoding takes it: fields of the version, tagged ones only where they are set. */
  readonly value: Record<string, unknown>
  /** For messages of assertions. */
  readonly title: string
}

const folder = new URL("../../goldens/protocol/", import.meta.url)

interface GoldenFile {
  readonly key: number
  readonly cases: ReadonlyArray<
    Record<"header" | "body" | "mode", string> & {
      readonly version: number
      readonly direction: Direction
      readonly correlationId: number
      readonly clientId?: string | null
      readonly value: Record<string, unknown>
    }
  >
}

export const readGoldens = (): ReadonlyArray<Golden> =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".json"))
    .toSorted()
    .flatMap((name) => {
      const { key, cases } = JSON.parse(readFileSync(new URL(name, folder), "utf8")) as GoldenFile
      const api = kafkaRegistry.get(key)!
      return cases.map((golden) => ({
        api,
        message: api[golden.direction],
        version: golden.version,
        direction: golden.direction,
        mode: golden.mode,
        correlationId: golden.correlationId,
        clientId: golden.clientId ?? null,
        header: Buffer.from(golden.header, "hex"),
        body: Buffer.from(golden.body, "hex"),
        value: fromJson(api[golden.direction].fields, golden.version, golden.value),
        title: `${api.name} v${golden.version} ${golden.direction} "${golden.mode}"`
      }))
    })

/** Kafka's JSON has uuids in base64url; records stand in it as hex. A key that the table lacks is an error. */
const fromJson = (fields: Fields, version: number, json: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(json).map(([name, value]) => {
      const field = fields[name]
      if (field === undefined || !isIn(field.versions, version))
        throw new Error(`no field ${name} in version ${version}`)
      return [name, valueFromJson(field, version, value)]
    })
  )

const valueFromJson = (field: Field, version: number, json: unknown): unknown => {
  if (json === null) return null
  switch (field.kind) {
    case "uuid":
      return Buffer.from(json as string, "base64url").toString("hex")
    case "records":
      return Buffer.from(json as string, "hex")
    case "bytes":
      return Buffer.from(json as string, "base64")
    case "array":
      return (json as ReadonlyArray<unknown>).map((element) => valueFromJson(field.element!, version, element))
    case "struct":
      return fromJson(field.fields!, version, json as Record<string, unknown>)
    default:
      return json
  }
}
