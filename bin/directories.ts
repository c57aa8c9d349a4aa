/**
 * Makes a directory and those above it.
 *
 * Not by Node's `mkdir` with `recursive`: below a directory that takes no entries, as /proc, it tries for ever.
 */
import { mkdirSync, statSync } from "node:fs"
import { dirname } from "node:path"

/** They may exist. Throws the file system's own error. */
export const makeDirectories = (path: string): void => {
  const missing: Array<string> = []
  for (let next = path; !isThere(next); next = dirname(next)) missing.push(next)
  for (const directory of missing.toReversed()) makeOne(directory)
}

/** The root always is, so the search upwards ends. */
const isThere = (path: string): boolean =>
  dirname(path) === path || statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** Another process may be faster. */
const makeOne = (path: string): void => {
  try {
    mkdirSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST" || !isThere(path)) throw error
  }
}
