import { ObjectId, type AnyBulkWriteOperation, type Collection, type Db, type Document, type Filter } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import { CONSISTENT, indexes } from '../database.js'
import { folderOf } from '../library/object-keys.js'
import { versionedLibrary } from '../library/version-writes.js'
import { batches, BY_BATCH } from './convert.js'
import type { Note, OldUser } from './users.js'

/**
 * Collections that 0.3.0 kept by phone number. Their rows end: users sign in again. `sessions` goes last, because it
 * marks a database of 0.3.0.
 */
const ENDED = ['otps', 'idempotency', 'usage', 'sessions']
const DROPPED_INDEXES = [
  ['users', 'moved.at_1'],
  ['users', 'duplicate_of_1'],
  ['audit', 'subject_1_at_-1']
] as const
/** Fields of items and uploads of 0.3.0 beside the owner's number. */
const PROVENANCE = { session: '', started_at: '' } as const
/** Further fields of items that mean something in this version, and that 0.3.0 let users write. */
const FORGED = { ...PROVENANCE, hidden: '', hidden_at: '', kept: '' } as const

interface OwnedRow { _id: unknown, owner?: string }

/**
 * Whether an earlier version of this service made the database: it has a collection of sessions, or items owned by
 * phone numbers.
 */
export async function isOf030 (db: Db): Promise<boolean> {
  return await isThere(db, 'sessions') ||
    await db.collection('library', CONSISTENT).findOne({ owner: { $gt: '' } }, { projection: { _id: 1 } }) !== null
}

async function isThere (db: Db, name: string): Promise<boolean> {
  return (await db.listCollections({ name }, { nameOnly: true }).toArray()).length > 0
}

/**
 * How far a database is converted: 'done', 'begun' where the rest of its rows can be converted beside the service, or
 * 'none'. Costs two index reads, and one read of the names of collections.
 */
export async function stateOfConversion (db: Db): Promise<'done' | 'begun' | 'none'> {
  if (await isOf030(db)) return 'none'
  if (await db.collection('users', CONSISTENT).findOne({ schema: null }, { projection: { _id: 1 } }) === null) {
    return 'done'
  }
  return await takeovers(db).findOne({ _id: 'takeover' }) ? 'begun' : 'none'
}

/** Whether the replaced system wrote rows of the database: pictures without a key, or users before a migration. */
export async function isTakenOver (db: Db): Promise<boolean> {
  return await db.collection('library', CONSISTENT).findOne({ key: null }, { projection: { _id: 1 } }) !== null ||
    (await stateOfConversion(db) !== 'done' && !await isOf030(db))
}

/** Records when the replaced system stopped: at the first migration. It issued no token later. */
export async function noteTakeover (db: Db, at: Date): Promise<void> {
  await takeovers(db).updateOne({ _id: 'takeover' }, { $setOnInsert: { at } }, { upsert: true })
}

const takeovers = (db: Db) => db.collection<{ _id: string, at: Date }>('migration')

/**
 * Converts a database of 0.3.0 to accounts: the items of a phone number go to its account, which is made if there is
 * none. Every step can be repeated, so that the next run finishes an interrupted one. `convertUsers` converts the rows
 * of `users`.
 */
export async function convertAccounts (
  db: Db,
  dryRun: boolean,
  note: Note,
  convertUsers: () => Promise<void>
): Promise<void> {
  if (!await isOf030(db)) return convertUsers()
  const users = db.collection<OldUser>('users', CONSISTENT)
  const library = versionedLibrary<OwnedRow>(db)
  const given = await finishNumberChanges(db, dryRun, note)
  await convertUsers()
  await giveToAccounts({ users, library, given, dryRun, note })
  await takeForgedKeys(versionedLibrary<LibraryDocument>(db), dryRun, note)
  if (!dryRun) {
    const present = Object.keys(FORGED).map(name => ({ [name]: { $exists: true } }))
    await library.updateMany({ $or: present }, { $unset: FORGED })
  }
  await endUploads(db, dryRun, note)
  await endLegacyTokens(db, dryRun, note)
  // the index may be gone
  for (const [name, index] of DROPPED_INDEXES) if (!dryRun) await db.collection(name).dropIndex(index).catch(() => {})
  for (const name of ENDED) {
    if (!await isThere(db, name)) continue
    const rows = await db.collection(name).countDocuments()
    if (!dryRun) await (name in indexes ? db.collection(name).deleteMany({}) : db.collection(name).drop())
    if (rows > 0) note(name, [`${rows} rows ended`])
  }
}

/**
 * Finishes number changes that the end of a process interrupted: such items still belong to the old number. Resolves
 * with the filters that find them.
 */
async function finishNumberChanges (db: Db, dryRun: boolean, note: Note): Promise<Array<Filter<OwnedRow>>> {
  const library = versionedLibrary<Document>(db)
  const sessions = db.collection<Document & { _id: string }>('sessions', CONSISTENT)
  const given: Array<Filter<OwnedRow>> = []
  const users = db.collection('users', CONSISTENT)
  const interrupted = await users.find({ 'moved.from': { $type: 'string' } }).toArray()
  for (const { _id, number, moved } of interrupted) {
    const { from, at } = moved as { from: string, at: Date }
    const theirs = await sessions
      .find({ $or: [{ phone: from, created_at: { $lte: at } }, { phone: number, moved_at: at }] }, {
        projection: { _id: 1 }
      })
      .map(row => row._id)
      .toArray()
    const filter: Filter<Document> = {
      owner: from,
      $or: [{ created_at: { $lte: at } }, { started_at: { $lte: at } }, { session: { $in: theirs } }]
    }
    const count = await library.countDocuments(filter)
    if (!dryRun) await library.updateMany(filter, { $set: { owner: _id, schema: 2 }, $unset: PROVENANCE })
    given.push(filter as Filter<OwnedRow>)
    note(`users ${String(_id)}`, [`number change finished for ${count} items`])
  }
  return given
}

/** `given`: the items that have an account already. */
async function giveToAccounts ({ users, library, given, dryRun, note }: {
  users: Collection<OldUser>
  library: Collection<OwnedRow>
  given: Array<Filter<OwnedRow>>
  dryRun: boolean
  note: Note
}): Promise<void> {
  const owned = { owner: { $type: 'string' }, ...(given.length > 0 && { $nor: given }) } as Filter<OwnedRow>
  const made = new Set<string>()
  let items = 0
  for await (const rows of batches(library.find(owned, { projection: { owner: 1 }, ...BY_BATCH }))) {
    const phones = [...new Set(rows.map(({ owner }) => owner!))]
    const accounts = await accountsOf(users, phones)
    for (const phone of phones) if (!accounts.has(phone)) made.add(phone)
    if (!dryRun) {
      for (const phone of phones) if (!accounts.has(phone)) accounts.set(phone, await makeAccount(users, phone))
      await library.bulkWrite(rows.map(({ _id, owner }): AnyBulkWriteOperation<OwnedRow> => ({
        updateOne: {
          filter: { _id, owner } as Filter<OwnedRow>,
          update: { $set: { owner: accounts.get(owner!), schema: 2 }, $unset: PROVENANCE } as Document
        }
      })), { ordered: false })
    }
    items += rows.length
  }
  if (made.size > 0) note('users', [`${made.size} accounts without a name made for numbers that own items`])
  if (items > 0) note('library', [`${items} items given to accounts`])
}

/**
 * In 0.3.0 an owner could give an item the key of another one. A folder belongs to its oldest row. The others lose
 * their key and their renditions, or their deletion would remove the files of the oldest.
 */
async function takeForgedKeys (library: Collection<LibraryDocument>, dryRun: boolean, note: Note): Promise<void> {
  const projection = { key: 1 }
  let sharing: Array<{ _id: ObjectId, key: string }> = []
  const rows = library.find({ key: { $gt: '' } }, { projection, ...BY_BATCH }).sort({ key: 1 })
  for await (const { _id, key = '' } of rows) {
    if (sharing.length > 0 && folderOf(sharing[0]!.key) !== folderOf(key)) await settle()
    sharing.push({ _id, key })
  }
  await settle()

  async function settle (): Promise<void> {
    const [oldest] = [...sharing].sort((a, b) => a._id.toHexString() < b._id.toHexString() ? -1 : 1)
    for (const { _id } of sharing) {
      if (_id === oldest!._id) continue
      if (!dryRun) await library.updateOne({ _id }, { $unset: { key: '', renditions: '' } })
      note(`library ${String(_id)}`, [`named the files of ${String(oldest!._id)}: has none now`])
    }
    sharing = []
  }
}

async function accountsOf (users: Collection<OldUser>, phones: string[]): Promise<Map<string, ObjectId>> {
  const rows = await users.find({ number: { $in: phones } }, { projection: { number: 1 } }).toArray()
  return new Map(rows.map(({ _id, number }) => [String(number), _id]))
}

async function makeAccount (users: Collection<OldUser>, number: string): Promise<ObjectId> {
  const account = await users.findOneAndUpdate(
    { number },
    { $setOnInsert: { schema: 2, admin: false, created_on: new Date(), sessions: [] } },
    { upsert: true, returnDocument: 'after' }
  )
  return account!._id
}

/** The sweeper removes what open uploads left, and keeps the item of a complete one. */
async function endUploads (db: Db, dryRun: boolean, note: Note): Promise<void> {
  const uploads = db.collection('uploads', CONSISTENT)
  const open = { state: { $in: ['staged', 'open', 'committing'] } }
  const count = await uploads.countDocuments(open)
  if (!dryRun) {
    await uploads.updateMany(open, { $set: { state: 'sweeping' } })
    await uploads.updateMany({}, { $unset: { owner: '', session: '' } })
  }
  if (count > 0) note('uploads', [`${count} ended`])
}

/**
 * Ends all legacy tokens if any was revoked, for accounts and for numbers without one. 0.3.0 stored revoked legacy
 * tokens as digests, which do not tell the number.
 */
async function endLegacyTokens (db: Db, dryRun: boolean, note: Note): Promise<void> {
  if (!await db.collection('sessions', CONSISTENT).findOne({ revoked_at: { $exists: true } })) return
  if (!dryRun) await takeovers(db).updateOne({ _id: 'takeover' }, { $min: { at: new Date(0) } }, { upsert: true })
  note('legacy tokens', ['all ended: some were revoked, and it is not known which'])
}
