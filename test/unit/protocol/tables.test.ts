/**
 * Goal: tables that make no sense are refused when they are made; what is advertised and the error codes are Kafka's.
 * Method: broken tables, and the facts that clients depend on written down again. (That each table is Kafka's is
 * checked against upstream's own descriptions in test/system/protocol-schema.ts.)
 */
import { assert, describe, it } from "vitest"
import { AssertionFailed } from "#core/model/assert.ts"
import { errorCodes, errorName, isRetriable } from "#core/protocol/error-codes.ts"
import { advertisedVersions, kafkaApis, kafkaRegistry } from "#core/protocol/registry.ts"
import { api, array, bool, type Fields, int32, parseVersions, string, struct } from "#core/protocol/schema.ts"

const table =
  (request: Fields, flexible = "none") =>
  () =>
    api({ key: 1, name: "T", versions: "0-3", flexible, request, response: {} })

describe("tables", () => {
  it.each([
    ["a range that is none", () => int32("3-")],
    ["an empty range", () => int32("4-3")],
    ["a nullable number", () => int32({ nullable: true })],
    ["a default of null without nullable", () => string({ default: null })],
    [
      "an open range of versions",
      () => api({ key: 1, name: "T", versions: "0+", flexible: "none", request: {}, response: {} })
    ],
    ["a name that is no identifier", table({ "a-b": int32() })],
    ["a name that would be sorted before others", table({ 7: int32() })],
    ["a tag in an inflexible API", table({ a: int32("0+", { tag: 0 }) })],
    ["a tag in inflexible versions", table({ a: int32("1+", { tag: 0 }) }, "2+")],
    ["a tag in inflexible versions, deep inside", table({ a: array({ b: struct({ c: bool({ tag: 0 }) }) }) }, "2+")],
    ["a tag twice", table({ a: int32("2+", { tag: 0 }), b: int32("2+", { tag: 0 }) }, "2+")]
  ])("%s is refused", (_, make) => {
    assert.throws(make, AssertionFailed)
  })

  it("ranges are read as Kafka writes them", () => {
    assert.deepStrictEqual(parseVersions("0-12"), { min: 0, max: 12 })
    assert.deepStrictEqual(parseVersions("7"), { min: 7, max: 7 })
    assert.deepStrictEqual(parseVersions("3+"), { min: 3, max: 32_767 })
  })
})

describe("the registry", () => {
  it("has each API once, in order of the keys", () => {
    const keys = kafkaApis.map(({ key }) => key)
    assert.deepStrictEqual(keys, [...new Set(keys)].toSorted((left, right) => left - right) as typeof keys)
    for (const table of kafkaApis) assert.equal(kafkaRegistry.get(table.key), table)
  })

  it("advertises Kafka 4.3's ranges, Produce from 0 on", () => {
    const ranges = advertisedVersions.map(
      ({ apiKey, minVersion, maxVersion }) => `${apiKey}: ${minVersion}-${maxVersion}`
    )
    assert.deepStrictEqual(ranges, [
      "0: 0-13",
      "1: 4-18",
      "2: 1-11",
      "3: 0-13",
      "10: 0-6",
      "18: 0-4",
      "19: 2-7",
      "20: 1-6",
      "22: 0-5",
      "23: 2-4",
      "32: 1-4",
      "37: 0-3",
      "60: 0-2"
    ])
  })

  it("holds what old librdkafka looks for", () => {
    const contains = (apiKey: number, version: number): boolean =>
      advertisedVersions.some(
        (range) => range.apiKey === apiKey && range.minVersion <= version && version <= range.maxVersion
      )
    for (const [key, version] of [
      [0, 0],
      [0, 3],
      [0, 7],
      [1, 4],
      [1, 10],
      [2, 1],
      [10, 0],
      [18, 0],
      [22, 0]
    ] as const) {
      assert.isTrue(contains(key, version), `${key} v${version}`)
    }
  })
})

describe("error codes", () => {
  it("are known by name and by number", () => {
    assert.equal(errorCodes.NONE, 0)
    assert.equal(errorCodes.UNKNOWN_SERVER_ERROR, -1)
    assert.equal(errorCodes.CONTROLLER_ID_NOT_REGISTERED, 136)
    assert.equal(Object.keys(errorCodes).length, 138)
    for (const [name, code] of Object.entries(errorCodes)) assert.equal(errorName(code), name)
  })

  it("of a newer Kafka are unknown server errors", () => {
    for (const code of [137, -2, 32_767]) assert.equal(errorName(code), "UNKNOWN_SERVER_ERROR")
  })

  it("say whether clients try again", () => {
    for (const code of [
      errorCodes.NOT_COORDINATOR,
      errorCodes.UNKNOWN_TOPIC_OR_PARTITION,
      errorCodes.CORRUPT_MESSAGE
    ]) {
      assert.isTrue(isRetriable(code))
    }
    for (const code of [errorCodes.NONE, errorCodes.OFFSET_OUT_OF_RANGE, errorCodes.UNKNOWN_SERVER_ERROR, 999]) {
      assert.isFalse(isRetriable(code))
    }
  })
})
