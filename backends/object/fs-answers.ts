/**
 * Answers of a bucket's thread on their way to the agent, several in one message.
 *
 * Those that are ready while the thread has more to do wait for each other, since each message may wake the agent. They
 * wait for a bounded number and time, looked at before each further call: a call that hangs keeps back only what was
 * ready so shortly before it.
 */
import { limits } from "#core/model/limits.ts"
import type { FromThread, ThreadAnswer } from "./fs-messages.ts"

export class HeldAnswers {
  readonly #send: (answers: FromThread, transferred: ReadonlyArray<ArrayBuffer>) => void
  #answers: Array<ThreadAnswer> = []
  #transferred: Array<ArrayBuffer> = []
  #heldSinceMs = 0

  constructor(send: (answers: FromThread, transferred: ReadonlyArray<ArrayBuffer>) => void) {
    this.#send = send
  }

  add(answer: ThreadAnswer, nowMs: number): void {
    if (this.#answers.length === 0) this.#heldSinceMs = nowMs
    this.#answers.push(answer)
    if (answer.kind === "got") this.#transferred.push(answer.bytes)
  }

  /** To be called before anything that may block. */
  sendIfDue(nowMs: number): void {
    const isDue =
      this.#answers.length >= limits.directoryAnswersHeld || nowMs - this.#heldSinceMs >= limits.directoryAnswersHeldMs
    if (isDue) this.send()
  }

  send(): void {
    if (this.#answers.length === 0) return
    const answers = this.#answers
    const transferred = this.#transferred
    this.#answers = []
    this.#transferred = []
    this.#send(answers, transferred)
  }
}
