/**
 * When to tell people of something that fails again and again [pure]: once, as soon as it has lasted for a while, and once
 * more when it is over. What is over before that is nobody's concern.
 */
import { limits } from "#core/model/limits.ts"

export class LastingFailure {
  private sinceMs: number | undefined
  private isTold = false

  /** After a failed attempt: how long it has lasted, where that is to be told now. */
  failed(nowMs: number): number | undefined {
    this.sinceMs ??= nowMs
    const lastedMs = nowMs - this.sinceMs
    if (this.isTold || lastedMs < limits.failureToldMs) return undefined
    this.isTold = true
    return lastedMs
  }

  /** After an attempt that went well: how long it had failed, where people were told that it did. */
  ended(nowMs: number): number | undefined {
    const lastedMs = this.isTold && this.sinceMs !== undefined ? nowMs - this.sinceMs : undefined
    this.sinceMs = undefined
    this.isTold = false
    return lastedMs
  }
}
