/** Whether ports are free, found out by listening on each for a moment: before anything is started, not after half of it is. */
import { createServer } from "node:net"
import { Effect } from "effect"

export type PortState = "free" | "in use" | "not permitted" | "unusable"

export const checkPort = (host: string, port: number): Effect.Effect<PortState> =>
  Effect.callback<PortState>((resume) => {
    const server = createServer()
    server.once("error", ({ code }: NodeJS.ErrnoException) => {
      const state = code === "EADDRINUSE" ? "in use" : code === "EACCES" ? "not permitted" : "unusable"
      resume(Effect.succeed(state))
    })
    server.listen({ host, port, exclusive: true }, () => server.close(() => resume(Effect.succeed("free"))))
  })
