import {
  MongoServerError,
  type Db,
  type Document,
  type IndexDescriptionInfo,
  type ObjectId
} from 'mongodb'
import { ensureIndexes, CONSISTENT, indexes } from '../database.js'
import { isDuplicateKey } from '../errors.js'
import { categoryOf, typeOf } from '../library/item.js'
import { versionedLibrary } from '../library/version-writes.js'
import { convertAccounts, isOf030, noteTakeover } from './accounts.js'
import { previewUsers } from './preview.js'
import { asRead, batches, BY_BATCH, convertUserRows, setDuplicatesAside, UNCONVERTED } from './convert.js'
import type { Note, OldUser, Rules } from './users.js'

export interface MigrationOptions {
  db: Db
  region: string
  /** Whether rows of the replaced system keep `admin: true`. */
  keepAdmins?: boolean
  dryRun: boolean
  now?: () => Date
  /** Is told how many rows of a collection are done. */
  progress?: Progress
  /** Gets the report line by line: ids and their changes, phone numbers masked. */
  print: (line: string) => void
}

export type Progress = (collection: string, done: number, total: number) => void

export interface Tally { changes: number, open: number }

const MAX_BUILDS = 10

/**
 * Migrates a database of the replaced system, beside the service or without it, or one of 0.3.0, without it. Rows that
 * are in order stay as they are. So a second run finds nothing to do, and the next run finishes an interrupted one.
 * `dryRun`: reports the same and writes nothing.
 */
export async function migrate ({
  db,
  region,
  keepAdmins = false,
  dryRun,
  now = () => new Date(),
  progress = () => {},
  print
}: MigrationOptions): Promise<Tally> {
  const tally = { changes: 0, open: 0 }
  const note: Note = (subject, done, open = []) => {
    tally.changes += done.length
    tally.open += open.length
    if (done.length + open.length > 0) {
      print(`${subject}: ${[...done, ...open.map(what => `open: ${what}`)].join('; ')}`)
    }
  }
  await dropOldCodes(db, dryRun, note)
  await replaceIndexes(db, dryRun, note)
  // from here on the service can run beside
  if (!dryRun) await noteTakeover(db, now())
  await completeLibrary(db, dryRun, note, progress)
  // last: after it the database counts as converted
  const rules = { region, keepAdmins, of030: await isOf030(db) }
  await convertAccounts(db, dryRun, note, () => convertUsers(db, rules, dryRun, note, progress))
  return tally
}

async function convertUsers (
  db: Db,
  rules: Rules,
  dryRun: boolean,
  note: Note,
  progress: Progress
): Promise<void> {
  const users = db.collection<OldUser>('users', CONSISTENT)
  const total = await users.countDocuments(UNCONVERTED)
  let done = 0
  const released = db.collection<{ _id: string }>('released_numbers', CONSISTENT)
  await (dryRun ? previewUsers : convertUserRows)({ users, released }, rules, note, rows => {
    done += rows
    progress('users', done, total)
  })
  if (total > 0) note('users', [`${total} rows converted`])
}

/** Drops the codes of the replaced system. Their ids are made by the database; ids of this service are strings. */
async function dropOldCodes (db: Db, dryRun: boolean, note: Note): Promise<void> {
  const old = { _id: { $not: { $type: 'string' } } } as Document
  const otps = db.collection('otps', CONSISTENT)
  for await (const { _id } of otps.find(old, { projection: { _id: 1 }, ...BY_BATCH })) {
    note(`otps ${String(_id)}`, ['dropped'])
  }
  if (!dryRun) await otps.deleteMany(old)
}

/**
 * Drops indexes that are in the way, also every foreign unique index, because current rows lack its fields. Builds the
 * missing ones.
 */
async function replaceIndexes (db: Db, dryRun: boolean, note: Note): Promise<void> {
  const missing: string[] = []
  for (const [name, wanted] of Object.entries(indexes)) {
    const collection = db.collection(name, CONSISTENT)
    const present = await presentIndexes(db, name)
    const specs = new Set(wanted.map(described))
    for (const index of present) {
      const { key, name: itsName = nameOf(key), unique } = index
      const rivals = unique ||
        wanted.some(other => (other.name ?? nameOf(other.key)) === itsName || nameOf(other.key) === nameOf(key))
      if (itsName === '_id_' || specs.has(described(index)) || !rivals) continue
      if (!dryRun) await collection.dropIndex(itsName)
      note(`index ${name}.${itsName}`, ['dropped'])
    }
    const there = new Set(present.map(described))
    missing.push(
      ...wanted.filter(index => !there.has(described(index))).map(({ key, name: own = nameOf(key) }) =>
        `index ${name}.${own}`)
    )
  }
  if (!dryRun) await build(db)
  for (const index of missing) note(index, ['built'])
}

/** Builds the indexes. If rows have the same number or name key, all but the oldest are set aside first. */
async function build (db: Db): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await ensureIndexes(db)
    } catch (error) {
      if (!isDuplicateKey((error as Error).cause) || attempt === MAX_BUILDS) throw error
      await setDuplicatesAside(db.collection<OldUser>('users', CONSISTENT))
    }
  }
}

async function presentIndexes (db: Db, name: string): Promise<IndexDescriptionInfo[]> {
  try {
    return await db.collection(name, CONSISTENT).indexes()
  } catch (error) {
    if (error instanceof MongoServerError && error.codeName === 'NamespaceNotFound') return []
    throw error
  }
}

const nameOf = (key: Document) => Object.entries(key).flat().join('_')

function described ({
  key,
  name = nameOf(key),
  unique,
  sparse,
  expireAfterSeconds,
  partialFilterExpression
}: Document): string {
  return JSON.stringify([key, name, unique === true, sparse === true, expireAfterSeconds, partialFilterExpression])
}

interface OldItem { _id: ObjectId, key?: string, url?: unknown, type?: unknown, category?: unknown }

/** Writes the type and category that rows of `library` are listed with. */
async function completeLibrary (db: Db, dryRun: boolean, note: Note, progress: Progress): Promise<void> {
  const library = versionedLibrary<OldItem>(db)
  const incomplete = { $or: [{ type: null }, { category: null }] }
  const total = await library.countDocuments(incomplete)
  let done = 0
  for await (const rows of batches(library.find(incomplete, BY_BATCH).sort({ _id: 1 }))) {
    const planned = rows.map(row => ({ row, set: missingOf(row) }))
    if (!dryRun) {
      await library.bulkWrite(
        planned.map(({ row, set }) => ({
          updateOne: { filter: asRead(row, ['type', 'category']), update: { $set: set } }
        })),
        { ordered: false }
      )
    }
    for (const { row, set } of planned) {
      note(`library ${String(row._id)}`, Object.entries(set).map(entry => entry.join(' ')))
    }
    done += rows.length
    progress('library', done, total)
  }
}

function missingOf (row: OldItem): Pick<OldItem, 'type' | 'category'> {
  const type = row.type ?? typeOf(String(row.key ?? row.url ?? ''))
  return { ...(row.type == null && { type }), ...(row.category == null && { category: categoryOf(String(type)) }) }
}
