/**
 * What an Azure storage account is asked with [pure]: a connection string, an account key, or a SAS token.
 *
 * Whoever reads the environment (bin) hands its variables in; values are never put into texts. Where a variable has the
 * account's name behind it, it counts for that account only, since the buckets of a quorum often lie in several:
 *
 *   AZURE_STORAGE_KEY_<ACCOUNT>, AZURE_STORAGE_SAS_TOKEN_<ACCOUNT>, AZURE_STORAGE_CONNECTION_STRING_<ACCOUNT>
 *   AZURE_STORAGE_CONNECTION_STRING
 *   AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN
 *
 * Managed and workload identity are not there yet: they need @azure/identity. Anonymous access is refused, since it can
 * read at most.
 */

export interface AzureLocation {
  readonly kind: "azure"
  readonly account: string
  readonly container: string
  /** Empty, or ends in "/". */
  readonly prefix: string
  /** URL of the account's blob service; of an emulator with the account as path. */
  readonly endpoint?: string
}

export type AzureCredential =
  | { readonly kind: "key"; readonly key: string }
  /** Without the question mark. */
  | { readonly kind: "sas"; readonly token: string }

/** How the account is reached. */
export interface AzureAccess {
  readonly credential: AzureCredential
  /** Of the account's blob service; its path has no slash at the end. */
  readonly serviceUrl: URL
}

export type AzureEnvironment = Readonly<Record<string, string | undefined>>

/** The access to the location's account, or what is wrong and how to mend it. */
export const azureAccess = (location: AzureLocation, environment: AzureEnvironment): AzureAccess | string => {
  const { account } = location
  const fault = locationFault(location)
  if (fault !== undefined) return fault
  const own = account.toUpperCase()
  const ownKey = given(environment, `AZURE_STORAGE_KEY_${own}`)
  if (ownKey !== undefined) return accessByKey(location, ownKey, `AZURE_STORAGE_KEY_${own}`)
  const ownToken = given(environment, `AZURE_STORAGE_SAS_TOKEN_${own}`)
  if (ownToken !== undefined) return accessByToken(location, ownToken, `AZURE_STORAGE_SAS_TOKEN_${own}`)
  for (const name of [`AZURE_STORAGE_CONNECTION_STRING_${own}`, "AZURE_STORAGE_CONNECTION_STRING"]) {
    const text = given(environment, name)
    if (text === undefined) continue
    const access = accessByString(location, text, name)
    if (access !== undefined) return access
  }
  const named = given(environment, "AZURE_STORAGE_ACCOUNT") ?? account
  const key = given(environment, "AZURE_STORAGE_KEY")
  if (key !== undefined && named === account) return accessByKey(location, key, "AZURE_STORAGE_KEY")
  const token = given(environment, "AZURE_STORAGE_SAS_TOKEN")
  if (token !== undefined && named === account) return accessByToken(location, token, "AZURE_STORAGE_SAS_TOKEN")
  return (
    `no credentials for Azure storage account ${account}: set AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY or ` +
    `AZURE_STORAGE_SAS_TOKEN (with several accounts AZURE_STORAGE_KEY_${own} or AZURE_STORAGE_SAS_TOKEN_${own}); ` +
    "anonymous access cannot write, and managed identity is not supported yet"
  )
}

const given = (environment: AzureEnvironment, name: string): string | undefined => {
  const value = environment[name]?.trim()
  return value === "" ? undefined : value
}

const locationFault = ({ account, container, endpoint }: AzureLocation): string | undefined => {
  if (!/^[a-z0-9]{3,24}$/.test(account)) return `"${account}" is no storage account: 3 to 24 of a-z and 0-9`
  if (!/^(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/.test(container)) {
    return `"${container}" is no container: 3 to 63 of a-z, 0-9 and single "-", letters or digits at both ends`
  }
  return endpoint === undefined || isServiceUrl(endpoint)
    ? undefined
    : `endpoint "${endpoint.replace(/[?#].*$|\/\/.*@/s, "…")}" is no http or https URL without query: write for example http://127.0.0.1:10000/${account}`
}

const isServiceUrl = (text: string): boolean => {
  if (!URL.canParse(text)) return false
  const { protocol, search, username } = new URL(text)
  return (protocol === "http:" || protocol === "https:") && search === "" && username === ""
}

const accessByKey = (location: AzureLocation, key: string, name: string, serviceUrl?: string): AzureAccess | string =>
  /^[A-Za-z0-9+/]{40,}={0,2}$/.test(key)
    ? { credential: { kind: "key", key }, serviceUrl: serviceUrlOf(location, serviceUrl) }
    : `${name} holds no account key: copy it whole, with its = at the end`

const accessByToken = (
  location: AzureLocation,
  text: string,
  name: string,
  serviceUrl?: string
): AzureAccess | string => {
  const token = text.replace(/^\?/, "")
  const parameters = new URLSearchParams(token)
  return parameters.has("sig") && parameters.has("sp")
    ? { credential: { kind: "sas", token }, serviceUrl: serviceUrlOf(location, serviceUrl) }
    : `${name} holds no SAS token: it must have sp=… and sig=…`
}

/** Undefined where it is of another account. */
const accessByString = (location: AzureLocation, text: string, name: string): AzureAccess | string | undefined => {
  const fields = new Map<string, string>()
  for (const field of text.split(";")) {
    const at = field.indexOf("=")
    if (at > 0) fields.set(field.slice(0, at).trim().toLowerCase(), field.slice(at + 1).trim())
  }
  const account = fields.get("accountname")
  if (account !== undefined && account !== location.account) return undefined
  const written = fields.get("blobendpoint")
  if (written !== undefined && !isServiceUrl(written)) return `${name} has a BlobEndpoint that is no URL`
  const scheme = fields.get("defaultendpointsprotocol") ?? "https"
  const suffix = fields.get("endpointsuffix")
  const serviceUrl = written ?? (suffix === undefined ? undefined : `${scheme}://${location.account}.blob.${suffix}`)
  const key = fields.get("accountkey")
  if (key !== undefined) return accessByKey(location, key, name, serviceUrl)
  const token = fields.get("sharedaccesssignature")
  if (token !== undefined) return accessByToken(location, token, name, serviceUrl)
  return `${name} has neither AccountKey nor SharedAccessSignature: copy the whole connection string`
}

/** What the topology says counts before what a connection string says. */
const serviceUrlOf = ({ account, endpoint }: AzureLocation, written: string | undefined): URL => {
  const url = new URL(endpoint ?? written ?? `https://${account}.blob.core.windows.net`)
  const isNamed = url.hostname.startsWith(`${account}.`)
  if (url.pathname === "/" && !isNamed) url.pathname = `/${account}`
  url.pathname = url.pathname.replace(/\/+$/, "")
  return url
}
