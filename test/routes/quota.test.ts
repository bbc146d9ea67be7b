import t from 'tap'
import { gif, gifOf, png } from '../helpers/small-pictures.js'
import { accountOf } from '../helpers/accounts.js'
import { startService, type Service } from '../helpers/service.js'
import { startServices } from '../helpers/backends.js'
import { ok } from '../helpers/answers.js'

const sizeOf = (rows: Array<{ size?: number, renditions?: Array<{ bytes: number }> }>) =>
  rows.reduce(
    (sum, { size = 0, renditions = [] }) => sum + size + renditions.reduce((sum, { bytes }) => sum + bytes, 0),
    0
  )

t.test('POST /library/upload beyond UPLOAD_QUOTA_ITEMS is 413, and leaves nothing', async t => {
  const service = await startService(t, { env: { UPLOAD_QUOTA_ITEMS: '3' } })
  const { token } = await service.signIn()
  const { token: other } = await service.signIn()
  const refused = { status: 413, body: { error: 'Your library would have more than 3 items' } }
  for (let n = 0; n < 3; n++) t.equal((await service.upload(token, gif)).status, 201)
  const before = await service.remains()
  t.match(await service.upload(token, gif), refused)
  t.strictSame(await service.remains(), before)
  t.equal((await service.upload(other, gif)).status, 201, 'each account has its own quota')
  t.equal(await service.app.collections.usage.countDocuments({ claims: { $ne: [] } }), 0, 'no claim is left')
})

t.test('POST /library/upload beyond UPLOAD_QUOTA_BYTES is 413; renditions count', async t => {
  const services = await startServices(t)
  const measure = await startService(t, { services })
  const { phone, token } = await measure.signIn()
  await ok(measure.upload(token, png))
  const owner = await accountOf(measure.app, phone)
  const rows = await measure.app.collections.library.find({ owner }).toArray()
  const each = sizeOf(rows)
  t.ok(each > png.length, 'an item is larger than its original')

  const service = await startService(t, { services, env: { UPLOAD_QUOTA_BYTES: String(each * 2) } })
  t.equal((await service.upload(token, png)).status, 201)
  const refused = { status: 413, body: { error: `Your library would be larger than ${each * 2} bytes` } }
  t.match(await service.upload(token, png), refused)
  t.match(await service.upload(token, gifOf(50_000)), refused)
  t.equal(sizeOf(await service.app.collections.library.find({ owner }).toArray()), each * 2)
})

t.test('Uploads at the same time, also in two processes, fill a quota and never exceed it', async t => {
  const services = await startServices(t)
  const env = { UPLOAD_QUOTA_ITEMS: '5', JWT_SECRET_KEY: 'q1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6' }
  const [one, two] = [
    await startService(t, { services, env }), await startService(t, { services, env })
  ] as [Service, Service]
  for (let round = 0; round < 5; round++) {
    const { phone, token } = await one.signIn()
    const answers = await Promise.all(Array.from({ length: 12 }, (_, n) => (n % 2 ? one : two).upload(token, gif)))
    t.same(answers.map(({ status }) => status).sort(), [...Array(5).fill(201), ...Array(7).fill(413)])
    t.equal(await one.app.collections.library.countDocuments({ owner: await accountOf(one.app, phone) }), 5)
  }
  t.match(await one.remains(), { uploads: 0, multipartUploads: [], library: 25 })
})

t.test('A claim of an upload that died with its process is void after a while', async t => {
  const service = await startService(t, { env: { UPLOAD_QUOTA_ITEMS: '1' } })
  const { phone, token } = await service.signIn()
  await service.app.collections.usage.insertOne({
    _id: await accountOf(service.app, phone),
    version: 7,
    claims: [{ id: service.app.mongo.ObjectId.createFromTime(1), bytes: 100, at: service.clock.now }],
    purge_at: new Date('2200-01-01')
  })
  t.equal((await service.upload(token, gif)).status, 413)
  service.clock.advance(61)
  t.equal((await service.upload(token, gif)).status, 201)
})

t.test('Direct uploads that are open count against the quota, until they expire', async t => {
  const service = await startService(t, { env: { UPLOAD_QUOTA_BYTES: '1000', UPLOAD_QUOTA_ITEMS: '3' } })
  const { token } = await service.signIn()
  const ask = (size: number) => service.call('POST', '/library/uploads', {
    token,
    json: { content_type: 'image/gif', size, user_id: 'meera' }
  })
  t.match(await ask(1001), { status: 413, body: { error: 'Your library would be larger than 1000 bytes' } })
  t.equal((await ask(600)).status, 201)
  t.match(await ask(401), { status: 413, body: { error: 'Your library would be larger than 1000 bytes' } })
  t.match(await service.upload(token, gifOf(401)), { status: 413 })
  const atOnce = await Promise.all(Array.from({ length: 10 }, () => ask(100)))
  t.strictSame(atOnce.map(({ status }) => status).sort(), [201, 201, ...Array(8).fill(413)])
  t.match(await ask(1), { status: 413, body: { error: 'Your library would have more than 3 items' } })
  service.clock.advance(600)
  t.equal((await ask(1000)).status, 201)
})
