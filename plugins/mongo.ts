import mongodb from '@fastify/mongodb'
import fp from 'fastify-plugin'
import { MongoClient, type Collection, type Db, type MongoClientOptions } from 'mongodb'
import type {
  AuditDocument,
  CounterDocument,
  IdempotencyDocument,
  LeaseDocument,
  LibraryDocument,
  LibraryStateDocument,
  MigrationDocument,
  OtpDocument,
  ReleasedNumberDocument,
  ReportDocument,
  ReportStateDocument,
  UploadDocument,
  UsageDocument,
  UserDocument
} from '../schemas/documents.js'
import { boundedCollection } from '../services/bounded-collection.js'
import { databaseName, ensureIndexes, CONSISTENT, withDefaults } from '../services/database.js'
import { createLibraryState } from '../services/library/state.js'
import { versionWrites } from '../services/library/version-writes.js'
import { stateOfConversion } from '../services/migration/accounts.js'
import type { AppSettings } from '../services/ports.js'
import { MAX_WAIT_MS } from '../services/request-deadline.js'
import { mongoRefusal } from '../services/startup-errors.js'
import { timedDatabase, type CommandListener, type TimedDatabase } from '../services/timed-commands.js'

export interface Collections {
  otps: Collection<OtpDocument | CounterDocument>
  audit: Collection<AuditDocument>
  users: Collection<UserDocument>
  released_numbers: Collection<ReleasedNumberDocument>
  migration: Collection<MigrationDocument>
  idempotency: Collection<IdempotencyDocument>
  uploads: Collection<UploadDocument>
  usage: Collection<UsageDocument>
  library: Collection<LibraryDocument>
  library_state: Collection<LibraryStateDocument>
  reports: Collection<ReportDocument>
  report_states: Collection<ReportStateDocument>
  leases: Collection<LeaseDocument>
}

declare module 'fastify' {
  interface FastifyInstance {
    database: TimedDatabase
    collections: Collections
    /** Calls a listener at the end of each command of `app.database` and `app.collections`. */
    onDatabaseCommand: (listener: CommandListener) => void
    /**
     * Runs work on its own connection, whose commands may take this many milliseconds: longer than a request would
     * wait. Rejects if the app closes meanwhile.
     */
    withDedicatedConnection: <T>(milliseconds: number, work: (db: Db) => Promise<T>) => Promise<T>
  }
}

/**
 * A silent connection is dropped after more than any command may take. All works again within 5 s of a database's
 * return.
 */
const limitsFor = (maxWaitMs: number): MongoClientOptions => ({
  maxPoolSize: 100,
  socketTimeoutMS: 0.6 * maxWaitMs,
  serverSelectionTimeoutMS: 0.4 * maxWaitMs,
  connectTimeoutMS: 0.4 * maxWaitMs,
  waitQueueTimeoutMS: 0.8 * maxWaitMs,
  heartbeatFrequencyMS: 2000
})

/** A new index on a large collection takes minutes. Meanwhile some servers do not even answer the driver's monitor. */
const NO_LIMIT: MongoClientOptions = {
  socketTimeoutMS: 0,
  connectTimeoutMS: 0,
  minPoolSize: 0,
  maxPoolSize: 1
}

const UNCONVERTED = 'The database at MONGO_URI was made by an earlier version or by the replaced system: ' +
  'back it up, stop every instance of it, and run `npm run migrate`'

/**
 * `app.mongo`, `app.database` and `app.collections`: connected, and with every index that the rules need. Each write to
 * `library` makes a new version of it.
 */
export default fp<AppSettings>(async function mongo (app, { maxDatabaseWaitMs = MAX_WAIT_MS }) {
  const { MONGO_URI: url } = app.config
  const limits = withDefaults(url, limitsFor(maxDatabaseWaitMs))
  const patient = new Set<MongoClient>()
  app.addHook('onClose', async () => { await Promise.all([...patient].map(client => client.close())) })
  await withClient({ ...limits, ...NO_LIMIT }, async client => {
    try {
      await client.connect()
    } catch (cause) {
      throw mongoRefusal(url, cause)
    }
    const database = client.db(databaseName(url))
    const state = await stateOfConversion(database)
    if (state === 'none') throw new Error(UNCONVERTED)
    if (state === 'begun') {
      app.log.warn({ event: 'migration.unfinished' },
        'Users of the replaced system are not converted yet: run `npm run migrate` to its end, beside this service')
    }
    await ensureIndexes(database, app.log)
  })
  try {
    await app.register(mongodb, {
      url,
      database: databaseName(url),
      forceClose: true,
      ...(app.tracing && { monitorCommands: true }),
      ...limits
    })
  } catch (cause) {
    throw mongoRefusal(url, cause)
  }
  const listeners: CommandListener[] = []
  const db = timedDatabase(app.mongo.db!, (...command) => { for (const listener of listeners) listener(...command) })
  app.decorate('onDatabaseCommand', listener => { listeners.push(listener) })
  app.decorate('database', db)
  app.decorate('withDedicatedConnection', async (socketTimeoutMS, work) => {
    return withClient({ ...limits, socketTimeoutMS, minPoolSize: 0, maxPoolSize: 1 }, client =>
      work(client.db(databaseName(url))))
  })
  const libraryState = boundedCollection<LibraryStateDocument>(db, 'library_state', CONSISTENT)
  app.decorate('collections', {
    otps: boundedCollection<OtpDocument | CounterDocument>(db, 'otps', { promoteBuffers: true, ...CONSISTENT }),
    audit: boundedCollection<AuditDocument>(db, 'audit', CONSISTENT),
    users: boundedCollection<UserDocument>(db, 'users', CONSISTENT),
    released_numbers: boundedCollection<ReleasedNumberDocument>(db, 'released_numbers', CONSISTENT),
    migration: boundedCollection<MigrationDocument>(db, 'migration', CONSISTENT),
    idempotency: boundedCollection<IdempotencyDocument>(db, 'idempotency', CONSISTENT),
    uploads: boundedCollection<UploadDocument>(db, 'uploads', CONSISTENT),
    usage: boundedCollection<UsageDocument>(db, 'usage', CONSISTENT),
    library: versionWrites(
      boundedCollection<LibraryDocument>(db, 'library', CONSISTENT),
      createLibraryState(libraryState)
    ),
    library_state: libraryState,
    reports: boundedCollection<ReportDocument>(db, 'reports', CONSISTENT),
    report_states: boundedCollection<ReportStateDocument>(db, 'report_states', CONSISTENT),
    leases: boundedCollection<LeaseDocument>(db, 'leases', CONSISTENT)
  })

  /** Runs work with its own client, which is closed after the work or with the app. */
  async function withClient<T> (options: MongoClientOptions, work: (client: MongoClient) => Promise<T>): Promise<T> {
    const client = new MongoClient(url, options)
    patient.add(client)
    try {
      return await work(client)
    } finally {
      patient.delete(client)
      await client.close()
    }
  }
}, { name: 'mongo', dependencies: ['env', 'tracing'] })
