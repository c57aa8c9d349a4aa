/**
 * Google's default credentials through the SDK, as far as they go without Google: workload identity, whose token server can
 * be any. Method: a token server in this process and a credentials file that names it.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Cause } from "effect"
import { defaultCredentials } from "#backends/object/gcs-credentials.ts"
import { CloudFault } from "#backends/object/http-fault.ts"

const VARIABLE = "GOOGLE_APPLICATION_CREDENTIALS"

/** Counts the tokens that it gave; refuses with `error` where there is one. */
const tokenServer = (error?: string) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const folder = mkdtempSync(join(tmpdir(), "meridian-gcs-"))
      const given = { tokens: 0 }
      const server = createServer((request, response) => {
        request.resume().on("end", () => {
          response.writeHead(error === undefined ? 200 : 400, { "content-type": "application/json" })
          const token = { access_token: `token-${++given.tokens}`, token_type: "Bearer", expires_in: 3_600 }
          const kind = "urn:ietf:params:oauth:token-type:access_token"
          response.end(JSON.stringify(error === undefined ? { ...token, issued_token_type: kind } : { error }))
        })
      })
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
      const { port } = server.address() as AddressInfo
      writeFileSync(join(folder, "subject"), "subject")
      const credentials = {
        type: "external_account",
        audience: "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
        token_url: `http://127.0.0.1:${port}/token`,
        credential_source: { file: join(folder, "subject") }
      }
      writeFileSync(join(folder, "credentials.json"), JSON.stringify(credentials))
      const before = process.env[VARIABLE]
      process.env[VARIABLE] = join(folder, "credentials.json")
      return { folder, server, given, before }
    }),
    ({ folder, server, before }) =>
      Effect.sync(() => {
        if (before === undefined) delete process.env[VARIABLE]
        else process.env[VARIABLE] = before
        server.close()
        server.closeAllConnections()
        rmSync(folder, { recursive: true, force: true })
      })
  )

describe("Google's default credentials", () => {
  it.effect("give the header of each request, of one token for all, and ask nobody else", () =>
    Effect.gen(function* () {
      const { given } = yield* tokenServer()
      const authorize = yield* Effect.promise(defaultCredentials)
      const headers = yield* Effect.promise(() => Promise.all([authorize(), authorize(), authorize()]))
      for (const header of headers) assert.strictEqual(header["authorization"], headers[0]!["authorization"])
      assert.match(headers[0]!["authorization"] ?? "", /^Bearer token-\d$/)
      const tokens = given.tokens
      yield* Effect.promise(() => authorize())
      assert.strictEqual(given.tokens, tokens)
    })
  )

  it.effect("that are refused say what to renew", () =>
    Effect.gen(function* () {
      yield* tokenServer("invalid_grant")
      const authorize = yield* Effect.promise(defaultCredentials)
      const exit = yield* Effect.exit(Effect.tryPromise({ try: authorize, catch: (error) => error }))
      const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined
      assert.instanceOf(error, CloudFault)
      assert.strictEqual(error.failure.reason, "AccessDenied")
      assert.match(error.message, /invalid_grant.*renew/)
    })
  )
})
