/**
 * The adapters for cloud stores over TLS, as clouds always are: certificates that nobody vouches for, and calls over ones
 * that are trusted. Method: the fakes with a certificate that openssl signs here for 127.0.0.1; skipped where there is no
 * openssl. Trust is the whole process's, so it is given back after each test.
 */
import { execFileSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { getCACertificates, setDefaultCACertificates } from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as azure from "#backends/object/azure.ts"
import * as gcs from "#backends/object/gcs.ts"
import { HttpConnections } from "#backends/object/http-exchange.ts"
import { HttpFault } from "#backends/object/http-fault.ts"
import { isInstalled } from "../peers/child-process.ts"
import { startAzureFake } from "../peers/object-stores/azure-fake.ts"
import { startGcsFake } from "../peers/object-stores/gcs-fake.ts"
import { assertReason } from "./object-store-expectations.ts"

const certificateFor = (name: string) =>
  Effect.sync(() => {
    const folder = mkdtempSync(join(tmpdir(), "meridian-tls-"))
    try {
      const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")]
      const args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
      args.push("-keyout", key, "-out", cert, "-subj", "/CN=fake", "-addext", `subjectAltName=${name}`)
      execFileSync("openssl", args, { stdio: "ignore" })
      return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

const trusted = (cert: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const before = getCACertificates("default")
      setDefaultCACertificates([...before, cert])
      return before
    }),
    (before) => Effect.sync(() => setDefaultCACertificates(before))
  )

const fakes = Effect.fnUntraced(function* (name = "IP:127.0.0.1") {
  const certificate = yield* certificateFor(name)
  const google = yield* Effect.acquireRelease(
    Effect.promise(() => startGcsFake({ bucket: "segments", certificate })),
    ({ http }) => Effect.promise(() => http.close())
  )
  const microsoft = yield* Effect.acquireRelease(
    Effect.promise(() => startAzureFake({ account: "acct", container: "segments", certificate })),
    ({ http }) => Effect.promise(() => http.close())
  )
  const opens = [
    gcs.make({ bucket: "test", location: { kind: "gcs", bucket: "segments", prefix: "", endpoint: google.url } }),
    azure.make({
      bucket: "test",
      location: { kind: "azure", account: "acct", container: "segments", prefix: "", endpoint: microsoft.url },
      environment: { AZURE_STORAGE_KEY: Buffer.alloc(64, 5).toString("base64") }
    })
  ]
  return { certificate, google, microsoft, opens }
})

describe.skipIf(!isInstalled("openssl", ["version"]))("cloud stores over TLS", () => {
  it.effect("put and read, over connections that are used again", () =>
    Effect.gen(function* () {
      const { certificate, google, microsoft, opens } = yield* fakes()
      yield* trusted(certificate.cert)
      const body = Buffer.alloc(3 * 1024 * 1024, "0123456789")
      const chunks = Array.from({ length: 300 }, (_, index) => body.subarray(index * 10_486, (index + 1) * 10_486))
      for (const open of opens) {
        const store = yield* open
        for (const key of ["a", "b", "c"]) yield* store.put(key, chunks)
        assertReason(yield* Effect.flip(store.put("a", chunks)), "AlreadyExists")
        assert.isTrue(body.equals((yield* store.get("b")).bytes))
        assert.strictEqual((yield* store.get("c", { last: 8 })).bytes.length, 8)
        yield* store.deleteMany(["a", "b"])
        assert.deepStrictEqual(yield* store.list({ prefix: "", limit: 5 }), [{ key: "c", objectBytes: body.length }])
      }
      for (const { http } of [google, microsoft]) assert.isAtMost(http.socketsMax, 2)
    })
  )

  it.effect("are not believed where nobody vouches for them, and nothing is sent", () =>
    Effect.gen(function* () {
      const { google, microsoft, opens } = yield* fakes()
      for (const open of opens) {
        const error = yield* Effect.flip(open)
        assertReason(error, "Unavailable")
        assert.match((error.cause as Error).message, /NODE_EXTRA_CA_CERTS/)
      }
      const connections = new HttpConnections({ endpoint: new URL(google.url) })
      const fault = yield* Effect.flip(
        Effect.tryPromise({
          try: () =>
            connections.send({
              method: "POST",
              path: "/",
              headers: {},
              body: [Buffer.from("secret")],
              answerBytesMax: 10,
              signal: new AbortController().signal
            }),
          catch: (error) => error
        })
      )
      connections.close()
      assert.instanceOf(fault, HttpFault)
      assert.deepStrictEqual([fault.kind, fault.isSent], ["socket", false])
      assert.deepStrictEqual([...google.http.seen, ...microsoft.http.seen], [])
    })
  )

  it.effect("are not believed under another host's name", () =>
    Effect.gen(function* () {
      const { certificate, opens } = yield* fakes("DNS:storage.example.org")
      yield* trusted(certificate.cert)
      for (const open of opens) {
        const error = yield* Effect.flip(open)
        assertReason(error, "Unavailable")
        assert.match((error.cause as Error).message, /certificate is another host's/)
      }
    })
  )
})
