/**
 * Assertions that stay on in production [pure].
 *
 * An assertion states what the programmer relies on. It throws AssertionFailed, which nothing catches on purpose: a
 * broken invariant must stop the work at hand (a defect), never become an error that some caller retries.
 */

export class AssertionFailed extends Error {
  override readonly name = "AssertionFailed"
}

/** Throws AssertionFailed with the message unless the condition holds. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailed(message)
}

/** For the branch that the types say cannot be reached. */
export const unreachable = (value: never): never => {
  throw new AssertionFailed(`unreachable: ${JSON.stringify(value)}`)
}

/** Asserts a whole number that a double holds exactly, not below zero: offsets, sizes, ids. */
export const assertCount = (value: number, name: string): void => {
  assert(Number.isSafeInteger(value) && value >= 0, `${name} must be a whole number >= 0, got ${value}`)
}
