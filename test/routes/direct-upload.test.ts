import { createHash } from 'node:crypto'
import { ListObjectsV2Command } from '@aws-sdk/client-s3'
import { ObjectId } from 'mongodb'
import t from 'tap'
import { accountOf } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { s3Client } from '../helpers/backends.js'
import { startFaultySetup } from '../helpers/faulty-setup.js'
import { type Reply, type Service, startService } from '../helpers/service.js'
import { gif, png } from '../helpers/small-pictures.js'
import { eventually } from '../helpers/wait.js'
import { PATIENCE } from '../helpers/patience.js'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
interface Offer { id: string, url: string, fields: Record<string, string>, expires_at: string }

t.test('Direct uploads', async t => {
  const service = await startService(t, { env: { UPLOAD_MAX_BYTES: '100000' } })
  const { phone, token } = await service.signIn()
  const { library, uploads } = service.app.collections

  t.test('A file goes straight to the store and becomes an item like any other', async t => {
    const { status, body: offer } = await start(service, token, {
      content_type: 'image/gif',
      size: gif.length,
      user_id: 'मीरा',
      category: 'Foxes',
      title: 'Fox',
      fit: 'cover',
      type: 'image'
    })
    t.equal(status, 201)
    t.match(offer, {
      id: /^[0-9a-f]{24}$/,
      fields: { key: /^incoming\/[0-9a-f-]{36}$/, 'Content-Type': 'image/gif' },
      expires_at: new Date(service.clock.now.getTime() + 600_000).toISOString()
    })
    t.match(await complete(service, token, offer), { status: 409, body: { error: 'Nothing is uploaded yet' } })
    t.equal(await library.countDocuments(), 0)

    t.equal(await post(offer, gif), 204)
    const { status: done, body: item } = await complete(service, token, offer)
    t.equal(done, 201)
    t.match(item, {
      message: 'File uploaded',
      id: offer.id,
      user_id: 'मीरा',
      category: 'Foxes',
      title: 'Fox',
      type: 'gif',
      content_type: 'image/gif',
      size: gif.length,
      sha256: sha256(gif),
      frames: 3
    })
    t.match(new URL(item.url).pathname, /\/library\/[0-9a-f-]{36}\/original\.gif$/)
    t.notOk(item.url.includes(offer.fields.key!.split('/')[1]!), 'under a key that the form never knew')
    t.equal(sha256(await bytesAt(item.url)), sha256(gif))
    t.match(await library.findOne({ key: new URL(item.url).pathname.split('/').slice(2).join('/') }), {
      owner: await accountOf(service.app, phone)
    })
    t.same(await staged(service), [], 'nothing stays where it was posted to')
    t.equal(await uploads.countDocuments(), 0)

    const again = await complete(service, token, offer)
    t.strictSame([again.status, again.body], [201, item], 'asked again, the same answer')

    const other = Buffer.from(gif)
    other[15] = 0x77
    t.equal(await post(offer, other), 204, 'the form still works')
    t.equal((await ok(complete(service, token, offer))).body.sha256, sha256(gif))
    t.equal(sha256(await bytesAt(item.url)), sha256(gif), 'but changes nothing that is served')
  })

  t.test('The form takes the declared size and type, and only its own key', async t => {
    const { body: offer } = await ok(start(service, token, {
      content_type: 'image/png',
      size: png.length,
      user_id: 'meera'
    }))
    t.equal(await post(offer, Buffer.concat([png, png])), 400)
    t.equal(await post(offer, png.subarray(1)), 400)
    t.equal(await post({ ...offer, fields: { ...offer.fields, 'Content-Type': 'text/html' } }, png), 403)
    t.equal(await post({ ...offer, fields: { ...offer.fields, key: 'library/x/original.png' } }, png), 403)
    t.match(await complete(service, token, offer), { status: 409 })
  })

  t.test('Refused bytes are removed, and so is the upload', async t => {
    const html = Buffer.from('<!doctype html><script>alert(1)</script>')
    const broken = png.subarray(0, 40)
    for (const [bytes, error] of [
      [html, 'Unsupported file type'],
      [broken, 'Damaged or unreasonable image'],
      [gif.subarray(0, 50), 'Damaged or unreasonable image']
    ] as const) {
      const before = await service.remains()
      const { body: offer } = await ok(start(service, token, {
        content_type: 'image/gif',
        size: bytes.length,
        user_id: 'meera'
      }))
      await deliver(offer, bytes)
      t.match(await complete(service, token, offer), { status: 400, body: { error } })
      t.strictSame(await service.remains(), before)
      t.match(await complete(service, token, offer), { status: 404, body: { error: 'Upload not found' } })
    }
  })

  t.test('An invalid request is refused before there is a form', async t => {
    const good = { content_type: 'image/gif', size: 100, user_id: 'meera' }
    const refused = (errors: object) => ({ status: 400, body: { errors } })
    const length = ['Length must be between 1 and 255.']
    const cases = [
      {
        json: { ...good, content_type: 'image/svg+xml' },
        expected: refused({ content_type: ['Must be one of: image/gif, image/png, image/jpeg, image/webp.'] })
      },
      {
        json: { ...good, content_type: undefined },
        expected: refused({ content_type: ['Missing data for required field.'] })
      },
      { json: { ...good, size: '100' }, expected: refused({ size: ['Not a valid integer.'] }) },
      { json: { ...good, size: 0 }, expected: refused({ size: ['Not a valid value.'] }) },
      {
        json: { ...good, size: 100_001 },
        expected: { status: 413, body: { error: 'File is larger than 100000 bytes' } }
      },
      { json: { ...good, user_id: '' }, expected: refused({ user_id: length }) },
      { json: { ...good, user_id: ' \u3000' }, expected: refused({ user_id: length }) },
      {
        json: { ...good, title: 'x'.repeat(256), category: null },
        expected: refused({ title: length, category: ['Not a valid string.'] })
      },
      { json: { ...good, title: '\ud800' }, expected: refused({ title: length }) },
      { json: { ...good, fit: 'squeeze' }, expected: refused({ fit: ['Must be one of: contain, cover, fill.'] }) },
      { json: { ...good, user_id: { $gt: '' } }, expected: refused({ user_id: ['Not a valid string.'] }) }
    ]
    const before = await uploads.countDocuments()
    for (const { json, expected } of cases) {
      t.match(
        await service.call('POST', '/library/uploads', { token, json }),
        expected,
        JSON.stringify(json).slice(0, 80)
      )
    }
    t.match(
      await service.call('POST', '/library/uploads', {
        token,
        body: 'x',
        headers: { 'content-type': 'multipart/form-data; boundary=x' }
      }),
      { status: 415 }
    )
    t.match(await service.call('POST', '/library/uploads', { json: good }), { status: 401 })
    t.equal(await uploads.countDocuments(), before)
  })

  t.test('An upload is its owner\'s alone', async t => {
    const { token: other } = await service.signIn()
    const { body: offer } = await ok(start(service, token, {
      content_type: 'image/gif',
      size: gif.length,
      user_id: 'meera'
    }))
    await deliver(offer, gif)
    t.match(await complete(service, other, offer), { status: 404, body: { error: 'Upload not found' } })
    t.match(await service.call('POST', `/library/uploads/${offer.id}/complete`), { status: 401 })
    t.equal((await complete(service, token, offer)).status, 201)
    t.match(await complete(service, other, offer), { status: 404 }, 'also when it is an item')
    t.match(await complete(service, token, { ...offer, id: '0'.repeat(24) }), { status: 404 })
    for (const id of ['x', 'A'.repeat(24), '0'.repeat(23), '%00']) {
      t.match(await complete(service, token, { ...offer, id }), { status: 400, body: { error: 'Invalid upload id' } })
    }
  })

  t.test('Unknown members are ignored, and do not get into the item', async t => {
    const { phone: theirPhone, token: other } = await service.signIn()
    const [owner, stranger] = [await accountOf(service.app, phone), await accountOf(service.app, theirPhone)]
    const { body: theirs } = await ok(service.upload(other, gif))
    const { key } = (await library.findOne({ owner: stranger }))!
    const said = { content_type: 'image/gif', size: gif.length, user_id: 'meera' }
    for (const more of [
      { key },
      { key: '', url: 'https://evil.example/x.gif' },
      { words: ['fox'] },
      { _id: 'x' },
      { 'a\u0000b': 1 },
      { $set: { key } },
      { 'staging.key': key },
      { owner: stranger, session: 'x', created_at: 0, type: 'image', sha256: 'x', renditions: [], hidden: true }
    ]) {
      const { status, body: offer } = await start(service, token, { ...said, ...more })
      t.equal(status, 201)
      await deliver(offer, gif)
      // as an earlier version stored it
      if (/^\w+$/.test(Object.keys(more)[0]!)) {
        await uploads.updateOne({ _id: new ObjectId(offer.id) }, {
          $set: { 'staging.fields': { user_id: 'meera', ...more } as never }
        })
      }
      const { status: done, body: item } = await complete(service, token, offer)
      t.equal(done, 201, JSON.stringify(more))
      const row = (await library.findOne({ owner }, { sort: { _id: -1 } }))!
      t.strictSame(
        Object.keys(row).sort(),
        [
          '_id', 'category', 'content_type', 'created_at', 'dominant_color', 'duration_ms', 'frames', 'height', 'key',
          'owner', 'renditions', 'sha256', 'size', 'type', 'user_id', 'width'
        ]
      )
      t.match(row, { type: 'gif', sha256: sha256(gif), created_at: service.clock.now })
      t.not(row.key, key)
      t.equal((await service.call('DELETE', `/library/${item.id}`, { token })).status, 204)
      t.equal((await fetch(theirs.url)).status, 200, 'the item of another account is still there')
    }
  })

  t.test('Optional members that are empty or blank count as not sent', async t => {
    for (const blank of ['', ' ', '\u3000']) {
      const { status, body: offer } = await start(service, token, {
        content_type: 'image/gif',
        size: gif.length,
        user_id: 'meera',
        type: blank,
        category: blank,
        title: blank,
        fit: blank
      })
      t.equal(status, 201)
      await deliver(offer, gif)
      const { body: item } = await ok(complete(service, token, offer))
      t.equal(item.category, 'GIF')
      t.notOk('title' in item)
    }
  })

  t.test('An account has at most 20 open uploads, however many it asks for at once', async t => {
    const { token } = await service.signIn()
    const ask = () => start(service, token, { content_type: 'image/gif', size: gif.length, user_id: 'meera' })
    const asked = await Promise.all(Array.from({ length: 30 }, ask))
    const offers = asked.filter(({ status }) => status === 201).map(({ body }) => body)
    t.equal(offers.length, 20)
    for (const { status, headers } of asked.filter(({ status }) => status !== 201)) {
      t.strictSame([status, headers.get('retry-after')], [429, '600'])
    }
    service.clock.advance(100)
    t.strictSame([(await ask()).status, (await ask()).headers.get('retry-after')], [429, '500'])

    await deliver(offers[0]!, gif)
    t.equal((await complete(service, token, offers[0]!)).status, 201)
    t.equal((await ask()).status, 201, 'one that is an item is open no more')
    t.equal((await ask()).status, 429)
    const html = Buffer.alloc(gif.length, 'x')
    await deliver(offers[1]!, html)
    t.equal((await complete(service, token, offers[1]!)).status, 400)
    t.equal((await ask()).status, 201, 'nor is one that is refused')
    t.equal((await ask()).status, 429)
    t.equal(
      (await start(service, (await service.signIn()).token, {
        content_type: 'image/gif',
        size: 1,
        user_id: 'meera'
      })).status,
      201,
      'others have their own'
    )

    service.clock.advance(500)
    t.equal((await ask()).status, 201, 'nor are those that expired')
  })

  t.test('An upload that is completed 20 times at once becomes one item', async t => {
    const { body: offer } = await ok(start(service, token, {
      content_type: 'image/gif',
      size: gif.length,
      user_id: 'meera'
    }))
    await deliver(offer, gif)
    const before = await library.countDocuments()
    const answers = await Promise.all(Array.from({ length: 20 }, () => complete(service, token, offer)))
    t.ok(answers.some(({ status }) => status === 201))
    t.same(answers.filter(({ status }) => status !== 201 && status !== 409), [])
    t.equal(new Set(answers.filter(({ status }) => status === 201).map(({ body }) => body.sha256)).size, 1)
    t.equal(await library.countDocuments(), before + 1)
    t.equal((await complete(service, token, offer)).status, 201)
  })
})

t.test('An upload can be completed later when the store or the database failed', async t => {
  const setup = await startFaultySetup(t)
  const service = await setup.start({ storeSilenceMs: PATIENCE.storeSilenceMs })
  const { token } = await service.signIn()
  const direct = async () => {
    const { body: offer } = await ok(start(service, token, {
      content_type: 'image/gif',
      size: gif.length,
      user_id: 'meera'
    }))
    await deliver(offer, gif)
    return offer
  }
  const sentence = 'Failed to upload file to S3'

  for (const { name, operation, status } of [
    { name: 'reading', operation: 'GetObject', status: 403 },
    { name: 'writing', operation: 'PutObject', status: 403 },
    { name: 'writing', operation: 'PutObject', status: 503 }
  ] as const) {
    t.test(`The store refuses ${name} with ${status}`, async t => {
      const before = (await setup.left()).library
      const offer = await direct()
      const fault = setup.s3.fault({
        operation,
        action: { do: 'answer', status, code: status === 403 ? 'AccessDenied' : 'SlowDown' }
      })
      t.match(await complete(service, token, offer), { status: 500, body: { error: sentence } })
      t.ok(fault.hits >= 1)
      setup.s3.clear()
      t.match(await completeAgain(service, token, offer), { status: 201, body: { id: offer.id } })
      t.match(await setup.settled(), { library: before + 1 })
    })
  }

  t.test('The store cuts the connection while the posted bytes are read', async t => {
    const offer = await direct()
    setup.s3.fault({ operation: 'GetObject', action: { do: 'lose' } })
    t.match(await complete(service, token, offer), { status: 500, body: { error: sentence } })
    setup.s3.clear()
    t.equal((await completeAgain(service, token, offer)).status, 201)
    await setup.settled()
  })

  t.test('The store gives other bytes than its form let through', async t => {
    const offer = await direct()
    setup.s3.fault({ operation: 'GetObject', action: { do: 'error200', code: 'InternalError' } })
    t.match(await complete(service, token, offer), { status: 500, body: { error: sentence } })
    setup.s3.clear()
    t.equal((await completeAgain(service, token, offer)).status, 201)
    await setup.settled()
  })

  t.test('The database is gone when the item is to be saved', async t => {
    const offer = await direct()
    const { hit } = setup.s3.fault({ operation: 'PutObject', action: { do: 'delay', ms: 60_000 }, times: 1 })
    const answer = complete(service, token, offer)
    await hit
    await setup.mongo.down()
    setup.s3.clear()
    t.match(await answer, { status: 500, body: { error: 'Failed to save library item' } })
    await setup.mongo.up()
    t.equal(
      (await ok(eventually(async () => {
        const reply = await complete(service, token, offer)
        return reply.status === 201 ? reply : undefined
      }))).body.id,
      offer.id
    )
    await setup.settled()
  })
})

t.test('A client posts to S3_PUBLIC_ENDPOINT where it reaches the store by another address', async t => {
  const { services, throughProxies } = await startFaultySetup(t)
  const { endpoint } = services.s3
  const service = await startService(t, { services: throughProxies, env: { S3_PUBLIC_ENDPOINT: endpoint } })
  const { token } = await service.signIn()
  const { status, body: offer } = await start(service, token, {
    content_type: 'image/gif',
    size: gif.length,
    user_id: 'meera'
  })
  t.equal(status, 201)
  t.ok(offer.url.startsWith(endpoint), offer.url)
  t.equal(await post(offer, gif), 204)
  t.equal((await complete(service, token, offer)).status, 201)
})

const start = (service: Service, token: string, json: object): Promise<Reply & { body: Offer }> => service.call(
  'POST',
  '/library/uploads',
  { token, json }
)
const complete = (service: Service, token: string, { id }: Offer) => service.call(
  'POST',
  `/library/uploads/${id}/complete`,
  { token }
)

/** Completes an upload after a failure. 409 says that its clean-up is still under way, so the request is repeated. */
const completeAgain = (service: Service, token: string, offer: Offer) => eventually(async () => {
  const reply = await complete(service, token, offer)
  return reply.status === 409 ? undefined : reply
})

/** Posts the form to the store, as a browser or an app would. Resolves with the status. */
/** Posts bytes that the store takes. */
async function deliver (offer: Offer, bytes: Uint8Array): Promise<void> {
  const status = await post(offer, bytes)
  if (status !== 204) throw new Error(`the store answered ${status}`)
}

async function post ({ url, fields }: Offer, bytes: Uint8Array): Promise<number> {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  form.append('file', new Blob([bytes]), 'picture')
  const response = await fetch(url, { method: 'POST', body: form })
  await response.arrayBuffer()
  return response.status
}

const bytesAt = async (url: string) => new Uint8Array(await (await fetch(url)).arrayBuffer())

async function staged ({ services }: Service): Promise<string[]> {
  const client = s3Client(services)
  const { Contents = [] } = await client.send(new ListObjectsV2Command({
    Bucket: services.s3.bucket,
    Prefix: 'incoming/'
  }))
  client.destroy()
  return Contents.map(({ Key }) => Key!)
}
