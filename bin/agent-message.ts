/** What an agent tells its supervisor over their IPC channel; both are of one build, so this may change at will. */
export type AgentMessage =
  | { readonly type: "ready"; readonly kafkaPort: number; readonly httpPort: number }
  /** The agent ends after it. */
  | { readonly type: "failed"; readonly message: string; readonly exitCode: 1 | 2 }

export const isAgentMessage = (message: unknown): message is AgentMessage =>
  typeof message === "object" &&
  message !== null &&
  "type" in message &&
  (message.type === "ready" || message.type === "failed")

/** Ends when it is handed over, also where nobody listens any more. */
export const tellSupervisor = (message: AgentMessage): Promise<void> =>
  new Promise((resolve) => {
    if (process.send === undefined || !process.connected) return resolve()
    process.send(message, () => resolve())
  })
