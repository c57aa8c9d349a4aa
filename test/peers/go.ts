/** Go, which builds some of the peers. */
import { isInstalled, run } from "./child-process.ts"

/** What is missing for a program that needs Go 1.`minorMin`, or undefined. */
export async function goMissing(minorMin: number): Promise<string | undefined> {
  if (!isInstalled("go", ["version"])) return `Go is missing: install Go 1.${minorMin} or newer`
  const version = (await run("go", ["version"], { deadlineMs: 30_000 })).stdout.toString()
  const [, major, minor] = /go(\d+)\.(\d+)/.exec(version) ?? []
  if (Number(major) > 1 || Number(minor) >= minorMin) return undefined
  return `Go ${major}.${minor} is too old: install Go 1.${minorMin} or newer`
}
