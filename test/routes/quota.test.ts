import t from 'tap'
import { gif, gifOf, png } from '../helpers/small-pictures.js'
import { accountOf } from '../helpers/accounts.js'
import { quiet } from '../helpers/faulty-setup.js'
import { startService } from '../helpers/service.js'
import { startServices } from '../helpers/backends.js'
import { ok } from '../helpers/answers.js'
import { scale } from '../helpers/test-length.js'
import { eventually } from '../helpers/wait.js'

const ROUNDS = scale({ short: 2, long: 5 })
const services = await startServices(t)
const service = await startService(t, { services, env: { UPLOAD_QUOTA_ITEMS: '3' } })

const sizeOf = (rows: Array<{ size?: number, renditions?: Array<{ bytes: number }> }>) =>
  rows.reduce(
    (sum, { size = 0, renditions = [] }) => sum + size + renditions.reduce((sum, { bytes }) => sum + bytes, 0),
    0
  )

t.test('POST /library/upload beyond UPLOAD_QUOTA_ITEMS is 413, and leaves nothing', async t => {
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

t.test('Uploads at the same time, also in two processes, fill a quota and never exceed it', async t => {
  const two = await startService(t, { services, env: { UPLOAD_QUOTA_ITEMS: '3' } })
  const { library } = service.app.collections
  const before = await library.countDocuments()
  for (let round = 0; round < ROUNDS; round++) {
    const { phone, token } = await service.signIn()
    const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => (n % 2 ? service : two).upload(token, gif)))
    t.same(answers.map(({ status }) => status).sort(), [...Array(3).fill(201), ...Array(7).fill(413)])
    t.equal(await library.countDocuments({ owner: await accountOf(service.app, phone) }), 3)
  }
  t.match(await eventually(() => quiet(service)), { library: before + ROUNDS * 3 })
})

t.test('UPLOAD_QUOTA_BYTES', async t => {
  const { phone, token } = await service.signIn()
  await ok(service.upload(token, png))
  const owner = await accountOf(service.app, phone)
  const items = () => service.app.collections.library.find({ owner }).toArray()
  const each = sizeOf(await items())
  const quota = each * 2
  const { clock, ...limited } = await startService(t, {
    services,
    env: { UPLOAD_QUOTA_BYTES: String(quota), UPLOAD_QUOTA_ITEMS: '3' }
  })
  const tooLarge = { status: 413, body: { error: `Your library would be larger than ${quota} bytes` } }

  t.test('POST /library/upload beyond UPLOAD_QUOTA_BYTES is 413; renditions count', async t => {
    t.ok(each > png.length, 'an item is larger than its original')
    t.equal((await limited.upload(token, png)).status, 201)
    t.match(await limited.upload(token, png), tooLarge)
    t.match(await limited.upload(token, gifOf(50_000)), tooLarge)
    t.equal(sizeOf(await items()), quota)
  })

  t.test('Direct uploads that are open count against the quota, until they expire', async t => {
    const { token } = await limited.signIn()
    const ask = (size: number) => limited.call('POST', '/library/uploads', {
      token,
      json: { content_type: 'image/gif', size, user_id: 'meera' }
    })
    const rest = gif.length + 1
    const small = Math.floor(rest / 3)
    t.match(await ask(quota + 1), tooLarge)
    t.equal((await ask(quota - rest + 1)).status, 201)
    t.match(await ask(rest), tooLarge)
    t.match(await limited.upload(token, gifOf(rest)), { status: 413 })
    const atOnce = await Promise.all(Array.from({ length: 10 }, () => ask(small)))
    t.strictSame(atOnce.map(({ status }) => status).sort(), [201, 201, ...Array(8).fill(413)])
    t.match(await ask(1), { status: 413, body: { error: 'Your library would have more than 3 items' } })
    clock.advance(600)
    t.equal((await ask(quota)).status, 201)
  })
})

t.test('A claim of an upload that died with its process is void after a while', async t => {
  const { phone, token } = await service.signIn()
  const { ObjectId } = service.app.mongo
  await service.app.collections.usage.insertOne({
    _id: await accountOf(service.app, phone),
    version: 7,
    claims: [1, 2, 3].map(n => ({ id: ObjectId.createFromTime(n), bytes: 100, at: service.clock.now })),
    purge_at: new Date('2200-01-01')
  })
  t.equal((await service.upload(token, gif)).status, 413)
  service.clock.advance(61)
  t.equal((await service.upload(token, gif)).status, 201)
})
