/** Invariant 1: an object key has one content, in whichever bucket and however often it is put. */
import { crc32c } from "#core/records/crc32c.ts"
import { CheckFailed } from "../engine/check-failed.ts"

export class Written {
  /** Length and checksum, by key. */
  readonly #contents = new Map<string, string>()

  put(bucket: string, key: string, body: Buffer, outcome: "stored" | "existed"): void {
    const content = `${body.length} bytes, CRC ${crc32c(body)}`
    const first = this.#contents.get(key)
    if (first === undefined) this.#contents.set(key, content)
    else if (first !== content) {
      throw new CheckFailed("written-once", "a key is put a second time with another content", {
        bucket,
        key,
        outcome,
        first,
        content
      })
    }
  }
}
