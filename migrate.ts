import { existsSync } from 'node:fs'
import { loadEnvFile } from 'node:process'
import { parseArgs } from 'node:util'
import { MongoClient, MongoServerError } from 'mongodb'
import { readConfig } from './services/config.js'
import { databaseName } from './services/database.js'
import { migrate } from './services/migration.js'

const USAGE = 'Usage: npm run migrate [-- --dry-run]'

/** The process that brings a database of the replaced system over, or with --dry-run only tells what it would do. Exit codes: 0 done, 1 failed, 2 misused. */
async function run (dryRun: boolean): Promise<void> {
  process.stdout.on('error', () => {}) // a report that nobody reads any more is no reason to stop half-way
  if (existsSync('.env')) loadEnvFile()
  const { MONGO_URI: uri, DEFAULT_REGION: region } = readConfig(process.env)
  if (uri === undefined) throw new Error('MONGO_URI must be set: it names the database to migrate')
  const client = await connect(uri)
  try {
    const { changes, open } = await migrate({ db: client.db(databaseName(uri)), region, dryRun, print: line => console.log(line) })
    const done = changes === 0 ? 'Nothing to do' : `${changes} changes ${dryRun ? 'to make (nothing was written)' : 'made'}`
    console.log(`${done}${open > 0 ? `; ${open} open points to look at` : ''}.`)
  } catch (cause) {
    throw new Error('The migration stopped; what is done stays done, and another run does the rest', { cause })
  } finally {
    await client.close()
  }
}

async function connect (uri: string): Promise<MongoClient> {
  try {
    return await new MongoClient(uri, { serverSelectionTimeoutMS: 10_000 }).connect()
  } catch (cause) {
    throw new Error('MongoDB cannot be reached at MONGO_URI', { cause })
  }
}

/** `npm run migrate --dry-run`, without the `--`, is npm's option and not ours; nobody who types it wants anything written. */
function readArguments (): { dryRun: boolean } | undefined {
  try {
    const { values } = parseArgs({ options: { 'dry-run': { type: 'boolean' } } })
    return { dryRun: values['dry-run'] === true || process.env.npm_config_dry_run === 'true' }
  } catch { return undefined }
}

/** What failed, without a word of what the database said: it may quote a number. */
const causeOf = (cause: unknown) => cause instanceof Error ? `: ${cause.name}${cause instanceof MongoServerError ? ` ${cause.codeName ?? cause.code}` : ''}` : ''

const options = readArguments()
if (!options) {
  process.stderr.write(`${USAGE}\n`)
  process.exit(2)
}
try {
  await run(options.dryRun)
} catch (error) {
  const { message, cause } = error as Error
  process.stderr.write(`${message}${causeOf(cause)}\n`)
  process.exit(1)
}
