/** How a command fails: one line for people, and an exit code: 2 for what its caller can mend (flags, files, ports), else 1. */
import { Schema } from "effect"

export class CommandFailed extends Schema.TaggedError<CommandFailed>()("CommandFailed", {
  message: Schema.String,
  exitCode: Schema.Literals([1, 2])
}) {}

/** The caller has to change something. */
export const invalid = (message: string): CommandFailed => new CommandFailed({ message, exitCode: 2 })

/** It did not work, though what was asked made sense. */
export const failed = (message: string): CommandFailed => new CommandFailed({ message, exitCode: 1 })

/** What a port's error knows beyond its kind: often a field, and a fix. */
export const causeText = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
