import { existsSync } from 'node:fs'
import { loadEnvFile } from 'node:process'
import { parseArgs } from 'node:util'
import { MongoClient, MongoServerError } from 'mongodb'
import type { LibraryDocument, UploadDocument } from './schemas/documents.js'
import { readConfig } from './services/config.js'
import { databaseName } from './services/database.js'
import { checkLibrary, type Verdict } from './services/library-check.js'
import { connectStore } from './services/store-connection.js'

const USAGE = 'Usage: npm run check-library [-- --fix]'
const INCONSISTENT = 3
/** Nobody waits for an answer: a list of a large bucket may take its time. */
const PATIENCE_MS = 60_000

/**
 * The process that compares the library's rows with the store's objects, and with --fix repairs what can be.
 * Exit codes: 0 consistent or repaired, 1 failed, 2 misused, 3 inconsistent still.
 */
async function run (fix: boolean): Promise<number> {
  process.stdout.on('error', () => {}) // a report that nobody reads any more is no reason to stop half-way
  if (existsSync('.env')) loadEnvFile()
  const { MONGO_URI: uri, S3_BUCKET, ...config } = readConfig(process.env)
  if (uri === undefined || S3_BUCKET === undefined) throw new Error('MONGO_URI and S3_BUCKET must be set: they name what is compared')
  const mongo = await connect(uri)
  try {
    const { client, mediaStore: media } = await connectStore({ ...config, S3_BUCKET }, PATIENCE_MS)
    try {
      const db = mongo.db(databaseName(uri))
      const verdict = await checkLibrary({
        uploads: db.collection<UploadDocument>('uploads'),
        library: db.collection<LibraryDocument>('library'),
        media,
        now: () => new Date(),
        fix,
        print: line => console.log(line)
      }).catch((cause: unknown) => { throw new Error('The check stopped; what is repaired stays repaired, and another run does the rest', { cause }) })
      console.log(summary(verdict))
      return verdict.open > 0 ? INCONSISTENT : 0
    } finally {
      client.destroy()
    }
  } finally {
    await mongo.close()
  }
}

function summary ({ items, foreign, repaired, open }: Verdict): string {
  const found = open + repaired === 0 ? 'consistent' : [...(repaired > 0 ? [`${repaired} repaired`] : []), ...(open > 0 ? [`${open} inconsistent`] : [])].join(', ')
  return `${items} items checked, ${foreign} of the replaced system not judged: ${found}.`
}

async function connect (uri: string): Promise<MongoClient> {
  try {
    return await new MongoClient(uri, { serverSelectionTimeoutMS: 10_000 }).connect()
  } catch (cause) {
    throw new Error('MongoDB cannot be reached at MONGO_URI', { cause })
  }
}

function readArguments (): { fix: boolean } | undefined {
  try {
    const { values } = parseArgs({ options: { fix: { type: 'boolean' } } })
    return { fix: values.fix === true }
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
  process.exitCode = await run(options.fix)
} catch (error) {
  const { message, cause } = error as Error
  process.stderr.write(`${message}${causeOf(cause)}\n`)
  process.exit(1)
}
