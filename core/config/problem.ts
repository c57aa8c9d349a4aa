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
  const text = value === undefined ? "nothing" : (JSON.stringify(value) ?? `a ${typeof value}`)
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

/** Letters to replace, add, drop or swap with their neighbour to get from one name to the other; `limit` where no fewer. */
const editDistance = (left: string, right: string, limit: number): number => {
  if (Math.abs(left.length - right.length) >= limit || left.length > COMPARED_LENGTH_MAX) return limit
  let beforeLast: ReadonlyArray<number> = []
  let last: ReadonlyArray<number> = Array.from({ length: right.length + 1 }, (_, index) => index)
  for (let row = 1; row <= left.length; row++) {
    const current = [row]
    for (let column = 1; column <= right.length; column++) {
      const replaced = last[column - 1]! + (left[row - 1] === right[column - 1] ? 0 : 1)
      const isSwapped = left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1]
      const swapped = row > 1 && column > 1 && isSwapped ? beforeLast[column - 2]! + 1 : replaced
      current.push(Math.min(replaced, swapped, last[column]! + 1, current[column - 1]! + 1))
    }
    beforeLast = last
    last = current
  }
  return Math.min(limit, last[right.length]!)
}
