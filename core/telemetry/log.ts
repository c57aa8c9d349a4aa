/**
 * Log events: what an agent says to operators. Loggers for Effect's own log functions, in two forms.
 *
 * An event is a short fixed text and fields: `Effect.logWarning("bucket failed", { bucket, reason })` or the same with
 * `Effect.annotateLogs`. A cause among the arguments becomes the field `cause`. JSON: one object per line with `time`,
 * `level`, `event`, then the fields. Pretty: the same for people, on one line.
 *
 * A logger only formats and hands over a line; where it goes and what happens when nobody takes it is the writer's
 * matter (bin/log-writer.ts). No log per record or batch, and `error` means that somebody has to act.
 */
import { Cause, type Layer, Logger, type LogLevel, References } from "effect"

export type LogFormat = "json" | "pretty"
export type WriteLine = (line: string) => void

export interface LogEvent {
  readonly time: Date
  readonly level: LogLevel.LogLevel
  readonly event: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Replaces the loggers. `fields` (region, agent) are part of every event. */
export const layer = (options: {
  readonly format: LogFormat
  readonly fields: Readonly<Record<string, unknown>>
  readonly write: WriteLine
}): Layer.Layer<never> => {
  const render = options.format === "json" ? renderJson : renderPretty
  return Logger.layer([
    Logger.make<unknown, void>(({ message, logLevel, cause, date, fiber }) => {
      const annotations = fiber.getRef(References.CurrentLogAnnotations)
      const event = eventOf(message, cause, { ...(options.format === "json" ? options.fields : {}), ...annotations })
      options.write(render({ ...event, time: date, level: logLevel }))
    })
  ])
}

/** One JSON object, without line break. Fields never hide `time`, `level` and `event`. */
export const renderJson = ({ time, level, event, fields }: LogEvent): string =>
  JSON.stringify({ ...fields, time: time.toISOString(), level: level.toLowerCase(), event }, jsonValue)

/** `12:00:01.250 warn  bucket failed  bucket=us-west-2 reason=TimedOut` */
export const renderPretty = ({ time, level, event, fields }: LogEvent): string => {
  const shown = Object.entries(fields).map(([name, value]) => `${name}=${prettyValue(value)}`)
  return [`${time.toISOString().slice(11, 23)} ${level.toLowerCase().padEnd(5)} ${event}`, ...shown].join(" ")
}

const eventOf = (
  message: unknown,
  cause: Cause.Cause<unknown>,
  fields: Record<string, unknown>
): { readonly event: string; readonly fields: Record<string, unknown> } => {
  const texts: Array<string> = []
  for (const part of Array.isArray(message) ? message : [message]) {
    if (Cause.isCause(part)) fields["cause"] = Cause.pretty(part)
    else if (part instanceof Error) fields["cause"] = part.message
    else if (typeof part === "object" && part !== null) Object.assign(fields, part)
    else texts.push(String(part))
  }
  if (cause.reasons.length > 0) fields["cause"] = Cause.pretty(cause)
  return { event: texts.join(" "), fields }
}

const jsonValue = (_key: string, value: unknown): unknown => {
  if (typeof value === "bigint") return value.toString()
  if (value instanceof Error) return value.message
  return value
}

const prettyValue = (value: unknown): string => {
  if (typeof value === "number" || typeof value === "boolean") return String(value)
  const text = typeof value === "string" ? value : (JSON.stringify(value, jsonValue) ?? String(value))
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(text)
}
