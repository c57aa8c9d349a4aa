/** Splits a stream into lines, with a bound: a program that never ends its line must not fill this one's memory. */
import { type Readable } from "node:stream"

const LINE_LENGTH_MAX = 64 * 1024

export const eachLine = (stream: Readable, onLine: (line: string) => void): void => {
  let rest = ""
  stream.setEncoding("utf8")
  stream.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n")
    rest = lines.pop()!
    for (const line of lines) onLine(line)
    if (rest.length > LINE_LENGTH_MAX) {
      onLine(rest)
      rest = ""
    }
  })
  stream.once("end", () => {
    if (rest.length > 0) onLine(rest)
  })
}
