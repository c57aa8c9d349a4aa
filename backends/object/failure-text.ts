/**
 * [pure] How failures of object stores are told, of whichever store: what was done, where, what came of it, and the fix.
 *
 * An agent's log and `meridian buckets check` show these lines without this code beside them.
 */

export interface FailureText {
  /** The operation. */
  readonly during: string
  /** URL of the bucket, with the endpoint where it is not the vendor's own. */
  readonly place: string
  readonly what: string
  /** What to do about it; undefined where nothing can be said. */
  readonly fix: string | undefined
}

export const failureText = ({ during, place, what, fix }: FailureText): string =>
  `${during} at ${place}: ${fix === undefined ? what : withFix(what, fix)}`

export const withFix = (what: string, fix: string): string => `${what.replace(/[.\s]+$/, "")}. Fix: ${fix}`

/** What a store answered: its code, the status, its own words. */
export const answerText = (answer: {
  /** Empty where it gave none. */
  readonly code: string
  readonly status: number | undefined
  readonly message: string
}): string => {
  const { code, status, message } = answer
  const http = status === undefined ? "" : `HTTP ${status}`
  const name = code === "" ? http : http === "" ? code : `${code} (${http})`
  return message === "" || message === code ? name : `${name}: ${shown(message)}`
}

export const placeText = (url: string, endpoint: string | undefined): string =>
  endpoint === undefined ? url : `${url} of ${endpoint}`

/** Where a store refuses a body by its checksum. */
export const DAMAGED_FIX =
  "bytes changed on their way and were not stored: if it stays, look at proxies, network and memory"

const MESSAGE_CHARACTERS_MAX = 300

/** One line, and not the whole page that a proxy may send. */
const shown = (message: string): string => {
  const line = message.replaceAll(/\s+/g, " ").trim()
  return line.length <= MESSAGE_CHARACTERS_MAX ? line : `${line.slice(0, MESSAGE_CHARACTERS_MAX)}…`
}
