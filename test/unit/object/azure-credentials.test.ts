/**
 * Where the adapter for Azure finds credentials and the address of an account, and what it says where it finds none.
 * Method: plain tables of environments. No text may show what a variable holds.
 */
import { assert, describe, it } from "@effect/vitest"
import { azureAccess, type AzureEnvironment, type AzureLocation } from "#backends/object/azure-credentials.ts"

const KEY = Buffer.alloc(64, 5).toString("base64")
const OTHER_KEY = Buffer.alloc(64, 6).toString("base64")
const SAS = "sv=2026-10-06&sp=rcdl&sig=abc%3D"
const LOCATION: AzureLocation = { kind: "azure", account: "acct", container: "segments", prefix: "" }
const STRING = `DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=${KEY};EndpointSuffix=core.windows.net`

const shown = (environment: AzureEnvironment, location: Partial<AzureLocation> = {}): string => {
  const access = azureAccess({ ...LOCATION, ...location }, environment)
  if (typeof access === "string") return access
  const { credential, serviceUrl } = access
  return `${credential.kind === "key" ? credential.key : credential.token} ${serviceUrl.origin}${serviceUrl.pathname}`
}

const PUBLIC = "https://acct.blob.core.windows.net/"

describe("credentials of Azure", () => {
  for (const [what, environment, expected] of [
    ["a key", { AZURE_STORAGE_KEY: KEY }, `${KEY} ${PUBLIC}`],
    ["a key with its account", { AZURE_STORAGE_KEY: KEY, AZURE_STORAGE_ACCOUNT: "acct" }, `${KEY} ${PUBLIC}`],
    ["a SAS token", { AZURE_STORAGE_SAS_TOKEN: SAS }, `${SAS} ${PUBLIC}`],
    ["a SAS token with its question mark", { AZURE_STORAGE_SAS_TOKEN: ` ?${SAS}\n` }, `${SAS} ${PUBLIC}`],
    ["a connection string", { AZURE_STORAGE_CONNECTION_STRING: STRING }, `${KEY} ${PUBLIC}`],
    [
      "a connection string of another cloud",
      { AZURE_STORAGE_CONNECTION_STRING: STRING.replace("core.windows.net", "core.chinacloudapi.cn") },
      `${KEY} https://acct.blob.core.chinacloudapi.cn/`
    ],
    [
      "a connection string with a SAS token and an endpoint",
      { AZURE_STORAGE_CONNECTION_STRING: `BlobEndpoint=http://127.0.0.1:1/acct/;SharedAccessSignature=${SAS}` },
      `${SAS} http://127.0.0.1:1/acct`
    ],
    [
      "the account's own key before that of all",
      { AZURE_STORAGE_KEY: OTHER_KEY, AZURE_STORAGE_KEY_ACCT: KEY },
      `${KEY} ${PUBLIC}`
    ],
    [
      "a key where the connection string is another account's",
      { AZURE_STORAGE_CONNECTION_STRING: STRING.replace("=acct", "=other"), AZURE_STORAGE_KEY: OTHER_KEY },
      `${OTHER_KEY} ${PUBLIC}`
    ]
  ] as ReadonlyArray<readonly [string, AzureEnvironment, string]>) {
    it(`are found in ${what}`, () => assert.strictEqual(shown(environment), expected))
  }

  it("go with the endpoint of the topology, with the account in its path where no host names it", () => {
    const environment = { AZURE_STORAGE_CONNECTION_STRING: STRING }
    assert.strictEqual(shown(environment, { endpoint: "http://127.0.0.1:1" }), `${KEY} http://127.0.0.1:1/acct`)
    assert.strictEqual(shown(environment, { endpoint: "http://127.0.0.1:1/acct/" }), `${KEY} http://127.0.0.1:1/acct`)
    assert.strictEqual(shown(environment, { endpoint: "https://acct.example.org" }), `${KEY} https://acct.example.org/`)
  })

  for (const [what, environment, text] of [
    ["nothing is set", {}, /AZURE_STORAGE_KEY_ACCT.*managed identity is not supported yet/],
    ["all is empty", { AZURE_STORAGE_KEY: " ", AZURE_STORAGE_SAS_TOKEN: "" }, /no credentials/],
    ["the key is another account's", { AZURE_STORAGE_KEY: KEY, AZURE_STORAGE_ACCOUNT: "other" }, /no credentials/],
    ["the key is cut short", { AZURE_STORAGE_KEY: "c2VjcmV0" }, /AZURE_STORAGE_KEY holds no account key/],
    ["the token is no token", { AZURE_STORAGE_SAS_TOKEN: "c2VjcmV0" }, /AZURE_STORAGE_SAS_TOKEN holds no SAS token/],
    [
      "the connection string is cut short",
      { AZURE_STORAGE_CONNECTION_STRING: "AccountName=acct;c2VjcmV0" },
      /neither AccountKey nor/
    ]
  ] as ReadonlyArray<readonly [string, AzureEnvironment, RegExp]>) {
    it(`are refused with the fix where ${what}`, () => {
      assert.match(shown(environment), text)
      assert.notInclude(shown(environment), "c2VjcmV0")
    })
  }

  for (const [what, location, text] of [
    ["an account with capitals", { account: "Acct" }, /no storage account/],
    ["a container with two dashes", { container: "a--b" }, /no container/],
    ["a container of two letters", { container: "ab" }, /no container/],
    ["an endpoint that is no URL", { endpoint: "there" }, /http or https/],
    ["an endpoint with a token in it", { endpoint: "https://h/?sig=c2VjcmV0" }, /http or https/]
  ] as ReadonlyArray<readonly [string, Partial<AzureLocation>, RegExp]>) {
    it(`are not looked for at ${what}`, () => {
      const refused = shown({ AZURE_STORAGE_KEY: KEY }, location)
      assert.match(refused, text)
      assert.notInclude(refused, "c2VjcmV0")
    })
  }
})
