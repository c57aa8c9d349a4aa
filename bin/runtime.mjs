/**
 * Finds the Node 24 that runs Meridian: the one that npm installed as an optional dependency (Linux on x64 and arm64),
 * else the one that runs this file.
 *
 * `process.execPath` alone will not do: the user's own node may be older, and Meridian's sources need type stripping,
 * node:sqlite and zstd.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { SetupFailed } from "./setup-failed.mjs"

const MAJOR_MIN = 24

/** Path of a node binary of at least version 24. */
export const findRuntime = (root) => {
  const installed = join(root, "node_modules", `node-${process.platform}-${process.arch}`, "bin", "node")
  if (existsSync(installed) && !isMusl()) return installed
  if (Number(process.versions.node.split(".")[0]) >= MAJOR_MIN) return process.execPath
  throw new SetupFailed(
    `needs Node ${MAJOR_MIN} or newer, and this is ${process.version}: there is no packaged Node for ` +
      `${process.platform} on ${process.arch}, so please install one from https://nodejs.org and run this with it`,
    2
  )
}

/** The packaged binaries are linked against glibc and do not start on Alpine and its like. */
const isMusl = () => process.platform === "linux" && existsSync(`/lib/ld-musl-${muslName()}.so.1`) && !existsGlibc()
const muslName = () => (process.arch === "arm64" ? "aarch64" : "x86_64")
const existsGlibc = () => ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"].some((path) => existsSync(path))
