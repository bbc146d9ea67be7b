import http from 'node:http'
import { ObjectId } from 'mongodb'
import t from 'tap'
import type { LibraryDocument } from '../../schemas/documents.js'
import { ok } from '../helpers/answers.js'
import { createdAt, ITEM_FOLDER, itemRow } from '../helpers/items.js'
import { type Service, startService } from '../helpers/service.js'

t.test('GET /library/{id}, and the facts of an item', async t => {
  const service = await startService(t)
  const { token } = await service.signIn()
  const rows = service.app.collections.library
  const get = (id: string) => service.call('GET', `/library/${id}`, { token })
  const facts = {
    title: 'Dancing fox',
    content_type: 'image/webp',
    size: 48213,
    sha256: 'a'.repeat(64),
    width: 320,
    height: 240,
    frames: 24,
    duration_ms: 1920,
    dominant_color: '#e87830'
  }
  const still = { bytes: 5000, frames: 1, duration_ms: 0 }
  const renditions = [
    { size: '64x64', bytes: 18213, frames: 24, duration_ms: 1920 },
    { size: '32x16', bytes: 900, frames: 12, duration_ms: 1920 },
    { size: '8x8', bytes: 901, frames: 1, duration_ms: 0 },
    { size: '64x48', content_type: 'image/png' as const, ...still }
  ]
  const whole = itemRow(0, {
    key: `${ITEM_FOLDER}original.webp`,
    owner: new ObjectId('665f1c2ab7e4d90012ab34ce'),
    ...facts,
    renditions,
    words: ['dancing', 'fox']
  })
  await rows.insertMany([
    whole,
    {
      _id: new ObjectId(),
      url: 'https://old.example.com/x.png',
      title: null,
      category: null,
      sha256: null
    } as unknown as LibraryDocument
  ])
  const base = service.app.mediaStore.url(ITEM_FOLDER)
  const gif = (size: string) => ({ url: `${base}${size}.gif`, content_type: 'image/gif' })
  const item = {
    id: whole._id.toHexString(),
    url: `${base}original.webp`,
    user_id: 'u',
    created_at: createdAt(0).toISOString(),
    type: 'gif',
    category: 'GIF',
    owner_id: '665f1c2ab7e4d90012ab34ce',
    original_url: `${base}original.webp`,
    ...facts,
    renditions: {
      '64x64': { ...gif('64x64'), bytes: 18213, frames: 24, duration_ms: 1920, ble_seconds: 2.1 },
      '32x16': { ...gif('32x16'), bytes: 900, frames: 12, duration_ms: 1920, ble_seconds: 0.1 },
      '8x8': { ...gif('8x8'), bytes: 901, frames: 1, duration_ms: 0, ble_seconds: 0.2 },
      '64x48': { url: `${base}64x48.png`, content_type: 'image/png', ...still, ble_seconds: 1.1 }
    }
  }

  t.test('An item shows all its facts, in the list and by itself, and only the id of its owner', async t => {
    const { status, body, text } = await get(item.id)
    t.strictSame([status, body], [200, item])
    t.notMatch(text, /"owner"|words|\+91/)
    const [listed, old] = (await ok(service.call('GET', '/library', { token }))).body.items
    t.strictSame(listed, item)
    t.match(old, {
      owner_id: null,
      url: 'https://old.example.com/x.png',
      original_url: 'https://old.example.com/x.png',
      type: 'image',
      category: 'Images'
    })
    t.strictSame(Object.keys(old).filter(name => ['title', 'sha256', 'renditions', 'width'].includes(name)), [])
    t.strictSame((await ok(get(old.id))).body, old)
  })

  t.test(
    'LIBRARY_URL_RENDITION makes the url that rendition\'s, where there is one; the original has its own',
    async t => {
      const other = await startService(t, { services: service.services, env: { LIBRARY_URL_RENDITION: '64x64' } })
      const { body } = await ok(other.call('GET', `/library/${item.id}`, { token: (await other.signIn()).token }))
      t.strictSame(body, { ...item, url: `${base}64x64.gif` })
      const small = await startService(t, {
        services: service.services,
        env: { RENDITION_SIZES: '16x16', LIBRARY_URL_RENDITION: '16x16' }
      })
      t.strictSame(
        (await ok(small.call('GET', `/library/${item.id}`, { token: (await small.signIn()).token }))).body,
        item
      )
    }
  )

  t.test('GET /library/{id} answers 404 for an unknown id, 400 for an invalid one, 401 without a token', async t => {
    t.match(await get(new ObjectId().toHexString()), { status: 404, body: { error: 'Library item not found' } })
    for (const id of [
      'x',
      item.id.toUpperCase().replace(/\d/g, 'A'),
      item.id.slice(1),
      `${item.id}0`,
      '%00',
      '$ne',
      `${item.id}%0a`
    ]) {
      t.match(await get(id), { status: 400, body: { error: 'Invalid library item id' } }, id)
    }
    t.match(await service.call('GET', `/library/${item.id}`), { status: 401 })
  })

  t.test('Times and ids that the service never writes are no failure', async t => {
    // SecantusDB reads no year beyond 9999
    const strange = [
      ...(process.env.TEST_REAL ? [] : [new Date(8.64e15), new Date(-8.64e15), new Date(Date.UTC(10000, 0))]),
      'Infinity',
      8.64e15,
      { a: 1 }
    ]
    await rows.insertMany(
      [
        ...strange.map(created => ({ _id: new ObjectId(), created_at: created, url: 'https://old.example.com/x.png' })),
        { _id: 'mine', url: 'https://old.example.com/y.png' }
      ] as unknown as LibraryDocument[]
    )
    const { status, body } = await service.call('GET', '/library?per_page=100', { token })
    t.equal(status, 200)
    t.equal(body.items.length, strange.length + 3)
    const foreign = body.items.find(({ url }: { url: string }) => url.endsWith('y.png'))
    t.match(foreign, { id: /^[0-9a-f]{24}$/, created_at: '1970-01-01T00:00:00.000Z' })
    t.strictSame((await ok(get(foreign.id))).body, foreign)
    await rows.deleteMany({ key: { $exists: false } })
  })
})

t.test('ETag', async t => {
  const service = await startService(t)
  const { token } = await service.signIn()
  const one = itemRow(0)
  await service.app.collections.library.insertOne(one)
  await service.app.sweeper.sweep() // the first count of the items makes a new version
  for (const path of ['/library', `/library/${one._id.toHexString()}`]) {
    const ask = (ifNoneMatch?: string, method = 'GET') => raw(service, method, path, {
      authorization: `Bearer ${token}`,
      ...(ifNoneMatch !== undefined && { 'if-none-match': ifNoneMatch })
    })
    const first = await ask()
    const tag = first.headers.etag!
    t.match(first, {
      status: 200,
      headers: {
        etag: /^W\/"[^"]+"$/,
        'cache-control': 'private, no-cache',
        'content-type': 'application/json; charset=utf-8'
      }
    })
    t.equal((await ask()).headers.etag, tag, 'the same answer has the same tag')

    t.test(`GET ${path} is 304 without a body when the request names its tag, in every form there is`, async t => {
      const opaque = tag.slice(2)
      for (const named of [
        tag, opaque, '*', ' * ', `"a", ${tag}`, `${opaque},"b"`, `W/"x",${opaque} , "y"`, `"a,b", ${tag}`
      ]) {
        const answer = await ask(named)
        t.match(
          answer,
          {
            status: 304,
            text: '',
            headers: {
              etag: tag,
              'cache-control': 'private, no-cache',
              'x-request-id': String,
              'x-content-type-options': 'nosniff'
            }
          },
          named
        )
        t.strictSame(Object.keys(answer.headers).filter(name => /^content-(length|type)$/.test(name)), [])
        t.match(await ask(named, 'HEAD'), { status: 304, text: '', headers: { etag: tag } })
      }
      for (const other of [
        '',
        '"x"',
        'W/"x"',
        opaque.replaceAll('"', ''),
        `"${opaque.slice(2)}`,
        '"*"',
        `x${opaque.slice(0, -1)}`
      ]) {
        t.match(await ask(other), { status: 200, headers: { etag: tag } }, other)
      }
      t.match(await ask('"x"', 'HEAD'), {
        status: 200,
        text: '',
        headers: { etag: tag, 'content-length': String(Buffer.byteLength(first.text)) }
      })
      t.equal(
        (await service.call('GET', path, { token, headers: { 'if-none-match': tag } })).status,
        304,
        'as the OpenAPI document says'
      )
    })
  }

  t.test('A change gives a new tag; a refusal has none and is never 304', async t => {
    const [before] = await Promise.all([service.call('GET', '/library', { token })])
    await service.app.collections.library.insertOne(itemRow(1))
    const after = await service.call('GET', '/library', {
      token,
      headers: { 'if-none-match': before.headers.get('etag')! }
    })
    t.equal(after.status, 200)
    t.not(after.headers.get('etag'), before.headers.get('etag'))
    for (const [path, options, status] of [
      ['/library?page=0', { token }, 400],
      ['/library', {}, 401],
      [`/library/${new ObjectId()}`, { token }, 404],
      ['/library/x', { token }, 400]
    ] as const) {
      const { status: answered, headers } = await service.call('GET', path, {
        ...options,
        headers: { 'if-none-match': '*' }
      })
      t.same([answered, headers.get('etag'), headers.get('cache-control')], [status, null, 'no-store'], path)
    }
  })
})

/** One request with exactly these headers; fetch adds some about caching. */
function raw ({ url }: Service, method: string, path: string, headers: Record<string, string>): Promise<{
  status: number
  headers: http.IncomingHttpHeaders
  text: string
}> {
  return new Promise((resolve, reject) => {
    http.request(url + path, { method, headers, agent: false }, async response => {
      const text = Buffer.concat(await response.toArray()).toString()
      resolve({ status: response.statusCode!, headers: response.headers, text })
    }).on('error', reject).end()
  })
}
