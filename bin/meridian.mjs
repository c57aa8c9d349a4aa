#!/usr/bin/env node
/** The `meridian` command of the package: `npx meridian …` in a clone. The same entry as the npm scripts use. */
import { main } from "./run.mjs"

process.exitCode = await main(["meridian", ...process.argv.slice(2)])
