/** Requests and answers of Google's JSON API, and the ranges of answers: what is taken apart, and what makes no sense. */
import { assert, describe, it } from "@effect/vitest"
import { parseContentRange, partOf, wholeOf } from "#backends/object/cloud-range.ts"
import * as requests from "#backends/object/gcs-requests.ts"

describe("requests to Google", () => {
  it("escape what stands in a path", () => {
    assert.strictEqual(requests.objectPath("b", "a/b=c.d"), "/storage/v1/b/b/o/a%2Fb%3Dc.d")
  })

  it("ask for ranges, and for all behind an offset where the end is no exact number", () => {
    assert.strictEqual(requests.rangeHeader({ offset: 5, length: 10 }), "bytes=5-14")
    assert.strictEqual(requests.rangeHeader({ last: 7 }), "bytes=-7")
    assert.strictEqual(requests.rangeHeader({ offset: 5, length: Number.MAX_SAFE_INTEGER }), "bytes=5-")
  })

  it("have the checksum in the metadata, big-endian", () => {
    // CRC-32C of "123456789" is 0xe3069283.
    assert.strictEqual(requests.crcText(0xe3069283), "4waSgw==")
    const [before, after] = requests.uploadFrame({ name: "n", crc: 0xe3069283, boundary: "bbbbbbbbbb" })
    assert.include(before.toString(), '{"name":"n","crc32c":"4waSgw==","contentType":"application/octet-stream"}')
    assert.strictEqual(after.toString(), "\r\n--bbbbbbbbbb--\r\n")
  })
})

describe("answers of Google", () => {
  it("have their checksum among others", () => {
    assert.strictEqual(requests.crcOfHashes("md5=XUFAKrxLKna5cZ2REBfFkg==,crc32c=4waSgw=="), 0xe3069283)
    assert.strictEqual(requests.crcOfHashes("crc32c=4waSgw==, md5=x"), 0xe3069283)
    for (const text of [undefined, "", "md5=crc32c", "crc32c=4waSgw", "xcrc32c=4waSgw=="]) {
      assert.isUndefined(requests.crcOfHashes(text), text)
    }
  })

  it("make sense or are nothing", () => {
    const parse = (value: unknown) => requests.parseList(Buffer.from(JSON.stringify(value)), "p/")
    assert.deepStrictEqual(parse({}), { heads: [], token: undefined })
    assert.deepStrictEqual(parse({ items: [{ name: "p/a", size: "3" }], nextPageToken: "t" }), {
      heads: [{ key: "a", objectBytes: 3 }],
      token: "t"
    })
    for (const bad of [
      null,
      [],
      { items: {} },
      { items: [{ name: "p/a" }] },
      { items: [{ name: "p/a", size: "-1" }] },
      { items: [{ size: "1" }] },
      { items: [{ name: "q/a", size: "1" }] },
      { nextPageToken: 5 }
    ]) {
      const page = parse(bad)
      assert.isTrue(page === undefined || (Array.isArray(bad) && page.heads.length === 0), JSON.stringify(bad))
    }
    assert.isUndefined(requests.parseList(Buffer.from("<html>"), "p/"))
  })

  it("tell code and text of an error, or the text alone", () => {
    const body = { error: { message: "m", errors: [{ reason: "r" }] } }
    assert.deepStrictEqual(requests.parseError(Buffer.from(JSON.stringify(body))), { code: "r", message: "m" })
    for (const text of ["Not Found", "{}", '{"error":"x"}', '{"error":{"errors":[]}}', ""]) {
      assert.strictEqual(requests.parseError(Buffer.from(text)).code, "")
    }
  })
})

describe("ranges of answers", () => {
  it("are those that were asked for, or Corrupt", () => {
    const body = Buffer.from("34567")
    assert.strictEqual(partOf(body, "bytes 3-7/10", { offset: 3, length: 5 }).objectBytes, 10)
    assert.strictEqual(partOf(body, "bytes 5-9/10", { last: 5 }).bytes, body)
    for (const [text, range] of [
      [undefined, { offset: 3, length: 5 }],
      ["bytes 3-7/*", { offset: 3, length: 5 }],
      ["bytes 7-3/10", { offset: 3, length: 5 }],
      ["bytes 3-7/7", { offset: 3, length: 5 }],
      ["bytes 2-6/10", { offset: 3, length: 5 }],
      ["bytes 3-6/10", { offset: 3, length: 5 }],
      ["bytes 3-6/7", { offset: 3, length: 5 }],
      ["bytes 3-7/10", undefined]
    ] as const) {
      assert.throws(() => partOf(body, text, range), /another range|bytes/, String(text))
    }
    assert.isUndefined(parseContentRange("bytes */10"))
    // As Azurite tells that the range begins at the end.
    const nothing = Buffer.alloc(0)
    assert.throws(() => partOf(nothing, "bytes 10-9/10", { offset: 10, length: 5 }), /at or after the end/)
    assert.throws(() => partOf(nothing, "bytes 0--1/0", { last: 5 }), /at or after the end/)
    assert.throws(() => partOf(nothing, "bytes 3-2/10", { offset: 3, length: 5 }), /another range/)
  })

  it("are cut out of wholes, in memory of their own", () => {
    const body = Buffer.from("0123456789")
    const { bytes, objectBytes } = wholeOf(body, { offset: 3, length: 4 })
    assert.deepStrictEqual([bytes.toString(), bytes.buffer.byteLength, objectBytes], ["3456", 4, 10])
    assert.throws(() => wholeOf(Buffer.alloc(0), { last: 1 }), /begins at or after the end/)
    assert.throws(() => wholeOf(body, { offset: 10, length: 1 }), /begins at or after the end/)
  })
})
