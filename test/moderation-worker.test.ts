import { ObjectId } from 'mongodb'
import { Webhook } from 'standardwebhooks'
import t from 'tap'
import { freshPhone } from './helpers/accounts.js'
import { ok } from './helpers/answers.js'
import { failCommands } from './helpers/fail-commands.js'
import { startServices, withUriOption } from './helpers/backends.js'
import { findItem } from './helpers/items.js'
import { loggedEvents } from './helpers/logs.js'
import { startService, type Service } from './helpers/service.js'
import { gif } from './helpers/small-pictures.js'
import { scale } from './helpers/test-length.js'
import { eventually } from './helpers/wait.js'
import { startWebhookReceiver } from './helpers/webhook-receiver.js'

const DAY = 24 * 3600
const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo='
const admin = freshPhone()

/** A service that tells a receiver, an owner, and reporters whose reports count. */
async function start (t: Parameters<typeof startServices>[0], env: Record<string, string> = {}) {
  const receiver = await startWebhookReceiver(t)
  const given = await startServices(t)
  const appName = given.s3.bucket
  const services = { ...given, mongoUri: withUriOption(given.mongoUri, 'appName', appName) }
  const settings = {
    MODERATION_WEBHOOK_URL: receiver.url,
    MODERATION_WEBHOOK_SECRET: SECRET,
    ADMIN_NUMBERS: admin,
    ...env
  }
  const service = await startService(t, { services, env: settings })
  const owner = await service.signIn()
  const reporters = [await service.signIn(), await service.signIn(), await service.signIn()]
  service.clock.advance(DAY)
  const upload = async (): Promise<string> => (await ok(service.upload(owner.token, gif))).body.id
  const report = (id: string, i: number) =>
    service.call('POST', `/library/${id}/reports`, { token: reporters[i]!.token, json: { reason: 'spam' } })
  /** What was told of an item, each repetition once. */
  const told = (id: string) => new Map(receiver.received
    .filter(({ text }) => JSON.parse(text).data.item_id === id)
    .map(({ headers, text }) => [headers['webhook-id'] as string, JSON.parse(text).type as string]))
  return { receiver, services, settings, service, appName, owner, reporters, upload, report, told }
}

/** What a process does later, by itself. */
async function work (service: Service, seconds = 60): Promise<void> {
  service.clock.advance(seconds)
  await service.app.moderationWorker.run()
}

t.test('the moderators are told of the first report of an item and of its hiding, with a signature', async t => {
  const { receiver, service, owner, upload, report } = await start(t)
  const id = await upload()
  t.equal((await report(id, 0)).status, 201)
  const first = await eventually(() => receiver.received[0])
  const ownerId = (await service.app.collections.users.findOne({ number: owner.phone }))!._id.toHexString()
  t.strictSame(JSON.parse(first.text), {
    type: 'item.reported',
    timestamp: service.clock.now.toISOString(),
    data: {
      item_id: id,
      owner_id: ownerId,
      url: (await findItem(service, id))!.key && (await ok(service.call('GET', `/library/${id}`, owner))).body.url,
      count: 1,
      reasons: { spam: 1 }
    }
  })
  t.match(first.headers, {
    'content-type': 'application/json',
    'webhook-id': /^[\w-]{10,}$/,
    'webhook-timestamp': String(Math.floor(service.clock.now.getTime() / 1000)),
    'webhook-signature': /^v1,/
  })
  // the library checks the time, too, by the system's clock
  const now = Date.now
  t.teardown(() => { Date.now = now })
  Date.now = () => service.clock.now.getTime()
  const webhook = new Webhook(SECRET)
  t.match(webhook.verify(first.text, first.headers as Record<string, string>), { type: 'item.reported' })
  t.throws(() => webhook.verify(`${first.text} `, first.headers as Record<string, string>), /signature/)
  t.throws(() => new Webhook(SECRET.replace('Mf', 'Mg')).verify(first.text, first.headers as Record<string, string>))
  Date.now = now

  t.equal((await report(id, 1)).status, 201)
  t.equal((await report(id, 2)).status, 201)
  const second = await eventually(() => receiver.received[1])
  t.match(JSON.parse(second.text), { type: 'item.hidden', data: { item_id: id, count: 3, reasons: { spam: 3 } } })
  t.not(second.headers['webhook-id'], first.headers['webhook-id'])
  await work(service)
  t.equal(receiver.received.length, 2, 'nobody is told twice')
})

t.test('after a review the first new report is told again', async t => {
  const { receiver, service, upload, report } = await start(t)
  const boss = await service.signIn(admin)
  const id = await upload()
  await ok(report(id, 0))
  await eventually(() => receiver.received[0])
  await ok(service.call('POST', `/library/${id}/review`, { token: boss.token, json: { decision: 'keep' } }))
  service.clock.advance(1)
  await ok(report(id, 1))
  const [first, second] = [receiver.received[0]!, await eventually(() => receiver.received[1])]
  t.match(JSON.parse(second.text), { type: 'item.reported', data: { count: 1 } })
  t.not(second.headers['webhook-id'], first.headers['webhook-id'])
})

t.test('a delivery that fails is repeated with growing pauses, over a restart, and given up after a day', async t => {
  const { receiver, services, settings, service, upload, report } = await start(t)
  const id = await upload()
  receiver.answer.status = 500
  await ok(report(id, 0))
  await eventually(() => receiver.received[0])
  await eventually(() => loggedEvents(service, 'webhook.failed')[0])
  const pauses: number[] = []
  for (const pause of [5, 30, 120, 600, 1800, 3600, 3600]) {
    const before = receiver.received.length
    await work(service, pause - 1)
    t.equal(receiver.received.length, before, `not before ${pause} s`)
    receiver.answer.status = pause === 30 ? 301 : 500 // a redirect is no delivery
    await work(service, 1)
    t.equal(receiver.received.length, before + 1, `after ${pause} s`)
    pauses.push(pause)
  }
  t.equal(new Set(receiver.received.map(({ headers }) => headers['webhook-id'])).size, 1, 'always with one id')
  t.match(loggedEvents(service, 'webhook.failed').at(-1), { level: 40, msg: /MODERATION_WEBHOOK_URL .* in 3600 s/ })

  const restarted = await startService(t, { services, env: settings })
  restarted.clock.advance(2 * DAY)
  const before = receiver.received.length
  await restarted.app.moderationWorker.run()
  t.equal(receiver.received.length, before + 1, 'once more')
  t.match(loggedEvents(restarted, 'webhook.given_up'), [{ level: 50, msg: String }])
  await work(restarted, DAY)
  t.equal(receiver.received.length, before + 1, 'and never again')
  const { text } = await restarted.call('GET', '/metrics')
  t.match(text, /hookaba_webhook_deliveries_total\{outcome="given_up"\} 1/)
  t.match((await service.call('GET', '/metrics')).text, /hookaba_webhook_deliveries_total\{outcome="failed"\} 8/)
})

t.test('reports and their repetitions do not shorten the pauses, and each event has a day of its own', async t => {
  const { receiver, service, upload, report } = await start(t)
  const id = await upload()
  receiver.answer.status = 500
  await ok(report(id, 0))
  await eventually(() => loggedEvents(service, 'webhook.failed')[0])
  for (const i of [0, 0, 1, 1]) {
    await ok(report(id, i))
    await work(service, 1)
  }
  t.equal(receiver.received.length, 1, 'not within 5 s')
  await work(service, 1)
  t.equal(receiver.received.length, 2)
  service.clock.advance(DAY - 60)
  await ok(report(id, 2))
  await service.app.moderationWorker.run()
  service.clock.advance(3600)
  await service.app.moderationWorker.run() // gives the first event up
  t.equal(loggedEvents(service, 'webhook.given_up').length, 1)
  await service.app.moderationWorker.run()
  const hidden = receiver.received.filter(({ text }) => JSON.parse(text).type === 'item.hidden')
  t.equal(hidden.length, 1)
  receiver.answer.status = 204
  await work(service, 5)
  t.equal(receiver.received.at(-1)!.headers['webhook-id'], hidden[0]!.headers['webhook-id'])
  t.equal(loggedEvents(service, 'webhook.given_up').length, 1)
})

t.test('an item that cannot be finished does not hold the others up', async t => {
  const { service, upload, told } = await start(t)
  const ids = [await upload(), await upload()]
  const { reports } = service.app.collections
  await reports.insertMany(ids.map(item => ({
    _id: new ObjectId(),
    item: new ObjectId(item),
    account: new ObjectId(),
    reason: 'spam',
    created_at: service.clock.now,
    open: true,
    counts_for_hiding: true,
    uncounted: true
  })))
  // a report whose time is no time cannot be counted
  await reports.updateOne({ item: new ObjectId(ids[0]) }, { $set: { created_at: null as never } })
  await service.app.collections.report_states.insertOne({
    _id: new ObjectId(ids[0]),
    version: 'a',
    open: 0,
    reasons: {},
    due_at: new Date(0)
  })
  await work(service)
  t.match(loggedEvents(service, 'moderation.failed'), [{ level: 50, id: ids[0] }])
  t.strictSame([...told(ids[1]!).values()], ['item.reported'])
})

t.test('a review that is cut off at any of its commands leaves no stale entry', async t => {
  const { services, service, appName, upload, report, told } = await start(t)
  const boss = await service.signIn(admin)
  const commands = ['find', 'update', 'insert', 'aggregate', 'findAndModify']
  const review = (id: string) =>
    service.call('POST', `/library/${id}/review`, { token: boss.token, json: { decision: 'keep' } })
  let cut = 0
  for (let skip = 1; skip <= 9; skip++) {
    const id = await upload()
    await ok(report(id, 0))
    await eventually(() => told(id).size === 1)
    await service.app.moderationWorker.run()
    const heal = await failCommands(services.mongoUri, { commands, appName, skip, errorCode: 20 })
    const { status } = await review(id)
    await heal()
    if (status !== 200) cut++
    await work(service)
    const state = (await service.app.collections.report_states.findOne({ _id: new ObjectId(id) }))!
    const open = await service.app.collections.reports.countDocuments({ item: new ObjectId(id), open: true })
    t.equal(state.open, open, `cut after ${skip} commands: the queue says how many are open`)
    if (open > 0) t.equal((await review(id)).status, 200)
    service.clock.advance(1)
    await ok(report(id, 1))
    await eventually(() => told(id).size === 2, `the next period is told, cut after ${skip} commands`)
  }
  t.ok(cut >= 4, `${cut} reviews were cut off`)
})

t.test('a receiver that comes back gets what was missed', async t => {
  const { receiver, service, upload, report, told } = await start(t)
  const id = await upload()
  receiver.answer.status = 503
  for (const i of [0, 1, 2]) await ok(report(id, i))
  await eventually(() => loggedEvents(service, 'webhook.failed')[0])
  receiver.answer.status = 200
  await work(service, 3600)
  t.strictSame([...told(id).values()].sort(), ['item.hidden', 'item.reported'])
})

t.test('no request waits for a receiver that is silent, and the stop does not either', async t => {
  const { receiver, service, upload, report } = await start(t)
  receiver.answer.status = 0
  const id = await upload()
  await ok(report(id, 0))
  await eventually(() => receiver.received[0])
  t.equal((await report(id, 1)).status, 201, 'while the first message waits for its answer')
  await service.app.close()
  t.equal(receiver.received.length, 1)
})

t.test('of several processes one tells the moderators', async t => {
  const { receiver, services, settings, service, upload } = await start(t)
  const another = () => startService(t, { services, env: settings })
  const others = [await another(), await another()]
  const ids: ObjectId[] = []
  for (let i = 0; i < 5; i++) ids.push(new ObjectId(await upload()))
  const at = service.clock.now
  await service.app.collections.reports.insertMany(ids.map(item => ({
    _id: new ObjectId(),
    item,
    account: new ObjectId(),
    reason: 'spam',
    created_at: at,
    open: true,
    counts_for_hiding: true,
    uncounted: true
  })))
  const all = [service, ...others]
  for (const { clock } of all) clock.now = new Date(at.getTime() + 60_000)
  await Promise.all(all.map(({ app }) => app.moderationWorker.run()))
  await service.app.moderationWorker.run()
  t.strictSame(
    receiver.received.map(({ text }) => JSON.parse(text).data.item_id).sort(),
    ids.map(id => id.toHexString()).sort()
  )
})

t.test('a report that is cut off at any of its commands loses neither hiding nor event', async t => {
  const { services, service, appName, upload, report, told } = await start(t)
  const commands = ['find', 'update', 'insert', 'aggregate', 'findAndModify']
  let cut = 0
  for (let skip = 1; skip <= scale({ short: 14, long: 20, real: 14 }); skip++) {
    const id = await upload()
    await ok(report(id, 0))
    await eventually(() => told(id).size === 1)
    await ok(report(id, 1))
    await service.app.moderationWorker.run()
    const heal = await failCommands(services.mongoUri, { commands, appName, skip, errorCode: 20 })
    const { status } = await report(id, 2)
    await service.app.moderationWorker.run().catch(() => {})
    await heal()
    if (status !== 201) cut++
    const stored = await service.app.collections.reports.countDocuments({ item: new ObjectId(id) })
    await work(service)
    if (stored < 3) {
      t.not(status, 201, `cut after ${skip} commands`)
      t.notOk((await findItem(service, id))!.hidden)
      t.equal((await report(id, 2)).status, 201, 'a repeat finishes it')
      await work(service)
    }
    t.equal((await findItem(service, id))!.hidden, 'reports', `cut after ${skip} commands`)
    t.strictSame([...told(id).values()].sort(), ['item.hidden', 'item.reported'], `cut after ${skip} commands`)
    const state = await service.app.collections.report_states.findOne({ _id: new ObjectId(id) })
    t.match(state, { open: 3, reasons: { spam: 3 } })
    t.notOk(state!.due_at)
  }
  t.ok(cut >= 8, `${cut} requests were cut off`)
})

t.test('GET /metrics has the age of the oldest open report', async t => {
  const { service, upload, report } = await start(t)
  const boss = await service.signIn(admin)
  const age = async () =>
    Number(/^hookaba_oldest_open_report_age_seconds (\S+)$/m.exec((await service.call('GET', '/metrics')).text)![1])
  t.equal(await age(), 0)
  const [first, second] = [await upload(), await upload()]
  await ok(report(first, 0))
  service.clock.advance(3600)
  await ok(report(second, 0))
  await ok(report(first, 1))
  service.clock.advance(60)
  t.equal(await age(), 3660)
  await ok(service.call('POST', `/library/${first}/review`, { token: boss.token, json: { decision: 'keep' } }))
  t.equal(await age(), 60)
})
