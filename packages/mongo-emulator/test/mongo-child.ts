import { startMongo } from '../server.js'

/** Run as a process of its own, so that a test can kill it: `mongo-child.ts <directory>` prints the URI. */
const [, , path] = process.argv
if (path !== undefined) console.log((await startMongo({ path })).uri)
