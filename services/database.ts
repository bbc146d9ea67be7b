import {
  MongoClient,
  MongoServerError,
  type Collection,
  type CreateIndexesOptions,
  type Db,
  type IndexDirection,
  type MongoClientOptions
} from 'mongodb'
import { DUPLICATE_KEY } from './errors.js'
import { maskPhone } from './phone.js'
import type { Log } from './ports.js'

type IndexOptions = 'name' | 'unique' | 'sparse' | 'expireAfterSeconds' | 'partialFilterExpression'

interface Index extends Pick<CreateIndexesOptions, IndexOptions> {
  key: Record<string, IndexDirection>
}

/**
 * Every text but the empty one. `$type` says the same, but MongoDB would then use the index only for queries that say
 * `$type` too.
 */
const ANY_TEXT = { $gt: '' }

/**
 * The options of all collections, whatever MONGO_URI says. Reads are from the primary: a compare-and-set on a stale
 * read fails every time, an ended session must not be found on a secondary, and a list shows every write that was
 * acknowledged before it. Writes are acknowledged by the majority, so that no failover takes one back.
 */
export const CONSISTENT = { readPreference: 'primary', writeConcern: { w: 'majority' } } as const

/** The order of the library. No two items have the same place. */
export const NEWEST_FIRST = { created_at: -1, _id: -1 } as const

/** By collection, the indexes for unique values, for expiry, and for every order that queries use. */
export const indexes: Record<string, Index[]> = {
  otps: [
    { key: { expires_at: 1 }, expireAfterSeconds: 0 }
  ],
  audit: [
    { key: { purge_at: 1 }, expireAfterSeconds: 0 },
    { key: { account: 1, at: -1 } }
  ],
  users: [
    { key: { number: 1 }, name: 'unique_number', unique: true, partialFilterExpression: { number: ANY_TEXT } },
    {
      key: { username_key: 1 },
      name: 'unique_username_key',
      unique: true,
      partialFilterExpression: { username_key: ANY_TEXT }
    },
    { key: { 'former_numbers.number': 1 }, sparse: true },
    { key: { deleting: 1 }, sparse: true },
    { key: { schema: 1 } },
    { key: { 'merged.id': 1 }, sparse: true },
    { key: { has_hidden: 1 }, sparse: true }
  ],
  released_numbers: [
    { key: { expires_at: 1 }, expireAfterSeconds: 0 }
  ],
  idempotency: [
    { key: { purge_at: 1 }, expireAfterSeconds: 0 },
    { key: { owner: 1 } }
  ],
  uploads: [
    { key: { started_at: 1 } },
    { key: { owner: 1 } },
    { key: { key: 1 } },
    { key: { 'staging.key': 1 }, sparse: true }
  ],
  usage: [
    { key: { purge_at: 1 }, expireAfterSeconds: 0 }
  ],
  library: [
    { key: NEWEST_FIRST },
    ...['type', 'category', 'user_id', 'owner'].map(field => ({
      key: { [field]: 1, ...NEWEST_FIRST } as Index['key']
    })),
    { key: { 'upload_key.digest': 1 }, partialFilterExpression: { 'upload_key.digest': ANY_TEXT } },
    { key: { words: 1, ...NEWEST_FIRST }, partialFilterExpression: { words: ANY_TEXT } },
    { key: { key: 1 }, partialFilterExpression: { key: ANY_TEXT } },
    { key: { url: 1 }, partialFilterExpression: { url: ANY_TEXT } },
    { key: { hidden: 1, owner: 1 }, partialFilterExpression: { hidden: ANY_TEXT } }
  ],
  reports: [
    {
      key: { account: 1, item: 1 },
      name: 'unique_account_item',
      unique: true,
      partialFilterExpression: { account: { $exists: true } }
    },
    { key: { item: 1, open: 1, created_at: -1 } },
    { key: { uncounted: 1 }, sparse: true }
  ],
  report_states: [
    { key: { open: -1, _id: 1 } },
    { key: { first_at: 1 }, sparse: true },
    { key: { due_at: 1 }, sparse: true }
  ]
}

/** Collections of earlier versions. Their counts are elsewhere now, and were kept for a day at most. */
const retired = ['texts']

const DEFAULT_NAME = 'hookaba'

/** The database that MONGO_URI names. */
export const databaseName = (uri: string) => /^mongodb(?:\+srv)?:\/\/[^/]+\/([^?]+)/.exec(uri)?.[1] ?? DEFAULT_NAME

/** The fault of a connection string, without any part of it; undefined when the driver takes it. */
export function mongoUriFault (uri: string): string | undefined {
  const [, srv, rest] = /^mongodb(\+srv)?:\/\/(.*)$/s.exec(uri) ?? []
  if (rest === undefined) return 'must begin with mongodb:// or mongodb+srv://'
  const authority = /^[^/?]*/.exec(rest)![0]
  const path = rest.slice(authority.length)
  const at = authority.lastIndexOf('@')
  if (path.includes('@') || /[/?#[\]@]/.test(authority.slice(0, Math.max(at, 0)))) {
    return 'must have % codes for the characters : / ? # [ ] @ in the user name and the password'
  }
  const hosts = authority.slice(at + 1).split(',')
  if (hosts.includes('')) return 'must begin with mongodb:// or mongodb+srv:// and name a host'
  if (!hosts.every(host => isHost(host))) return 'must name its hosts as host or host:port, with a port from 1 to 65535'
  if (srv !== undefined && (hosts.length > 1 || /:\d+$/.test(hosts[0]!))) {
    return 'must name one host and no port after mongodb+srv://'
  }
  if (/["*<>|:$.\s/\\]/.test(databaseName(uri)) || databaseName(uri).length > 63) {
    return 'must name a database as MongoDB does: no more than 63 characters, and none of / \\ . " $ * < > : | or white space'
  }
  try {
    new MongoClient(uri) // eslint-disable-line no-new
    return undefined
  } catch {
    return 'has an option, or a value of an option, that the MongoDB driver does not take'
  }
}

function isHost (text: string): boolean {
  const [, name, port] = /^(\[[0-9a-f:.%]+\]|[^\s:#[\]]+)(?::(\d+))?$/i.exec(text) ?? []
  return name !== undefined && (port === undefined || (Number(port) >= 1 && Number(port) <= 65_535))
}

/** The options that MONGO_URI does not set: the driver lets options win over the URI. */
export function withDefaults (uri: string, options: MongoClientOptions): MongoClientOptions {
  const named = new Set([...new URLSearchParams(uri.split('?')[1]).keys()].map(name => name.toLowerCase()))
  return Object.fromEntries(Object.entries(options).filter(([name]) => !named.has(name.toLowerCase())))
}

const NAMESPACE_NOT_FOUND = 26

async function dropIfThere (db: Db, collection: string): Promise<void> {
  await db.collection(collection).drop().catch((error: unknown) => {
    if (!(error instanceof MongoServerError) || error.code !== NAMESPACE_NOT_FOUND) throw error
  })
}

const PROGRESS_MS = 2000
const CONFLICTS = new Set([85, 86])

/**
 * Drops retired collections and builds missing indexes, however long that takes. Rejects when an index with the same
 * key and other options is there (85, 86), or when rows share a unique value (11000). The message names the index, the
 * collection and one example.
 */
export async function ensureIndexes (db: Db, log?: Pick<Log, 'info'>): Promise<void> {
  for (const collection of retired) await dropIfThere(db, collection)
  for (const [collection, wanted] of Object.entries(indexes)) {
    for (const index of wanted) await ensureIndex(db.collection(collection), index, log)
  }
}

async function ensureIndex (collection: Collection, index: Index, log?: Pick<Log, 'info'>): Promise<void> {
  const { key, ...options } = index
  const subject = { collection: collection.collectionName, index: options.name ?? Object.entries(key).flat().join('_') }
  const begun = performance.now()
  const seconds = () => Math.round((performance.now() - begun) / 1000)
  const progress = setInterval(
    () => log?.info(
      { event: 'index.build_continued', ...subject, seconds: seconds() },
      'An index is being built; the service starts when it is ready'
    ),
    PROGRESS_MS
  )
  try {
    await collection.createIndex(key, options)
    if (seconds() >= PROGRESS_MS / 1000) {
      log?.info({ event: 'index.built', ...subject, seconds: seconds() }, 'An index is built')
    }
  } catch (cause) {
    throw await indexRefusal(collection, index, subject.index, cause)
  } finally {
    clearInterval(progress)
  }
}

async function indexRefusal (
  collection: Collection,
  { key, partialFilterExpression = {} }: Index,
  name: string,
  cause: unknown
): Promise<Error> {
  const subject = `MongoDB at MONGO_URI refuses the index ${name} of the collection ${collection.collectionName}`
  const code = cause instanceof MongoServerError ? Number(cause.code) : 0
  if (CONFLICTS.has(code)) {
    return new Error(
      `${subject}: one with this name or this key, and other options, is there. Drop that one, and start again`,
      { cause }
    )
  }
  if (code !== DUPLICATE_KEY) {
    return new Error(
      `${subject}: ${cause instanceof MongoServerError ? cause.codeName ?? code : 'the connection has ended'}`,
      { cause }
    )
  }
  const field = Object.keys(key)[0]!
  const [shared] = await collection.aggregate<{ _id: unknown, one: unknown, other: unknown }>([
    { $match: partialFilterExpression },
    { $group: { _id: `$${field}`, one: { $min: '$_id' }, other: { $max: '$_id' }, count: { $sum: 1 } } },
    { $match: { count: { $gt: 1 } } },
    { $limit: 1 }
  ], { allowDiskUse: true }).toArray().catch(() => [])
  const example = shared === undefined
    ? ''
    : `, for example ${String(shared.one)} and ${String(shared.other)} (${maskPhone(String(shared._id))})`
  return new Error(
    `${subject}: rows have the same ${field}${example}. A database of the replaced system wants \`npm run migrate\` first; else change or remove all but one of them`,
    { cause }
  )
}
