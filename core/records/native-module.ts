/**
 * Loads a native npm module where this machine has it [pure: it runs code, it reads and writes nothing].
 *
 * An agent must start on a platform for which a package ships no binary: what needs the module is then slower or
 * answered as unsupported, and everything else works.
 */
import { createRequire } from "node:module"

const requireModule = createRequire(import.meta.url)

/** The module's exports, or undefined where it cannot be loaded. */
export const loadNativeModule = <Exports>(name: string): Exports | undefined => {
  try {
    return requireModule(name) as Exports
  } catch {
    return undefined
  }
}
