/** The clone cannot be made ready. The message is for people: what is wrong and what to do, in one line or with a tool's output. */
export class SetupFailed extends Error {
  constructor(message, exitCode = 1) {
    super(message)
    this.name = "SetupFailed"
    this.exitCode = exitCode
  }
}
