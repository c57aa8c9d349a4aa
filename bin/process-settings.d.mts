export declare const NODE_FLAGS: ReadonlyArray<string>
export declare const ENVIRONMENT: Readonly<Record<string, string>>
