/** Databases as the replaced system and as 0.3.0 left them. */
import { readFileSync } from 'node:fs'
import { BSON, Long, ObjectId, type Db, type Document, type IndexDescription } from 'mongodb'
import { caseFile } from './paths.js'

/** Made by the commit that the changelog calls 0.3.0, on its defaults. The names of its users describe them. */
export const database030 = BSON.EJSON.parse(readFileSync(caseFile('database-0.3.0.json'), 'utf8')) as Record<string, { indexes: IndexDescription[], rows: Document[] }>

/** The id of the nth row. A larger n is newer; all are of March 2023. */
export const oldId = (n: number) => new ObjectId(`64000000${n.toString(16).padStart(16, '0')}`)

const created = new Date('2023-03-02T08:00:00.000Z')

export const oldUsers: Document[] = [
  { _id: oldId(1), username: 'Meera', number: '+919876543210', admin: true, created_on: created },
  { _id: oldId(2), username: 'Ravi', number: '9876543211', admin: 'true', created_on: created },
  { _id: oldId(3), username: 'Asha', number: '09876543212', admin: 1, created_on: '2023-03-02T08:00:00' },
  {
    _id: oldId(4),
    username: 'Vikram',
    number: '+91 98765-43213',
    admin: 'yes',
    created_on: 'Thu, 02 Mar 2023 08:00:00 GMT'
  },
  { _id: oldId(5), username: 'Priya', number: '00919876543214', created_on: created },
  { _id: oldId(6), username: 'Kiran', number: '９８７６５４３２１５', admin: false, badge: 'first', created_on: 1677744000 },
  { _id: oldId(7), username: 'Ravi again', number: '+919876543211', admin: false, created_on: created },
  { _id: oldId(8), username: 'Meera again', number: '+919876543210', admin: true, created_on: created },
  { _id: oldId(9), username: 'Asha 2', number: '9876543212', admin: false },
  { _id: oldId(10), username: 'Asha 3', number: '9876543212', admin: null, created_on: null },
  { _id: oldId(11), username: 'MEERA', number: '+919876543216', admin: false, created_on: created },
  { _id: oldId(12), username: 'Zo\u00eb', number: '+919876543217', admin: false, created_on: created },
  { _id: oldId(13), username: 'Zoe\u0308', number: '9876543218', admin: false, created_on: created },
  { _id: oldId(14), username: 'Nobody', admin: false, created_on: created },
  { _id: oldId(15), username: 'Digits', number: Long.fromString('9876543219'), admin: false, created_on: created },
  { _id: oldId(16), username: 'Words', number: 'ask Ravi', admin: false, created_on: created },
  { _id: oldId(17), number: '9876543220', admin: false, created_on: created },
  { _id: oldId(18), username: 42, number: '(98765) 43221', admin: false, created_on: created },
  { _id: oldId(19), username: ' \u200b', number: '98765 43222', admin: false, created_on: created },
  { _id: oldId(20), username: 'Null', number: null, admin: false, created_on: created },
  { _id: 'made-by-hand', username: 'Hand', number: '+919876543223', admin: false, created_on: created }
]

const url = (name: string) => `https://old-bucket.s3.amazonaws.com/${name}`

export const oldLibrary: Document[] = [
  { _id: oldId(101), url: url('fox.GIF'), user_id: 'meera', created_at: '2023-03-02T09:00:00.123456' },
  {
    _id: oldId(102),
    url: url('photo.jpg'),
    user_id: 'ravi',
    type: 'image',
    created_at: new Date('2023-03-02T10:00:00.000Z')
  },
  {
    _id: oldId(103),
    url: url('party.gif?v=2'),
    user_id: 'ravi',
    category: 'Party',
    likes: [1, 2],
    created_at: new Date('2023-03-02T11:00:00.000Z')
  },
  {
    _id: oldId(104),
    url: url('sun.png'),
    user_id: '',
    type: null,
    category: null,
    created_at: new Date('2023-03-02T12:00:00.000Z')
  },
  {
    _id: oldId(105),
    url: url('moon.gif'),
    user_id: 'meera',
    type: 'sticker',
    category: 'Moons',
    created_at: new Date('2023-03-02T13:00:00.000Z')
  }
]

/** The time in the ids of these rows. */
const IN_ID = oldId(0).getTimestamp()
const merged = (n: number, username: string, number: string, at = new Date('2023-03-02T08:00:00.000Z')) =>
  ({ id: oldId(n), username, number, created_on: at })

/** Each row of `oldUsers` that the migration changes, after the migration. `undefined`: no such field. */
export const migrated: Array<[id: ObjectId | string, Document]> = [
  [
    oldId(1),
    {
      username: 'Meera',
      username_key: 'meera',
      number: '+919876543210',
      admin: false,
      merged: [merged(8, 'Meera again', '+919876543210')]
    }
  ],
  [
    oldId(2),
    {
      username: 'Ravi',
      username_key: 'ravi',
      number: '+919876543211',
      admin: false,
      merged: [merged(7, 'Ravi again', '+919876543211')]
    }
  ],
  [
    oldId(3),
    {
      username: 'Asha',
      username_key: 'asha',
      number: '+919876543212',
      admin: false,
      created_on: '2023-03-02T08:00:00',
      merged: [merged(9, 'Asha 2', '9876543212', IN_ID), merged(10, 'Asha 3', '9876543212', IN_ID)]
    }
  ],
  [oldId(4), { number: '+919876543213', admin: false, created_on: 'Thu, 02 Mar 2023 08:00:00 GMT' }],
  [oldId(5), { number: '+919876543214', admin: false }],
  [oldId(6), { number: '+919876543215', admin: false, badge: 'first', created_on: 1677744000 }],
  [oldId(11), { username: 'MEERA', username_key: undefined, number: '+919876543216' }],
  [oldId(12), { username: 'Zo\u00eb', username_key: 'zo\u00eb', number: '+919876543217' }],
  [oldId(13), { username: 'Zoe\u0308', username_key: undefined, number: '+919876543218' }],
  [oldId(14), { username_key: 'nobody', number: undefined, old_number: undefined }],
  [oldId(15), { username_key: 'digits', number: undefined, old_number: '9876543219', duplicate_of: undefined }],
  [oldId(16), { username_key: 'words', number: undefined, old_number: 'ask Ravi', duplicate_of: undefined }],
  [oldId(17), { username: undefined, username_key: undefined, number: '+919876543220' }],
  [oldId(18), { username: '42', username_key: '42', number: '+919876543221' }],
  [oldId(19), { username: ' \u200b', username_key: undefined, number: '+919876543222' }],
  [oldId(20), { number: undefined, old_number: undefined }],
  ['made-by-hand', { username: 'Hand', username_key: undefined, number: undefined, old_number: '+919876543223' }]
]

const oldCodes: Document[] = [1, 2, 3].map(n => ({
  _id: oldId(200 + n),
  phone: `+9198765432${n}0`,
  otp: '123456',
  expires_at: created
}))

/** Fills an empty database. `shared` adds rows with exactly the same number, which no unique index allows. */
export async function fillOldDatabase (db: Db, { shared = true } = {}): Promise<void> {
  await db.collection('users').insertMany(
    shared ? oldUsers : oldUsers.filter(({ _id }) => !_id.equals?.(oldId(8)) && !_id.equals?.(oldId(10)))
  )
  await db.collection('users').createIndex({ username: 1 }, { unique: true })
  await db.collection('users').createIndex({ created_on: 1 })
  await db.collection('otps').insertMany(oldCodes)
  await db.collection('otps').createIndex({ phone: 1 }, { unique: true })
  await db.collection('library').insertMany(oldLibrary)
  await db.collection('library').createIndex({ created_at: -1, _id: -1 }, { name: 'newest' })
}

/** Replaces a database with one of 0.3.0. */
export async function fillFrom030 (db: Db): Promise<void> {
  await db.dropDatabase()
  for (const [name, { indexes, rows }] of Object.entries(database030)) {
    if (rows.length > 0) await db.collection(name).insertMany(rows)
    if (indexes.length > 0) await db.collection(name).createIndexes(indexes)
  }
}

/** All rows and indexes of a database as comparable text, without collections that are no data. */
export async function dump (db: Db): Promise<Record<string, string[]>> {
  const names = (await db.listCollections().toArray())
    .map(({ name }) => name)
    .filter(name => name !== 'migration' && name !== 'library_state')
    .sort()
  const contents = await Promise.all(names.map(async name => {
    const rows = await db.collection(name).find().sort({ _id: 1 }).toArray()
    const indexes = await db.collection(name).indexes()
    return [
      name,
      [...rows, ...indexes.sort((a, b) => a.name! < b.name! ? -1 : 1)].map(each => BSON.EJSON.stringify(each))
    ]
  }))
  return Object.fromEntries(contents)
}
