/**
 * A directory for one test, removed after it. Concurrent tests must give their own `onTestFinished`, from their context: the
 * global one may belong to another of them, which would take the directory away too early.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { onTestFinished as ofTheOnlyTest } from "vitest"

export const temporaryDirectory = (onTestFinished: (end: () => void) => void = ofTheOnlyTest): string => {
  const directory = mkdtempSync(join(tmpdir(), "meridian-test-"))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}
