/**
 * What happened, line by line: `time who what`. The same seed gives the same lines, byte for byte.
 *
 * Lines are functions, so that a run that nobody traces does not pay for them.
 */
export class Trace {
  readonly lines: Array<string> = []
  readonly isOn: boolean
  readonly #nowMs: () => number

  constructor(kind: "lines" | "none", nowMs: () => number) {
    this.isOn = kind === "lines"
    this.#nowMs = nowMs
  }

  add(who: string, what: () => string): void {
    if (this.isOn) this.lines.push(`${(this.#nowMs() / 1000).toFixed(6).padStart(11)} ${who.padEnd(12)} ${what()}`)
  }
}
