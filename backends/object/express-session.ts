/**
 * The session of one directory bucket (S3 Express One Zone): what its requests are signed with.
 *
 * One at a time, asked for once by however many calls wait, renewed in the background long before it ends, and dropped
 * when the store says that it is not valid. Why not the SDK's own provider: when its renewal in the background fails,
 * nobody hears it and the process ends with an unhandled rejection (client-s3 3.1175); and a session that cannot be had
 * must be told from a request that failed, because then nothing was sent. Ages are counted from when the answer came, so
 * a wrong clock of this machine does not matter.
 */
import { limits } from "#core/model/limits.ts"

export interface SessionCredentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken: string
}

/** A session could not be made: the request that needed it was not sent. */
export class SessionFailed extends Error {
  override readonly name = "SessionFailed"
}

export class ExpressSession {
  readonly #create: () => Promise<SessionCredentials>
  #held: { readonly credentials: SessionCredentials; readonly madeAtMs: number } | undefined
  #creating: Promise<SessionCredentials> | undefined
  #failedAtMs = Number.NEGATIVE_INFINITY

  constructor(create: () => Promise<SessionCredentials>) {
    this.#create = create
  }

  async credentials(): Promise<SessionCredentials> {
    const nowMs = performance.now()
    const held = this.#held
    const ageMs = held === undefined ? Number.POSITIVE_INFINITY : nowMs - held.madeAtMs
    if (held === undefined || ageMs >= limits.expressSessionMs) return await this.#renew()
    if (ageMs >= limits.expressSessionRenewMs && nowMs - this.#failedAtMs >= limits.expressSessionRetryMs) {
      // Whoever needs the answer asks again when the old one has ended.
      this.#renew().catch(() => {})
    }
    return held.credentials
  }

  /** The store said that it is not valid. */
  drop(): void {
    this.#held = undefined
  }

  #renew(): Promise<SessionCredentials> {
    this.#creating ??= this.#make().finally(() => {
      this.#creating = undefined
    })
    return this.#creating
  }

  async #make(): Promise<SessionCredentials> {
    try {
      const credentials = await this.#create()
      this.#held = { credentials, madeAtMs: performance.now() }
      return credentials
    } catch (cause) {
      this.#failedAtMs = performance.now()
      throw new SessionFailed("no session of the directory bucket", { cause })
    }
  }
}
