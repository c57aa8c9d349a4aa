/** The commit that a failure is told with, so that it can be run again. */
import { execFileSync } from "node:child_process"
import { fileURLToPath } from "node:url"

const ROOT = fileURLToPath(new URL("../../..", import.meta.url))

export const commitText = (): string => {
  try {
    const git = (...args: ReadonlyArray<string>): string =>
      execFileSync("git", [...args], { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim()
    return `${git("rev-parse", "--short", "HEAD")}${git("status", "--porcelain") === "" ? "" : ", with changes"}`
  } catch {
    return "unknown"
  }
}
