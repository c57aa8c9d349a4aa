/**
 * Goal: URLs of S3, S3 Express, GCS and Azure buckets mean what they say; a wrong one is refused with what is wrong and the
 * fix, and whatever may be a credential is never shown. Method: one case per part of a URL.
 */
import { Result } from "effect"
import { assert, describe, it } from "vitest"
import { limits } from "#core/model/limits.ts"
import { parseTopology } from "#regions/topology.ts"
import { parseBucketUrl } from "#regions/topology-url.ts"

const SECRET = "Hush4711"

const RIGHT: ReadonlyArray<readonly [url: string, location: object]> = [
  ["s3://orders", { kind: "s3", bucket: "orders", prefix: "", pathStyle: false }],
  ["s3://orders/", { kind: "s3", bucket: "orders", prefix: "", pathStyle: false }],
  [
    "S3://orders.eu/a/b-1?region=eu-west-1",
    { kind: "s3", bucket: "orders.eu", prefix: "a/b-1/", region: "eu-west-1", pathStyle: false }
  ],
  [
    "s3://orders/a/?endpoint=http://127.0.0.1:9000/",
    { kind: "s3", bucket: "orders", prefix: "a/", endpoint: "http://127.0.0.1:9000", pathStyle: true }
  ],
  [
    "s3://orders?endpoint=https://[::1]:9000&path-style=false",
    { kind: "s3", bucket: "orders", prefix: "", endpoint: "https://[::1]:9000", pathStyle: false }
  ],
  [
    "s3://orders--use1-az4--x-s3/p",
    { kind: "s3-express", bucket: "orders--use1-az4--x-s3", zoneId: "use1-az4", prefix: "p/", region: "us-east-1" }
  ],
  [
    "s3://a-b--usw2-lax1-az1--x-s3?endpoint=http://h:1",
    {
      kind: "s3-express",
      bucket: "a-b--usw2-lax1-az1--x-s3",
      zoneId: "usw2-lax1-az1",
      prefix: "",
      endpoint: "http://h:1",
      region: "us-west-2"
    }
  ],
  [
    "s3://orders--new9-az1--x-s3",
    { kind: "s3-express", bucket: "orders--new9-az1--x-s3", zoneId: "new9-az1", prefix: "" }
  ],
  ["gs://my_orders/a", { kind: "gcs", bucket: "my_orders", prefix: "a/" }],
  [
    "gs://orders?endpoint=http://127.0.0.1:4443",
    { kind: "gcs", bucket: "orders", prefix: "", endpoint: "http://127.0.0.1:4443" }
  ],
  ["az://acc1/orders", { kind: "azure", account: "acc1", container: "orders", prefix: "" }],
  [
    "az://devstoreaccount1/orders-1/a/b?endpoint=http://127.0.0.1:10000/devstoreaccount1",
    {
      kind: "azure",
      account: "devstoreaccount1",
      container: "orders-1",
      prefix: "a/b/",
      endpoint: "http://127.0.0.1:10000/devstoreaccount1"
    }
  ]
]

const WRONG: ReadonlyArray<readonly [what: string, url: string, problem: RegExp]> = [
  ["a scheme that is nearly one", "s4://orders", /no scheme that is known.*did you mean "s3"/],
  ["no slashes", "s3:orders", /no \/\/ before the name: write for example s3:\/\/bucket/],
  ["no bucket", "s3:///a", /names no bucket/],
  ["capitals in a bucket", "s3://Orders", /"Orders", which cannot be one: write 3 to 63 lower-case/],
  ["a short bucket", "s3://ab", /cannot be one/],
  ["a long bucket", `s3://${"a".repeat(64)}`, /cannot be one/],
  ["two dots", "s3://a..b", /cannot be one/],
  ["an address as a bucket", "s3://10.0.0.1", /no IP address/],
  ["a name that AWS keeps", "s3://orders-s3alias", /no bucket can have "-s3alias"/],
  ["a directory bucket without a zone", "s3://orders--x-s3", /cannot be one: write name--zone-id--x-s3/],
  ["a directory bucket with a dot", "s3://or.ders--use1-az4--x-s3", /cannot be one/],
  [
    "a zone of another region",
    "s3://o--use1-az4--x-s3?region=eu-west-1",
    /use1-az4 is a zone of us-east-1: write region=us-east-1/
  ],
  [
    "path style of a directory bucket",
    "s3://o--use1-az4--x-s3?path-style=true",
    /directory bucket does not know: leave it out/
  ],
  [
    "an unknown parameter",
    "s3://orders?regin=x",
    /unknown parameter "regin" \(did you mean "region"\?\): known here are region, endpoint, path-style/
  ],
  ["a parameter of another store", "gs://orders?region=x", /unknown parameter "region": known here are endpoint/],
  ["a parameter twice", "s3://orders?region=a&region=b", /region twice/],
  ["a parameter without a value", "s3://orders?region=", /region without a value/],
  ["a wrong path style", "s3://orders?path-style=yes", /write path-style=true or path-style=false/],
  ["a wrong region", "s3://orders?region=EU%20West", /write a region's name/],
  ["an endpoint without scheme", "s3://orders?endpoint=localhost:9000", /write http or https/],
  ["an endpoint with a path", "s3://orders?endpoint=http://h:9000/x", /host and port only/],
  ["an endpoint that is no URL", "s3://orders?endpoint=9000", /write one such as https:\/\/host:9000/],
  ["an empty part of a prefix", "s3://orders/a//b", /"" as a part of its prefix/],
  ["a prefix that leaves the bucket", "s3://orders/a/../b", /"\.\." as a part of its prefix/],
  ["a space in a prefix", "s3://orders/a b", /"a b" as a part/],
  ["an escape in a prefix", "s3://orders/a%20b", /# or %/],
  ["a prefix that is too long", `s3://orders/${"x/".repeat(256)}y`, /prefix of 513 bytes: write less than 512/],
  ["a bucket that Google keeps", "gs://goog-orders", /names that begin with goog/],
  ["a wrong bucket of Google", "gs://-orders", /cannot be one/],
  ["a wrong account", "az://My-Account/orders", /account of 3 to 24 lower-case/],
  ["no container", "az://acc1", /names no container: write az:\/\/acc1\/container/],
  ["two dashes in a container", "az://acc1/or--ders", /single dashes/]
]

describe("a bucket's URL", () => {
  for (const [url, location] of RIGHT) {
    it(`${url.slice(0, 80)} is read`, () => assert.deepStrictEqual<unknown>(parseBucketUrl(url, "/base"), location))
  }
  for (const [what, url, problem] of WRONG) {
    it(`with ${what} is refused`, () => {
      const answer = parseBucketUrl(url, "/base")
      assert.isString(answer)
      assert.match(answer as string, problem)
    })
  }

  it("leaves room for every key behind the longest prefix", () => {
    const longest = `s3://orders/${"x/".repeat(255)}y`
    const location = parseBucketUrl(longest, "/base")
    assert.isObject(location)
    const { prefix } = location as { readonly prefix: string }
    assert.strictEqual(prefix.length, limits.bucketPrefixBytesMax)
    assert.isAtMost(prefix.length + limits.objectKeyBytesMax, 1_024)
  })

  for (const url of [
    `s3://AKIA:${SECRET}@orders`,
    `s3://orders?secret-access-key=${SECRET}`,
    `s3://orders?aws_session_token=${SECRET}`,
    `s3://orders?endpoint=http://me:${SECRET}@host:9000`,
    `gs://orders?credentials=${SECRET}`,
    `az://acc1/orders?sig=${SECRET}`,
    `az://acc1:${SECRET}@orders/x`
  ]) {
    it(`with a credential is refused, says why, and does not show it: ${url.replace(SECRET, "…")}`, () => {
      const answer = parseBucketUrl(url, "/base")
      assert.isString(answer)
      assert.match(answer as string, /credentials do not belong into the topology/)
      assert.notInclude(answer as string, SECRET)
    })
  }
})

describe("two buckets of a topology", () => {
  const problemsOf = (...urls: ReadonlyArray<string>): ReadonlyArray<string> => {
    const topology = {
      cluster: "c",
      regions: urls.map((_, index) => ({ name: `r${index}` })),
      buckets: urls.map((url, index) => ({ name: `b${index}`, region: `r${index}`, url })),
      metadata: { url: "memory:" }
    }
    const parsed = parseTopology(JSON.stringify(topology), "/base/t.yaml")
    return Result.isSuccess(parsed) ? [] : parsed.failure.problems.map(({ path, message }) => `${path} ${message}`)
  }

  for (const [what, first, second, thing] of [
    ["prefixes of one bucket", "s3://orders/a", "s3://orders/b", "bucket"],
    ["one bucket and two regions", "s3://orders?region=us-east-1", "s3://orders?region=eu-west-1", "bucket"],
    [
      "one bucket, once by AWS's own address",
      "s3://orders",
      "s3://orders?endpoint=https://s3.us-east-1.amazonaws.com",
      "bucket"
    ],
    [
      "one bucket of one endpoint",
      "s3://orders?endpoint=http://h:9000",
      "s3://orders/x?endpoint=http://H:9000/",
      "bucket"
    ],
    ["one directory bucket", "s3://o--use1-az4--x-s3/a", "s3://o--use1-az4--x-s3", "bucket"],
    ["one bucket of Google's", "gs://orders/a", "gs://orders/b", "bucket"],
    [
      "one bucket, once by Google's own address",
      "gs://orders",
      "gs://orders?endpoint=https://storage.googleapis.com",
      "bucket"
    ],
    [
      "one container, once by Azure's own address",
      "az://acc1/orders",
      "az://acc1/orders?endpoint=https://acc1.blob.core.windows.net",
      "container"
    ],
    ["one container", "az://acc1/orders", "az://acc1/orders/b", "container"]
  ] as const) {
    it(`cannot be ${what}`, () => {
      assert.deepStrictEqual(problemsOf(first, second), [
        `buckets[1].url is the same ${thing} as buckets[0].url: two copies in one place are one copy; give it a ${thing} of its own`
      ])
    })
  }

  it("can be of one name in different stores", () => {
    const urls = [
      "s3://orders",
      "s3://orders?endpoint=http://h:9000",
      "s3://orders?endpoint=http://h:9001",
      "s3://orders?region=cn-north-1",
      "gs://orders",
      "gs://orders?endpoint=http://h:4443",
      "az://acc1/orders",
      "az://acc1/orders?endpoint=http://h:10000/acc1",
      "az://acc2/orders",
      "az://acc1/orders2"
    ]
    assert.deepStrictEqual(problemsOf(...urls), [])
  })
})
