import mongodb from '@fastify/mongodb'
import fp from 'fastify-plugin'
import { MongoClient, type Collection, type MongoClientOptions } from 'mongodb'
import type { AuditDocument, IdempotencyDocument, LeaseDocument, LibraryDocument, OtpDocument, RevokedDocument, SessionDocument, TextCountDocument, UploadDocument, UsageDocument, UserDocument } from '../schemas/documents.js'
import { databaseName, ensureIndexes, unlessNamed } from '../services/database.js'

export interface Collections {
  otps: Collection<OtpDocument>
  sessions: Collection<SessionDocument | RevokedDocument>
  texts: Collection<TextCountDocument>
  audit: Collection<AuditDocument>
  users: Collection<UserDocument>
  idempotency: Collection<IdempotencyDocument>
  uploads: Collection<UploadDocument>
  usage: Collection<UsageDocument>
  library: Collection<LibraryDocument>
  leases: Collection<LeaseDocument>
}

declare module 'fastify' {
  interface FastifyInstance {
    collections: Collections
  }
}

/** A compare-and-set on a stale read loses for ever, and a session that was ended must not be found on a secondary. */
const CURRENT = { readPreference: 'primary' } as const

/** With the driver's one retry, a request fails within 5 s of a database that went away, and works again within 5 s of its return. */
const DEFAULTS: MongoClientOptions = { maxPoolSize: 100, socketTimeoutMS: 2000, serverSelectionTimeoutMS: 2000, connectTimeoutMS: 2000, waitQueueTimeoutMS: 4000, heartbeatFrequencyMS: 2000 }

const BUILD_MS = 20_000

/** `app.mongo` and `app.collections`: connected, and with every index the rules rely on. */
export default fp(async function mongo (app) {
  const { MONGO_URI: url } = app.config
  try {
    await app.register(mongodb, { url, database: databaseName(url), forceClose: true, ...unlessNamed(url, DEFAULTS) })
  } catch (cause) {
    throw new Error('MongoDB cannot be reached at MONGO_URI', { cause })
  }
  const { db } = app.mongo
  if (!db) throw new Error('MONGO_URI names no database')
  try {
    await buildIndexes(url)
  } catch (cause) {
    throw new Error('MongoDB at MONGO_URI refuses an index that this service relies on; a database of the replaced system wants `npm run migrate` first', { cause })
  }
  app.decorate('collections', {
    otps: db.collection<OtpDocument>('otps', { promoteBuffers: true, ...CURRENT }),
    sessions: db.collection<SessionDocument | RevokedDocument>('sessions', CURRENT),
    texts: db.collection<TextCountDocument>('texts', CURRENT),
    audit: db.collection<AuditDocument>('audit'),
    users: db.collection<UserDocument>('users', CURRENT),
    idempotency: db.collection<IdempotencyDocument>('idempotency', CURRENT),
    uploads: db.collection<UploadDocument>('uploads', CURRENT),
    usage: db.collection<UsageDocument>('usage', CURRENT),
    library: db.collection<LibraryDocument>('library'),
    leases: db.collection<LeaseDocument>('leases')
  })
}, { name: 'mongo', dependencies: ['env'] })

/** By a connection of its own, which may wait longer than a request for one that takes its time. */
async function buildIndexes (url: string): Promise<void> {
  const client = await MongoClient.connect(url, { ...unlessNamed(url, DEFAULTS), socketTimeoutMS: BUILD_MS, minPoolSize: 0, maxPoolSize: 1 })
  try {
    await ensureIndexes(client.db(databaseName(url)))
  } finally {
    await client.close()
  }
}
