/**
 * Problems of what an operator wrote [pure]: one per wrong field, in words that name the field and the fix.
 *
 * All problems of a document are collected before anyone is told, so that it is mended in one go. Nothing here decides
 * what is wrong; it only holds and prints it.
 */

export interface Problem {
  /** Where it stands, as in code: `buckets[1].url`. */
  readonly path: string
  /** What is wrong with which value, and what to write instead. */
  readonly message: string
}

export const formatProblems = (problems: ReadonlyArray<Problem>): string =>
  problems.map((problem) => (problem.path === "" ? problem.message : `${problem.path}: ${problem.message}`)).join("\n")

/** A value as a message shows it: JSON, cut where it would fill the line. */
export const showValue = (value: unknown): string => {
  const text = value === undefined ? "nothing" : (JSON.stringify(value) ?? String(value))
  return text.length <= SHOWN_LENGTH_MAX ? text : `${text.slice(0, SHOWN_LENGTH_MAX)}…`
}

/** ` (did you mean "x"?)` where one of the known names is close to what was written, else nothing. */
export const didYouMean = (written: string, known: Iterable<string>): string => {
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(written.length / 3)) + 1
  for (const name of known) {
    const distance = editDistance(written.toLowerCase(), name.toLowerCase(), bestDistance)
    if (distance < bestDistance) {
      best = name
      bestDistance = distance
    }
  }
  return best === undefined ? "" : ` (did you mean ${JSON.stringify(best)}?)`
}

const SHOWN_LENGTH_MAX = 80

/** Names longer than this are not compared: no name of ours is, and the cost grows with the square. */
const COMPARED_LENGTH_MAX = 256

/** Levenshtein's distance of two names, or `limit` where it is no smaller. */
const editDistance = (left: string, right: string, limit: number): number => {
  if (Math.abs(left.length - right.length) >= limit || left.length > COMPARED_LENGTH_MAX) return limit
  let previous = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let row = 1; row <= left.length; row++) {
    const current = [row]
    for (let column = 1; column <= right.length; column++) {
      const replaced = previous[column - 1]! + (left[row - 1] === right[column - 1] ? 0 : 1)
      current.push(Math.min(replaced, previous[column]! + 1, current[column - 1]! + 1))
    }
    previous = current
  }
  return Math.min(limit, previous[right.length]!)
}
