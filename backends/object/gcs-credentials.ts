/**
 * Google's default credentials, as the SDK finds them: GOOGLE_APPLICATION_CREDENTIALS, gcloud's file, workload identity,
 * the metadata server of a machine.
 *
 * Of the SDK only this is used (http-exchange.ts says why), and it is loaded only where credentials are needed: that takes
 * some 30 ms from the bundle and ten times that from sources. Tokens are kept and renewed by the SDK; one that is being fetched is fetched once for all.
 */
import { failureOfToken } from "./gcs-error.ts"
import { CloudFault } from "./http-fault.ts"

/** The headers that authorize one request. Rejects with CloudFault. */
export type Authorize = () => Promise<Readonly<Record<string, string>>>

export const anonymous: Authorize = () => Promise.resolve({})

export const defaultCredentials = async (): Promise<Authorize> => {
  const { Storage } = await import("@google-cloud/storage")
  // Without a project it would look for one, some kinds of credentials by a request of their own; objects need none.
  const { authClient } = new Storage({ projectId: "unused", retryOptions: { autoRetry: false, maxRetries: 0 } })
  return async () => {
    try {
      return Object.fromEntries(await authClient.getRequestHeaders())
    } catch (error) {
      throw new CloudFault(failureOfToken(tokenErrorOf(error)))
    }
  }
}

/** Of a Gaxios error what can be told to people: neither its request nor its configuration, which hold secrets. */
const tokenErrorOf = (error: unknown): Parameters<typeof failureOfToken>[0] => {
  const fields = (typeof error === "object" && error !== null ? error : {}) as {
    readonly code?: unknown
    readonly message?: unknown
    readonly response?: { readonly status?: unknown; readonly data?: { readonly error?: unknown } }
  }
  const oauth = fields.response?.data?.error
  const code = typeof oauth === "string" ? oauth : typeof fields.code === "string" ? fields.code : ""
  const status = typeof fields.response?.status === "number" ? fields.response.status : 0
  return { status, code, message: typeof fields.message === "string" ? fields.message : "" }
}
