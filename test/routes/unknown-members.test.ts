import { createHmac } from 'node:crypto'
import { ObjectId } from 'mongodb'
import t from 'tap'
import type { Collections } from '../../plugins/mongo.js'
import { freshPhone, makeAdmin, namedPhone, requestContextOf } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { requestCode } from '../helpers/codes.js'
import { field, file, form, FORM_TYPE } from '../helpers/multipart.js'
import { type OpenApiDocument } from '../helpers/openapi-check.js'
import { type Service, startService } from '../helpers/service.js'
import { gif, gifOf } from '../helpers/small-pictures.js'
import { faultsOf, isDocument, namesIn, STORED } from '../helpers/stored-members.js'
import { scale } from '../helpers/test-length.js'
import { eventually } from '../helpers/wait.js'

const ODD = [
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  '__defineGetter__',
  'valueOf',
  '',
  ' ',
  '.',
  '$',
  '\u0000',
  'key\u0000',
  'a\u0000b',
  '_id\u0000',
  'ключ',
  'x'.repeat(300),
  '$set',
  '$unset',
  '$inc',
  '$push',
  '$rename',
  '$where',
  '$expr',
  '$or',
  '$gt',
  '$ne',
  '$exists',
  '$replaceRoot',
  '$function',
  '$jsonSchema',
  '$comment',
  '$db',
  '$clusterTime',
  'staging.fields.key',
  'fields.key',
  'fields',
  'owner.$ne',
  'a.b',
  '0',
  'length',
  'then',
  'toJSON',
  '_bsontype',
  'toBSON',
  'role',
  'is_admin',
  'words.0',
  'hidden',
  'password'
]
/** Every name, once. */
const NAMES = [...new Set([...Object.values(STORED).flatMap(shape => namesIn(shape)), ...ODD])]

const MARK = 'smuggled-by-a-client'
const MARKED: Array<(name: string) => unknown> = [
  () => MARK,
  name => name.startsWith('$') || name === '__proto__' || name === 'constructor'
    ? { key: MARK, prototype: { admin: MARK }, $gt: MARK }
    : [MARK, { [MARK]: MARK }]
]
/** A plausible value for a stored member of that name. */
const plausible = (victim: Victim) => (name: string): unknown => {
  if (/key$/.test(name)) return victim.key
  if (/(_at|_by|_since|_on|until|^at|dates|sends)$/.test(name)) return '2001-01-01T00:00:00.000Z'
  if (/(_id|^id|holder|duplicate_of|owner|account)$/.test(name)) return victim.id
  if (/(phone|number|from|to)$/.test(name)) return victim.phone
  if (/(admin|blocked|legacy|pending|alarmed|is_admin)$/.test(name)) return true
  if (name.startsWith('$')) return { admin: true, owner: victim.id, key: victim.key }
  return 7
}

interface Person { phone: string, token: string, id: string }
interface Victim extends Person { key: string, url: string }
/** One request of an operation that succeeds. If the operation has no body, the test sends one anyway. */
interface Request {
  path: string
  token?: string
  json?: Record<string, unknown>
  form?: Record<string, string>
  file?: boolean
  signed?: boolean
}

const TWILIO_TOKEN = 'twilio-auth-token'
const PUBLIC_URL = 'https://api.example.com'
let keys = 0
/** Whether each unknown member is sent with a value of each kind. */
const EACH_VALUE = scale({ short: 0, long: 1 }) === 1

t.test('Unknown members and form fields are ignored by every operation, and nothing of them is stored', async t => {
  const service = await startService(t, {
    env: { TRUST_PROXY: 'loopback', PUBLIC_URL, TWILIO_AUTH_TOKEN: TWILIO_TOKEN, UPLOAD_QUOTA_ITEMS: '100000' }
  })
  const victim = await withItem(service)
  const requests = await requestsOf(service)
  const document = service.app.swagger() as unknown as OpenApiDocument & {
    paths: Record<string, Record<string, { operationId: string, requestBody?: unknown }>>
  }
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), ...operation })))
  const writing = operations.filter(({ method, requestBody }) =>
    requestBody !== undefined || !['GET', 'HEAD', 'OPTIONS'].includes(method))
  t.ok(writing.length >= 16 && NAMES.length >= 100, 'there is something to try')

  const before = await belongingsOf(service, victim)
  for (const { operationId, method, requestBody } of writing) {
    t.test(`The operation ${operationId} ignores unknown members`, async t => {
      const prepare = requests[operationId]
      if (!prepare) return t.fail('say in this file how this operation is called so that it succeeds')
      const known = new Set(namesOf(document, requestBody))
      const names = NAMES.filter(name => !known.has(name))
      const clean = await played(service, method, await prepare(), [])
      const values = [...MARKED, plausible(victim)]
      const isForm = operationId === 'uploadFile'
      for (const [i, some] of portions(names, isForm ? 16 : 100).entries()) {
        const fewer = isForm ? [values[i % 3]!] : [MARKED[i % 2]!, plausible(victim)]
        for (const valueOf of EACH_VALUE ? values : fewer) {
          const smuggling = await played(service, method, await prepare(), some.map(name => [name, valueOf(name)]))
          t.equal(smuggling.status, clean.status, 'the same answer')
          t.notOk(smuggling.text.includes(MARK))
          t.strictSame(smuggling.changed, clean.changed, 'the same members of the same documents are written')
        }
      }
    })
  }

  t.test('The victim and the library are as they were', async t => {
    t.strictSame(await strangers(service), [], 'every stored member is one of those that are declared')
    t.notOk(
      (await everything(service)).some(({ document }) => JSON.stringify(document).includes(MARK)),
      'nothing that was smuggled is stored'
    )
    t.strictSame(await belongingsOf(service, victim), before, 'the documents of another account are unchanged')
    t.equal((await fetch(victim.url)).status, 200)
    t.same(Object.keys(Object.prototype), [])
    for (const name of ['admin', 'key', MARK, '$gt']) t.equal(({} as Record<string, unknown>)[name], undefined)
  })
})

t.test('POST /library/upload treats a part named like a member of every object like any unknown part', async t => {
  const service = await startService(t)
  const { token } = await service.signIn()
  const user = field('user_id', 'meera')
  const picture = file(gif)
  const answer = async (body: Buffer) => {
    const {
      status,
      body: { error }
    } = await service.call('POST', '/library/upload', { token, headers: { 'content-type': FORM_TYPE }, body })
    return { status, error }
  }
  const malformed = { status: 400, error: 'Invalid multipart body' }
  for (const name of ['__proto__', 'unheard-of', 'constructor', 'toString'].slice(0, scale({ short: 1, long: 4 }))) {
    const unknown = field(name, 'x')
    const other = file(gifOf(100_000), { name })
    const expected = [
      { how: 'before', body: form([unknown, user, picture]), answered: { status: 201 } },
      { how: 'after', body: form([picture, user, unknown]), answered: { status: 201 } },
      { how: 'often', body: form([unknown, unknown, picture, unknown, user, unknown]), answered: { status: 201 } },
      { how: 'alone', body: form([unknown]), answered: { status: 400, error: 'No file part' } },
      {
        how: 'without a user',
        body: form([unknown, picture, unknown]),
        answered: { status: 400, error: 'Missing user_id' }
      },
      {
        how: 'too many',
        body: form([user, picture, ...Array.from({ length: 19 }, () => unknown)]),
        answered: malformed
      },
      {
        how: 'too long after the file',
        body: form([user, picture, field(name, 'x'.repeat(70_000))]),
        answered: malformed
      },
      { how: 'cut off', body: form([user, picture, unknown], { end: '' }), answered: malformed },
      {
        how: 'after a field that is malformed',
        body: form([user, field('x', '{', 'Content-Type: application/json'), unknown, picture]),
        answered: malformed
      },
      { how: 'the only file', body: form([user, other]), answered: { status: 400, error: 'No file part' } },
      { how: 'a file before the file', body: form([user, other, picture]), answered: malformed },
      { how: 'a file after the file', body: form([user, picture, other]), answered: malformed }
    ]
    for (const { how, body, answered } of expected) t.match(await answer(body), answered, `${name} ${how}`)
  }
})

/** By operationId: prepares the data, then gives a request that succeeds. */
async function requestsOf (service: Service): Promise<Record<string, () => Promise<Request>>> {
  const { app, call } = service
  const admin = await somebody(service)
  await makeAdmin(service, admin.phone)
  const offered = { content_type: 'image/gif', size: gif.length, user_id: 'meera' }
  const item = async (token: string) => (await ok(service.upload(token, gif))).body.id as string
  const named = () => `u${freshPhone().slice(1)}`
  return {
    requestOtp: async () => ({ path: '/auth/request-otp', json: { phone: freshPhone() } }),
    verifyOtp: async () => {
      const phone = freshPhone()
      await requestCode(service, phone)
      return { path: '/auth/verify-otp', json: { phone, otp: service.lastCode(phone) } }
    },
    refreshToken: async () => {
      const opened = await app.sessions.open(freshPhone(), requestContextOf(app), { refreshable: true })
      return { path: '/auth/refresh', json: { refresh_token: opened!.refreshToken } }
    },
    logOut: async () => ({ path: '/auth/logout', token: await service.tokenFor(freshPhone()), json: {} }),
    endSession: async () => {
      const phone = await namedPhone(app)
      const [token, other] = [await service.tokenFor(phone), await app.sessions.open(phone, requestContextOf(app))]
      return { path: `/auth/sessions/${other!.session.id}`, token }
    },
    removeLibraryItem: async () => {
      const token = await service.tokenFor(freshPhone())
      return { path: `/library/${await item(token)}`, token }
    },
    changeLibraryItem: async () => {
      const token = await service.tokenFor(freshPhone())
      return { path: `/library/${await item(token)}`, token, json: { title: 'Dancing fox', category: '' } }
    },
    reportLibraryItem: async () => {
      const { token } = await somebody(service)
      return {
        path: `/library/${await item((await somebody(service)).token)}/reports`,
        token,
        json: { reason: 'spam', comment: 'An advertisement' }
      }
    },
    reviewLibraryItem: async () => ({
      path: `/library/${await item((await somebody(service)).token)}/review`,
      token: admin.token,
      json: { decision: 'hide' }
    }),
    addBlock: async () => ({
      path: `/users/me/blocks/${(await somebody(service)).id}`,
      token: (await somebody(service)).token
    }),
    removeBlock: async () => {
      const [{ token }, { id }] = [await somebody(service), await somebody(service)]
      await ok(call('PUT', `/users/me/blocks/${id}`, { token }))
      return { path: `/users/me/blocks/${id}`, token }
    },
    uploadFile: async () => ({
      path: '/library/upload',
      token: await service.tokenFor(freshPhone()),
      form: { user_id: 'meera' },
      file: true
    }),
    startDirectUpload: async () => ({
      path: '/library/uploads',
      token: await service.tokenFor(freshPhone()),
      json: offered
    }),
    completeDirectUpload: async () => {
      const token = await service.tokenFor(freshPhone())
      const { body } = await ok(call('POST', '/library/uploads', { token, json: offered }))
      const posted = new FormData()
      for (const [name, content] of Object.entries(body.fields as Record<string, string>)) posted.append(name, content)
      posted.append('file', new Blob([gif]))
      await (await fetch(body.url, { method: 'POST', body: posted })).arrayBuffer()
      return { path: `/library/uploads/${body.id}/complete`, token }
    },
    createUser: async () => {
      const number = freshPhone()
      return { path: '/users', token: await service.tokenFor(number), json: { username: named(), number } }
    },
    changeUser: async () => ({
      path: `/users/${(await somebody(service)).id}`,
      token: admin.token,
      json: { blocked: false }
    }),
    changeCurrentUser: async () => ({
      path: '/users/me',
      token: (await somebody(service)).token,
      json: { username: named() }
    }),
    deleteCurrentUser: async () => ({ path: '/users/me', token: (await somebody(service)).token }),
    requestNumberChange: async () => ({
      path: '/users/me/number',
      token: (await somebody(service)).token,
      json: { number: freshPhone() }
    }),
    changeNumber: async () => {
      const [{ token }, number] = [await somebody(service), freshPhone()]
      await ok(call('POST', '/users/me/number', { token, json: { number } }))
      return { path: '/users/me/number/verify', token, json: { number, otp: service.lastCode(number) } }
    },
    reportTwilioStatus: async () => {
      const phone = freshPhone()
      await requestCode(service, phone)
      return { path: '/webhooks/twilio/status', form: { MessageStatus: 'undelivered', To: phone }, signed: true }
    }
  }
}

async function somebody (service: Service): Promise<Person> {
  const phone = freshPhone()
  const token = await service.tokenFor(phone)
  const { body } = await ok(service.call('POST', '/users', {
    token,
    json: { username: `u${phone.slice(1)}`, number: phone }
  }))
  return { phone, token, id: body.user_id }
}

async function withItem (service: Service): Promise<Victim> {
  const person = await somebody(service)
  const { body: item } = await ok(service.upload(person.token, gif))
  const { key } = (await service.app.collections.library.findOne({ _id: new ObjectId(item.id as string) }))!
  return { ...person, key: key!, url: item.url }
}

/** The names that an operation declares for its body. */
function namesOf (document: OpenApiDocument, requestBody: unknown): string[] {
  const contents = Object.values(
    (requestBody as
      | { content?: Record<string, { schema: { $ref?: string, properties?: object } }> }
      | undefined)?.content ??
      {}
  )
  return contents.flatMap(({ schema: { $ref, properties } }) => {
    const components = document.components as { schemas: Record<string, { properties?: object }> }
    return Object.keys(properties ?? components.schemas[$ref?.split('/').at(-1) ?? '']?.properties ?? {})
  })
}

const portions = (names: string[], size: number) => Array.from({ length: Math.ceil(names.length / size) }, (_, i) =>
  names.slice(i * size, (i + 1) * size))

/** Counters and leases that no request owns. */
const SHARED = ['leases']

/** Sends a request with unknown members. Tells which members of which documents it wrote, by kind of value. */
async function played (
  service: Service,
  method: string,
  request: Request,
  more: Array<[string, unknown]>
): Promise<{
  status: number
  text: string
  changed: string[]
}> {
  const before = new Map((await everything(service)).map(({ id, document }) => [id, document]))
  const { status, text } = await ok(sent(service, method, request, more))
  const after = await eventually(async () => {
    const documents = await everything(service)
    return documents.every(({ collection, document }) =>
      !(collection === 'uploads' && document.state === 'removing') &&
      !(collection === 'report_states' && document.due_at)) && documents
  })
  const changed = after
    .filter(({ collection, id, document }) =>
      !SHARED.includes(collection) && JSON.stringify(before.get(id)) !== JSON.stringify(document))
    .map(({ id, collection, document }) => `${before.has(id) ? 'changes' : 'adds'} ${collection} ${kindsOf(document)}`)
  return { status, text, changed: changed.sort() }
}

function sent (
  service: Service,
  method: string,
  { path, token, json, form: entries, file: withFile, signed }: Request,
  more: Array<[string, unknown]>
): ReturnType<Service['call']> {
  keys++
  // each from an address of its own, or the audit counts them in one row
  const headers = { 'idempotency-key': `key-${keys}`, 'x-forwarded-for': `10.0.${keys >> 8}.${keys & 255}` }
  if (!entries) {
    return service.call(method, path, {
      token,
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify(Object.fromEntries([...more, ...Object.entries(json ?? {})]))
    })
  }
  const all: Array<[string, string]> = [
    ...more.map(([name, content]): [string, string] =>
      [name, typeof content === 'string' ? content : JSON.stringify(content)]),
    ...Object.entries(entries)
  ]
  if (withFile) {
    return service.call(method, path, {
      token,
      headers: { ...headers, 'content-type': FORM_TYPE },
      body: form([...all.map(([name, content]) => field(name, content)), file(gif)])
    })
  }
  const sorted = all.toSorted(([a], [b]) => a < b ? -1 : 1)
  const signature = createHmac('sha1', TWILIO_TOKEN)
    .update(PUBLIC_URL + path + sorted.map(([name, content]) => name + content).join(''))
    .digest('base64')
  return service.call(method, path, {
    headers: { ...headers, ...(signed && { 'x-twilio-signature': signature }) },
    body: new URLSearchParams(sorted)
  })
}

interface Stored { collection: keyof Collections, id: string, document: Record<string, unknown> }

async function everything ({ app }: Service): Promise<Stored[]> {
  await app.audit.flush()
  const names = Object.keys(STORED) as Array<keyof Collections>
  const found = await Promise.all(names.map(async collection =>
    (await app.mongo.db!.collection(collection).find().sort({ _id: 1 }).toArray()).map(document => ({
      collection,
      id: `${collection} ${String(document._id)}`,
      document
    }))))
  return found.flat()
}

/** The stored documents of the victim. */
async function belongingsOf (service: Service, { phone, id }: Victim): Promise<Stored[]> {
  return (await everything(service)).filter(({ collection, document: { _id, owner } }) =>
    collection !== 'audit' && [String(_id), String(owner)].some(value => value === phone || value === id))
}

/** Members that no stored document may have. */
async function strangers (service: Service): Promise<string[]> {
  const faults = (await everything(service)).flatMap(({ collection, document }) =>
    faultsOf(document, STORED[collection], collection))
  return [...new Set(faults)]
}

function kindsOf (stored: unknown): string {
  if (Array.isArray(stored)) return `[${[...new Set(stored.map(kindsOf))].join()}]`
  if (isDocument(stored)) {
    return `{${Object.entries(stored).map(([name, inner]) => `${name}:${kindsOf(inner)}`).sort().join()}}`
  }
  return typeof stored === 'boolean' || stored === null
    ? String(stored)
    : typeof stored === 'object' ? stored.constructor.name : typeof stored
}
