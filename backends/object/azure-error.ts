/**
 * What the errors of Azure's blob service mean [pure]: HTTP status and error code (`x-ms-error-code`) to the port's
 * reasons, outcomes and what to do.
 *
 * Sources: learn.microsoft.com/rest/api/storageservices/{common-rest-api-error-codes,blob-service-error-codes}; answers of
 * Azurite. Rule for outcomes: an answer below 500 refuses (nothing changed), but for 408. Of 5xx nobody knows, also not of
 * ServerBusy, which may come when the work is done.
 */
import type { ObjectStoreReason } from "#core/ports/object-store.ts"
import { answerText, DAMAGED_FIX } from "./failure-text.ts"
import { clockFix, REASON_BY_STATUS, type StoreFailure } from "./http-fault.ts"
import { type ObjectOperation } from "./request-check.ts"

export interface AzureRefusal {
  readonly operation: ObjectOperation
  /** 0 where the answer could not be read at all. */
  readonly status: number
  /** Empty where the answer had none. */
  readonly code: string
  readonly account: string
  readonly container: string
  readonly credential: "key" | "sas"
  /** This machine's clock minus the store's, by the answer's Date; undefined where it had none. */
  readonly clockSkewMs: number | undefined
}

export const failureOfAzure = (refusal: AzureRefusal): StoreFailure => {
  const { status, code } = refusal
  const refused = status >= 400 && status < 500 && status !== 408
  return {
    reason: reasonOf(refusal),
    outcome: refused ? "definite" : "indefinite",
    text: answerText({ code, status: status === 0 ? undefined : status, message: "" }),
    fix: fixOf(refusal)
  }
}

const reasonOf = ({ operation, status, code }: AzureRefusal): ObjectStoreReason => {
  const byCode = REASON_BY_CODE[code]
  if (byCode !== undefined) return byCode
  if (status === 412) return operation === "put" ? "AlreadyExists" : "AccessDenied"
  if (status === 404) return operation === "put" || operation === "list" ? "Unavailable" : "NotFound"
  // Not InvalidRequest of other refusals: keys were checked before.
  return REASON_BY_STATUS[status] ?? "Unavailable"
}

const REASON_BY_CODE: Readonly<Record<string, ObjectStoreReason>> = {
  BlobAlreadyExists: "AlreadyExists",
  // Of a SAS token that may create but not write: what is there may not be overwritten.
  UnauthorizedBlobOverwrite: "AlreadyExists",
  BlobNotFound: "NotFound",
  ContainerNotFound: "Unavailable",
  ContainerBeingDeleted: "Unavailable",
  ContainerDisabled: "Unavailable",
  AccountIsDisabled: "Unavailable",
  InvalidRange: "RangeNotSatisfiable",
  OperationTimedOut: "TimedOut",
  PublicAccessNotPermitted: "AccessDenied",
  InvalidAuthenticationInfo: "AccessDenied",
  BlobImmutableDueToPolicy: "AccessDenied",
  BlobArchived: "AccessDenied"
}

const ROLE = 'the role "Storage Blob Data Contributor"'

/** `sp` letters of a SAS token. */
const PERMISSION: Readonly<Record<ObjectOperation, string>> = {
  put: "create (sp=c)",
  get: "read (sp=r)",
  head: "read (sp=r)",
  list: "list (sp=l)",
  delete: "delete (sp=d)"
}

const fixOf = (refusal: AzureRefusal): string | undefined => {
  const { status, code, account, container, credential, operation } = refusal
  const skew = status === 401 || status === 403 ? clockFix(refusal.clockSkewMs) : undefined
  if (skew !== undefined) return skew
  switch (code) {
    case "ContainerNotFound":
    case "ResourceNotFound":
      return operation === "put" || operation === "list" || code === "ContainerNotFound"
        ? `make the container ${container} in account ${account}, or correct its name in the topology`
        : undefined
    case "AuthenticationFailed":
      return credential === "sas"
        ? `the SAS token of account ${account} is wrong, or not valid at this time (st=, se=): make a new one`
        : `the key of account ${account} is wrong or was rotated: copy it anew (AZURE_STORAGE_KEY)`
    case "AuthorizationPermissionMismatch":
    case "AuthorizationServiceMismatch":
    case "AuthorizationResourceTypeMismatch":
    case "InsufficientAccountPermissions":
      return credential === "sas"
        ? `the SAS token lacks ${PERMISSION[operation]} on container ${container} (sp=rcdl, srt=co, ss=b have all that is needed)`
        : `grant ${ROLE} on container ${container}`
    case "AuthorizationFailure":
    case "AuthorizationSourceIPMismatch":
      // Emulators also answer so to a wrong key.
      return `the network rules of account ${account} keep this machine out (allow its subnet or address), or its key is wrong`
    default:
      return FIX_BY_CODE[code] ?? FIX_BY_STATUS[status]
  }
}

const THROTTLED = "the account asks for fewer requests; it is tried again later"

const FIX_BY_STATUS: Readonly<Record<number, string>> = {
  401: "the credentials are missing or expired: renew them",
  403: `the credentials do not allow this: grant ${ROLE}, or a SAS token with sp=rcdl`,
  429: THROTTLED,
  503: THROTTLED
}

const FIX_BY_CODE: Readonly<Record<string, string>> = {
  Md5Mismatch: DAMAGED_FIX,
  Crc64Mismatch: DAMAGED_FIX,
  ServerBusy: THROTTLED,
  AccountIsDisabled: "the storage account is disabled: check its subscription",
  ContainerBeingDeleted: "the container is being deleted: make it again in some minutes",
  KeyBasedAuthenticationNotPermitted: "the account forbids keys: allow them, or use a SAS token of a user delegation",
  PublicAccessNotPermitted: "anonymous access is not allowed: give credentials",
  AuthorizationProtocolMismatch: "the SAS token is for https only (spr=): use an https endpoint",
  BlobImmutableDueToPolicy: "the container's immutability policy forbids deleting: shorten it",
  BlobArchived: "a lifecycle rule archived the object: take the rule away and rehydrate it",
  InvalidHeaderValue:
    "the store does not know this version of the API; an emulator may be told to go on (azurite --skipApiVersionCheck)"
}
