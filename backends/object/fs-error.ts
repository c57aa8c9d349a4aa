/**
 * What the errors of a directory-backed bucket mean: errno to the port's reasons and outcomes.
 *
 * Rule for outcomes: before the final name was asked for (link), nothing has happened. After it, an answer by which the
 * file system refuses is definite as well; an answer that only says that something broke (EIO, ESTALE, time-outs of
 * network file systems) is not.
 */
// Types only, as everywhere that a bucket's threads load: the port itself brings Effect with it.
import type { ObjectStoreReason } from "#core/ports/object-store.ts"

/** An error of a call, with the reason that the call knows better than the errno does. */
export class DirectoryFault extends Error {
  override readonly name = "DirectoryFault"
  readonly reason: ObjectStoreReason

  constructor(reason: ObjectStoreReason, message: string) {
    super(message)
    this.reason = reason
  }
}

export const errnoOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : ""

/** The path or a directory of it is not there: the object is not, or the whole bucket is not. */
export const isAbsence = (error: unknown): boolean => {
  const errno = errnoOf(error)
  return errno === "ENOENT" || errno === "ENOTDIR"
}

export const reasonOf = (error: unknown): ObjectStoreReason =>
  error instanceof DirectoryFault ? error.reason : (REASON_BY_ERRNO[errnoOf(error)] ?? "Unavailable")

/** `changing`: a system call that may have changed what readers see had been sent when the error came. */
export const outcomeOf = (reason: ObjectStoreReason, changing: boolean): "definite" | "indefinite" =>
  changing && !isRefusal(reason) ? "indefinite" : "definite"

const isRefusal = (reason: ObjectStoreReason): boolean =>
  reason === "AlreadyExists" || reason === "InvalidRequest" || reason === "AccessDenied" || reason === "StorageFull"

/** What is not here (EIO, ESTALE, EMFILE, ENXIO, ENOTCONN, EXDEV…) is Unavailable. */
const REASON_BY_ERRNO: Readonly<Record<string, ObjectStoreReason>> = {
  ENOSPC: "StorageFull",
  EDQUOT: "StorageFull",
  EFBIG: "StorageFull",
  EACCES: "AccessDenied",
  EPERM: "AccessDenied",
  EROFS: "AccessDenied",
  ENAMETOOLONG: "InvalidRequest",
  ENOTDIR: "InvalidRequest",
  EISDIR: "InvalidRequest"
}
