import { Effect } from "effect"
import { type CommandFailed, failed } from "./command-failed.ts"
export const run = (_options: object): Effect.Effect<void, CommandFailed> => Effect.suspend(() => failed("not yet"))
