/** The three regions of every simulation, and their agents' names. */
export const REGIONS = ["us-east-1", "us-west-2", "eu-west-1"] as const

const SHORT: Readonly<Record<string, string>> = { "us-east-1": "east", "us-west-2": "west", "eu-west-1": "eu" }

export const hostName = (region: string, kind: string, index: number): string => `${SHORT[region]}-${kind}${index}`
