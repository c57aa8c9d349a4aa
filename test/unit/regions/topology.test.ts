/**
 * Goal: a wrong topology file is refused with every field, value and fix named; a right one means what README.md says.
 * Method: one right document, mended wrong in one place per case; then all problems together; then the meaning.
 */
import { readFileSync } from "node:fs"
import { Result } from "effect"
import { assert, describe, it } from "vitest"
import { type Topology, agentPlace, failureDomainOf, parseTopology } from "#regions/topology.ts"
import { endpointsFor } from "#regions/topology-metadata.ts"
import { fileBucketUrl, parseBucketUrl, sqliteUrl } from "#regions/topology-url.ts"

const RIGHT = {
  cluster: "orders",
  regions: [{ name: "us-east-1", zones: ["az1", "az2"] }, { name: "us-west-2" }, { name: "eu-west-1" }],
  buckets: [
    { name: "east", region: "us-east-1", url: "file:///srv/east" },
    { name: "west", region: "us-west-2", url: "file:///srv/west?fsync=false" },
    { name: "ireland", region: "eu-west-1", url: "file:ireland" }
  ],
  metadata: { url: "sqlite:meta.db" }
}

const withChange = (change: (document: any) => void): string => {
  const document = structuredClone(RIGHT)
  change(document)
  return JSON.stringify(document)
}

const problemsOf = (text: string): ReadonlyArray<string> => {
  const result = parseTopology(text, "/etc/meridian/topology.yaml")
  if (Result.isSuccess(result)) return []
  return result.failure.problems.map(({ path, message }) => `${path}: ${message}`)
}

const pathsOf = (problems: ReadonlyArray<string>): ReadonlyArray<string> =>
  problems.map((problem) => problem.slice(0, problem.indexOf(":"))).toSorted()

const topologyOf = (text: string): Topology => {
  const result = parseTopology(text, "/etc/meridian/topology.yaml")
  if (Result.isFailure(result)) throw result.failure
  return result.success
}

const NAME_RULE =
  "a name of 1 to 64 letters, digits, dots, dashes or underscores that begins and ends with a letter or digit"

describe("a wrong topology", () => {
  const cases: ReadonlyArray<readonly [what: string, change: (document: any) => void, problem: string]> = [
    ["a missing field", (d) => delete d.cluster, "cluster: is missing: add `cluster: my-cluster`"],
    [
      "a missing nested field",
      (d) => delete d.buckets[1].url,
      'buckets[1].url: is missing: add `url: "file:///absolute/directory"`'
    ],
    ["an unknown field", (d) => (d.bukets = []), 'bukets: no such field (did you mean "buckets"?)'],
    [
      "an unknown nested field",
      (d) => (d.buckets[0].regoin = "x"),
      'buckets[0].regoin: no such field (did you mean "region"?)'
    ],
    [
      "an unknown field like no other",
      (d) => (d.metadata.password = "x"),
      "metadata.password: no such field: known here are url, endpoints, home, migrate"
    ],
    ["a wrong type", (d) => (d.regions = "all"), 'regions: "all" is not allowed here: write a list of regions'],
    [
      "a home that is no region",
      (d) => (d.metadata.home = "us-west-1"),
      'metadata.home: "us-west-1" is not among the regions (did you mean "us-west-2"?): they are us-east-1, us-west-2, eu-west-1'
    ],
    ["no database", (d) => (d.metadata = {}), 'metadata.url: is missing: add `url: "sqlite:///absolute/file.db"`'],
    [
      "a wrong way to migrate",
      (d) => (d.metadata.migrate = "never"),
      'metadata.migrate: "never" is not allowed here: write auto or manual'
    ],
    [
      "endpoints of a file",
      (d) => (d.metadata.endpoints = [{ region: "us-east-1", url: "postgres://app@db/x" }]),
      "metadata.endpoints: is for database servers, and metadata.url names none: leave it out, or write a postgres:// URL"
    ],
    [
      "no endpoint in the list",
      (d) => (d.metadata = { endpoints: [] }),
      "metadata.endpoints: is empty: add at least one endpoint, or leave it out"
    ],
    [
      "an endpoint in no region",
      (d) => (d.metadata = { endpoints: [{ region: "mars", url: "postgres://app@db/x" }] }),
      'metadata.endpoints[0].region: "mars" is not among the regions: they are us-east-1, us-west-2, eu-west-1'
    ],
    [
      "an endpoint that is a file",
      (d) => (d.metadata = { endpoints: [{ region: "us-east-1", url: "sqlite:meta.db" }] }),
      "metadata.endpoints[0].url: is no URL of a database server: write postgres://USER:PASSWORD@HOST:5432/DATABASE"
    ],
    [
      "one server twice",
      (d) =>
        (d.metadata = {
          endpoints: ["us-east-1", "us-west-2"].map((region) => ({ region, url: "postgres://app@db/x" }))
        }),
      "metadata.endpoints[1].url: leads to db:5432, as metadata.endpoints[0].url does: name each server once"
    ],
    ["a null", (d) => (d.cluster = null), `cluster: null is not allowed here: write ${NAME_RULE}`],
    [
      "a bad name",
      (d) => (d.regions[1].name = "a/b"),
      `regions[1].name: "a/b" is not allowed here: write ${NAME_RULE}`
    ],
    [
      "a wrong item",
      (d) => (d.regions[0].zones[1] = 3),
      `regions[0].zones[1]: 3 is not allowed here: write ${NAME_RULE}`
    ],
    [
      "a wrong choice",
      (d) => (d.bucketSets = { quorum: { failureDomain: "rack" } }),
      'bucketSets.quorum.failureDomain: "rack" is not allowed here: write region or zone'
    ],
    [
      "a fraction of a write",
      (d) => (d.bucketSets = { quorum: { writes: 1.5 } }),
      "bucketSets.quorum.writes: 1.5 is not allowed here: write a whole number"
    ],
    ["no buckets", (d) => (d.buckets = []), "buckets: is empty: add at least one bucket"],
    [
      "two regions of one name",
      (d) => d.regions.push({ name: "us-west-2" }),
      'regions[3].name: "us-west-2" is there already (regions[1].name): names must differ'
    ],
    [
      "two zones of one name",
      (d) => (d.regions[0].zones = ["az1", "az1"]),
      'regions[0].zones[1]: "az1" is there already (regions[0].zones[0]): names must differ'
    ],
    [
      "two buckets of one name",
      (d) => (d.buckets[2].name = "east"),
      'buckets[2].name: "east" is there already (buckets[0].name): names must differ'
    ],
    [
      "a bucket in no region",
      (d) => (d.buckets[0].region = "us-east-2"),
      'buckets[0].region: "us-east-2" is not among the regions (did you mean "us-east-1"?): they are us-east-1, us-west-2, eu-west-1'
    ],
    [
      "a bucket in another region's zone",
      (d) => (d.buckets[1].zone = "az1"),
      'buckets[1].zone: "az1" is no zone of us-west-2: add it to the region\'s zones or leave it out for a regional bucket'
    ],
    [
      "two buckets in one place",
      (d) => (d.buckets[1].url = "file:///srv/../srv/east"),
      "buckets[1].url: is the same directory as buckets[0].url: two copies in one place are one copy; give it a directory of its own"
    ],
    [
      "a set of unknown buckets",
      (d) => (d.bucketSets = { quorum: { buckets: ["east", "wets"] } }),
      'bucketSets.quorum.buckets[1]: "wets" is not among the buckets (did you mean "west"?): they are east, west, ireland'
    ],
    [
      "a set of no buckets",
      (d) => (d.bucketSets = { quorum: { buckets: [] } }),
      "bucketSets.quorum.buckets: is empty: name at least one bucket, or leave it out for all"
    ],
    [
      "a minority quorum",
      (d) => (d.bucketSets = { quorum: { writes: 1 } }),
      "bucketSets.quorum.writes: 1 is no majority of the set's 3 distinct failure domains (regions): write 2 to 3, or leave it out"
    ],
    [
      "a quorum of more than there is",
      (d) => (d.bucketSets = { quorum: { writes: 4 } }),
      "bucketSets.quorum.writes: 4 is no majority of the set's 3 distinct failure domains (regions): write 2 to 3, or leave it out"
    ],
    [
      "a quorum counted over buckets of one region",
      (d) => {
        d.buckets[1].region = "us-east-1"
        d.buckets[2].region = "us-east-1"
        d.bucketSets = { quorum: { writes: 2 } }
      },
      "bucketSets.quorum.writes: 2 is no majority of the set's 1 distinct failure domains (regions): write 1, or leave it out"
    ],
    [
      "a bad set name",
      (d) => (d.bucketSets = { "a b": {} }),
      `bucketSets.a b: "a b" cannot be a name: write ${NAME_RULE}`
    ],
    [
      "a wrong setting",
      (d) => (d.settings = { "num.partitions": 0 }),
      'settings["num.partitions"]: 0 is too small: write a whole number from 1 to 10000 (count; default 1)'
    ]
  ]
  for (const [what, change, problem] of cases) {
    it(`with ${what} names field, value and fix`, () => {
      assert.deepStrictEqual(problemsOf(withChange(change)), [problem])
    })
  }

  const urls: ReadonlyArray<readonly [url: string, problem: RegExp]> = [
    ["/srv/east", /^buckets\[0\]\.url: "\/srv\/east" has no scheme .*write for example file:\/\/\/absolute/],
    ["flie:///srv", /did you mean "file"/],
    ["http://bucket", /has no scheme that is known here \(file: or memory: or s3: or gs: or az:\)/],
    ["file://host/srv", /names a host: write three slashes/],
    ["file:", /has no usable path/],
    ["file:///srv#1", /has no usable path/],
    ["file:///srv?fsnc=true", /unknown parameter "fsnc" \(did you mean "fsync"\?\)/],
    ["file:///srv?fsync=yes", /has fsync=yes: write fsync=true or fsync=false/],
    ["file:///srv?fsync=true&fsync=false", /has fsync twice/],
    ["file:///srv%zz", /has a % that begins no escape/],
    ["memory:x", /write memory:/]
  ]
  for (const [url, problem] of urls) {
    it(`with the bucket URL ${url} is refused`, () => {
      const problems = problemsOf(withChange((document) => (document.buckets[0].url = url)))
      assert.lengthOf(problems, 1)
      assert.match(problems[0]!, problem)
    })
  }

  it("reports every problem of the file, of shape or meaning", () => {
    const shape = problemsOf(
      withChange((document) => {
        document.clutser = document.cluster
        delete document.cluster
        document.buckets[0].url = 5
      })
    )
    assert.deepStrictEqual(pathsOf(shape), ["buckets[0].url", "cluster", "clutser"])
    const meaning = problemsOf(
      withChange((document) => {
        document.buckets[0].url = "nowhere"
        document.buckets[1].region = "mars"
        document.metadata.url = "postgres://x"
        document.settings = { nope: 1, "cache.bytes": -1 }
      })
    )
    assert.deepStrictEqual(pathsOf(meaning), [
      "buckets[0].url",
      "buckets[1].region",
      "metadata.url",
      'settings["cache.bytes"]',
      'settings["nope"]'
    ])
  })

  it("with neither regions nor buckets says both", () => {
    const text = withChange((document) => {
      document.regions = []
      document.buckets = []
    })
    assert.deepStrictEqual(problemsOf(text), [
      "regions: is empty: add at least one region",
      "buckets: is empty: add at least one bucket"
    ])
  })

  it("that is no YAML says where", () => {
    assert.match(problemsOf("cluster: a\ncluster: b\n")[0]!, /neither YAML nor JSON: Duplicate key 'cluster' at line 2/)
    assert.match(problemsOf("cluster: [")[0]!, /neither YAML nor JSON/)
    assert.match(problemsOf("")[0]!, /null is not allowed here: write a topology/)
    assert.match(problemsOf("- 1")[0]!, /is not allowed here: write a topology/)
    assert.match(problemsOf(`cluster: ${"x".repeat(2_000_000)}`)[0]!, /larger than 1048576 bytes/)
  })

  it("is told with the file's name and a line per problem", () => {
    const result = parseTopology("{}", "topology.json")
    assert.isTrue(Result.isFailure(result))
    if (Result.isFailure(result))
      assert.match(result.failure.message, /^topology\.json:\n {2}cluster: is missing.*\n {2}/)
  })
})

describe("a topology", () => {
  it("has every default that README.md promises", () => {
    const topology = topologyOf(JSON.stringify(RIGHT))
    assert.deepStrictEqual(topology.regions[1], { name: "us-west-2", zones: [] })
    assert.deepStrictEqual(topology.buckets[0], {
      name: "east",
      region: "us-east-1",
      zone: "us-east-1",
      location: { kind: "file", directory: "/srv/east", fsync: true }
    })
    assert.deepStrictEqual(topology.buckets[1]!.location, { kind: "file", directory: "/srv/west", fsync: false })
    assert.deepStrictEqual(
      [...topology.bucketSets.values()],
      [{ name: "quorum", buckets: ["east", "west", "ireland"], writes: 2, failureDomain: "region" }]
    )
  })

  it("takes relative paths from the file's own directory", () => {
    const topology = topologyOf(JSON.stringify(RIGHT))
    assert.deepInclude(topology.buckets[2]!.location, { directory: "/etc/meridian/ireland" })
    assert.deepStrictEqual(topology.metadata, { kind: "sqlite", file: "/etc/meridian/meta.db", fsync: true })
  })

  it("counts zones as failure domains where the set says so", () => {
    const topology = topologyOf(
      withChange((document) => {
        document.regions = [{ name: "us-east-1", zones: ["az1", "az2", "az3"] }]
        document.buckets = ["az1", "az2", "az3"].map((zone) => ({
          name: zone,
          region: "us-east-1",
          zone,
          url: `file:///srv/${zone}`
        }))
        document.bucketSets = { quorum: { failureDomain: "zone" } }
      })
    )
    assert.strictEqual(topology.bucketSets.get("quorum")?.writes, 2)
    assert.strictEqual(failureDomainOf(topology.buckets[0]!, "zone"), "us-east-1/az1")
    assert.strictEqual(failureDomainOf(topology.buckets[0]!, "region"), "us-east-1")
  })

  it("is found by an agent's flags, or says what they should be", () => {
    const topology = topologyOf(JSON.stringify(RIGHT))
    assert.deepStrictEqual(agentPlace(topology, { region: "us-east-1" }), { region: "us-east-1", zone: "az1" })
    assert.deepStrictEqual(agentPlace(topology, { region: "us-east-1", zone: "az2" }), {
      region: "us-east-1",
      zone: "az2"
    })
    assert.deepStrictEqual(agentPlace(topology, { region: "us-west-2" }), { region: "us-west-2", zone: "us-west-2" })
    assert.deepInclude(agentPlace(topology, { region: "us-east-2" }), { path: "--region" })
    assert.deepInclude(agentPlace(topology, { region: "us-east-1", zone: "az9" }), { path: "--zone" })
  })

  it("can be written with URLs that mean any path", () => {
    for (const path of ["/srv/a b/c%20d?e#f", "relative/ä", "/"]) {
      const location = parseBucketUrl(fileBucketUrl(path, "no-fsync"), "/base")
      assert.deepStrictEqual(location, {
        kind: "file",
        directory: path.startsWith("/") ? path : `/base/${path}`,
        fsync: false
      })
    }
    assert.strictEqual(sqliteUrl("/srv/m.db", "fsync"), "sqlite:///srv/m.db?fsync=true")
  })

  it("has the first region as its home, or the one that it names", () => {
    assert.strictEqual(topologyOf(JSON.stringify(RIGHT)).home, "us-east-1")
    assert.strictEqual(topologyOf(withChange((d) => (d.metadata.home = "eu-west-1"))).home, "eu-west-1")
  })

  it("gives an agent its own region's database servers first, then the others in order", () => {
    const endpoints = ["us-east-1", "us-west-2", "eu-west-1", "us-west-2"].map((region, index) => ({
      region,
      url: `postgres://app@db${index}/x`
    }))
    const { metadata } = topologyOf(withChange((d) => (d.metadata = { url: "postgres://app@any/x", endpoints })))
    if (metadata.kind !== "postgres") return assert.fail(metadata.kind)
    assert.strictEqual(metadata.migrate, "auto")
    const hostsFor = (region: string) => endpointsFor(metadata.endpoints, region).map(({ host }) => host)
    assert.deepStrictEqual(hostsFor("us-west-2"), ["db1", "db3", "db0", "db2", "any"])
    assert.deepStrictEqual(hostsFor("eu-west-1"), ["db2", "db0", "db1", "db3", "any"])
    assert.deepStrictEqual(
      metadata.endpoints.map(({ field }) => field),
      [0, 1, 2, 3].map((index) => `metadata.endpoints[${index}].url`).concat("metadata.url")
    )
  })

  it("in regions/README.md is right, and every field of it is described there", () => {
    const readme = readFileSync(new URL("../../../regions/README.md", import.meta.url), "utf8")
    const example = /```yaml\n([\s\S]*?)```/.exec(readme)?.[1]
    assert.isDefined(example)
    const topology = topologyOf(example!)
    assert.lengthOf(topology.buckets, 3)
    assert.strictEqual(topology.settings.numPartitions, 12)
    for (const field of [
      "cluster",
      "regions[].zones",
      "buckets[].zone",
      "bucketSets.NAME.writes",
      "metadata.url",
      "metadata.endpoints[].region",
      "metadata.endpoints[].url",
      "metadata.home",
      "metadata.migrate",
      "settings"
    ]) {
      assert.include(readme, `\`${field}\``)
    }
  })
})
