/** Where the programs of threads are: in the bundle beside it (bundle.mjs builds them), from sources the adapters know. */
export const threadProgram = (name: "sqlite-worker" | "fs-worker"): { readonly workerUrl?: URL } =>
  import.meta.url.endsWith(".ts") ? {} : { workerUrl: new URL(`./${name}.mjs`, import.meta.url) }
