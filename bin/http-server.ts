/**
 * The agent's HTTP port: /live, /ready and /metrics.
 *
 * - /live answers 200 while the process turns its event loop: a failed probe means "restart it".
 * - /ready answers 200 while this agent can serve clients, else 503 with the reasons as JSON: "send clients elsewhere".
 *   A 200 names in `degraded` what is not well all the same: nothing to act upon for a load balancer, but for people.
 * - /metrics is what Prometheus scrapes.
 *
 * Answers come from memory alone, so that a probe is quick also while the database or a bucket hangs. Connections,
 * headers and times are bounded (core/model/limits.ts); nothing reads a request's body.
 */
import { type IncomingMessage, type RequestListener, type Server, type ServerResponse, createServer } from "node:http"
import { type AddressInfo } from "node:net"
import { Effect, type Scope } from "effect"
import { limits } from "#core/model/limits.ts"
import { ListenError } from "#core/ports/network.ts"

export interface HttpOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** Why the agent is not ready; empty: it is. From memory, at once. */
  readonly notReady: () => ReadonlyArray<string>
  /** What is not well while the agent can serve all the same; told where it is ready. From memory, at once. */
  readonly degraded?: () => ReadonlyArray<string>
  readonly serveMetrics: RequestListener
}

/** Listens until the scope closes. Answers with the port. */
export const listen = (options: HttpOptions): Effect.Effect<number, ListenError, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<Server, ListenError>((resume) => {
        const server = createServer(
          {
            maxHeaderSize: limits.httpHeaderBytesMax,
            requestTimeout: limits.httpRequestTimeoutMs,
            headersTimeout: limits.httpRequestTimeoutMs,
            keepAliveTimeout: limits.httpKeepAliveMs
          },
          (request, response) => answer(options, request, response)
        )
        server.maxConnections = limits.httpConnectionsMax
        server.once("error", (cause) => resume(Effect.fail(listenError(options, cause))))
        server.listen(options.port, options.host, () => resume(Effect.succeed(server)))
      }),
      close
    ),
    (server) => (server.address() as AddressInfo).port
  )

const close = (server: Server): Effect.Effect<void> =>
  Effect.callback<void>((resume) => {
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })

const answer = (options: HttpOptions, request: IncomingMessage, response: ServerResponse): void => {
  request.resume()
  const path = (request.url ?? "").split("?", 1)[0]
  if (request.method !== "GET" && request.method !== "HEAD") {
    response.setHeader("allow", "GET, HEAD")
    return sendJson(response, 405, { status: "method not allowed" })
  }
  switch (path) {
    case "/live":
      return sendJson(response, 200, { status: "live" })
    case "/ready": {
      const reasons = options.notReady()
      if (reasons.length > 0) return sendJson(response, 503, { status: "not ready", reasons })
      const degraded = options.degraded?.() ?? []
      return sendJson(response, 200, degraded.length === 0 ? { status: "ready" } : { status: "ready", degraded })
    }
    case "/metrics":
      return options.serveMetrics(request, response)
    default:
      return sendJson(response, 404, { status: "not found", paths: ["/live", "/ready", "/metrics"] })
  }
}

const sendJson = (response: ServerResponse, status: number, body: unknown): void => {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" })
  response.end(`${JSON.stringify(body)}\n`)
}

const REASONS: Readonly<Record<string, ListenError["reason"]>> = {
  EADDRINUSE: "AddressInUse",
  EADDRNOTAVAIL: "AddressNotAvailable",
  ENOTFOUND: "AddressNotAvailable",
  EACCES: "AccessDenied"
}

const listenError = ({ host, port }: HttpOptions, cause: NodeJS.ErrnoException): ListenError =>
  new ListenError({ reason: REASONS[cause.code ?? ""] ?? "Other", host, port, cause })
