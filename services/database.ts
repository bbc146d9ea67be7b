import type { CreateIndexesOptions, Db, IndexDirection, MongoClientOptions } from 'mongodb'

interface Index extends Pick<CreateIndexesOptions, 'name' | 'unique' | 'sparse' | 'expireAfterSeconds' | 'partialFilterExpression'> {
  key: Record<string, IndexDirection>
}

/** Every text but the empty one. Not `$type`, which says the same: MongoDB would then use the index for no query that does not say `$type` too. */
const ANY_TEXT = { $gt: '' }

/** The order of the library: no two items share a place in it. */
export const NEWEST_FIRST = { created_at: -1, _id: -1 } as const

/** By collection, what the rules rely on: what is unique, what ends by itself, and every order that is asked for. */
export const indexes: Record<string, Index[]> = {
  otps: [
    { key: { purge_at: 1 }, expireAfterSeconds: 0 }
  ],
  sessions: [
    { key: { expires_at: 1 }, expireAfterSeconds: 0 },
    { key: { phone: 1, created_at: -1 } }
  ],
  texts: [
    { key: { purge_at: 1 }, expireAfterSeconds: 0 }
  ],
  audit: [
    { key: { purge_at: 1 }, expireAfterSeconds: 0 },
    { key: { subject: 1, at: -1 } }
  ],
  users: [
    { key: { number: 1 }, name: 'unique_number', unique: true, partialFilterExpression: { number: ANY_TEXT } },
    { key: { username_key: 1 }, name: 'unique_username_key', unique: true, partialFilterExpression: { username_key: ANY_TEXT } },
    { key: { 'moved.at': 1 }, sparse: true },
    { key: { duplicate_of: 1 }, sparse: true }
  ],
  idempotency: [
    { key: { purge_at: 1 }, expireAfterSeconds: 0 }
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
    ...['type', 'category', 'user_id', 'owner'].map(field => ({ key: { [field]: 1, ...NEWEST_FIRST } as Index['key'] })),
    { key: { words: 1, ...NEWEST_FIRST }, partialFilterExpression: { words: ANY_TEXT } },
    { key: { key: 1 }, partialFilterExpression: { key: ANY_TEXT } }
  ]
}

const DEFAULT_NAME = 'hookaba'

/** The database that MONGO_URI names. */
export const databaseName = (uri: string) => /^mongodb(?:\+srv)?:\/\/[^/]+\/([^?]+)/.exec(uri)?.[1] ?? DEFAULT_NAME

/** Of these options those about which MONGO_URI says nothing: the driver would let them win. */
export function unlessNamed (uri: string, options: MongoClientOptions): MongoClientOptions {
  const named = new Set([...new URLSearchParams(uri.split('?')[1]).keys()].map(name => name.toLowerCase()))
  return Object.fromEntries(Object.entries(options).filter(([name]) => !named.has(name.toLowerCase())))
}

/** Builds the indexes that are not there. Fails when one with the same key and other options is, or when rows share what is to be unique (E11000). */
export async function ensureIndexes (db: Db): Promise<void> {
  for (const [collection, wanted] of Object.entries(indexes)) {
    for (const { key, ...options } of wanted) await db.collection(collection).createIndex(key, options)
  }
}
