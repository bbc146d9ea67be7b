import { MongoClient } from 'mongodb'
import t from 'tap'
import type { AuditDocument } from '../../schemas/documents.js'
import { createAudit, type Entry } from '../../services/audit.js'
import { maskPhone } from '../../services/phone.js'
import { auditEvents, auditOf, createUser, freshPhone } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startServices, withUriOption } from '../helpers/backends.js'
import { failCommands } from '../helpers/fail-commands.js'
import { startService } from '../helpers/service.js'

const services = await startServices(t)
const appName = 'audit'
const service = await startService(t, {
  services: { ...services, mongoUri: withUriOption(services.mongoUri, 'appName', appName) },
  env: { TRUST_PROXY: 'loopback' }
})
const { app, call, clock, logs, signIn } = service

t.test('an event that the database refused at first is written later, once', async t => {
  const { phone } = await signIn()
  await app.audit.flush()
  const heal = await failCommands(services.mongoUri, { commands: ['update'], appName, errorCode: 8000 })
  app.audit.add({ event: 'otp.rejected', subject: phone, address: '192.0.2.1', requestId: 'x', details: {} })
  await app.audit.flush()
  await heal()
  await app.audit.flush()
  t.ok(logs.some(line => JSON.parse(line).event === 'audit.write_failed'))
  for (let times = 1; times <= 2; times++) {
    t.equal((await auditEvents({ app }, phone)).filter(event => event === 'otp.rejected').length, 1)
  }
  t.notOk(logs.some(line => JSON.parse(line).event === 'audit.lost'))
})

t.test('without a database ten thousand events wait, and those beyond are counted', async t => {
  const lines: Array<{ event?: string, rows?: number }> = []
  const note = (line: object) => { lines.push(line) }
  const nowhere = new MongoClient('mongodb://127.0.0.1:1/x', { serverSelectionTimeoutMS: 100 })
  t.teardown(() => nowhere.close())
  const book = createAudit({
    audit: nowhere.db().collection<AuditDocument>('audit'),
    log: { info: note, warn: note, error: note },
    now: () => new Date('2126-05-04T10:00:00Z')
  })
  const entry: Entry = {
    event: 'otp.rejected',
    subject: freshPhone(),
    address: '192.0.2.1',
    requestId: 'x',
    details: {}
  }
  const add = (from: number, count: number) => {
    for (let i = from; i < from + count; i++) book.add({ ...entry, details: { i } })
  }
  const figures = () => lines.splice(0).map(({ event, rows }) => [event, rows])

  add(0, 10_003)
  await book.flush()
  t.same(figures(), [['audit.write_failed', 10_000], ['audit.lost', 3]])
  add(20_000, 2)
  await book.flush()
  t.same(figures(), [['audit.write_failed', 10_000], ['audit.lost', 2]])
  const failing = book.flush()
  await Promise.resolve()
  add(30_000, 5)
  await failing
  t.same(figures(), [['audit.write_failed', 9995], ['audit.lost', 5]], 'newer events take their room')
  await book.close()
  t.same(figures(), [['audit.write_failed', 10_000], ['audit.lost', 10_000]])
})

t.test('equal events within a minute are one row with a count', async t => {
  clock.advance(86_400)
  const before = await app.collections.audit.countDocuments()
  const phones = Array.from({ length: 6 }, freshPhone)
  for (let times = 1; times <= 5; times++) {
    for (const phone of phones) await ok(call('POST', '/auth/request-otp', { json: { phone } }))
    clock.advance(1)
    await app.audit.flush()
  }
  t.equal(await app.collections.audit.countDocuments() - before, 3 * 6, 'requested, sent, and quiet')
  const quiet = (await auditOf(app, phones[0]!)).filter(({ event }) => event === 'otp.already_sent')
  t.same(quiet.map(({ count }) => count), [4])
  clock.advance(60)
  const guess = async (otp: string) => t.match(
    await call('POST', '/auth/verify-otp', { json: { phone: phones[0], otp } }),
    { status: 200, body: { success: false } }
  )
  for (const otp of ['1', '2']) await guess(otp)
  clock.advance(60)
  await guess('3')
  t.same(
    (await auditOf(app, phones[0]!)).filter(({ event }) => event === 'otp.rejected').map(({ count }) => count),
    [1, 2],
    'another minute is another row'
  )
})

t.test('without a token one client network fills at most 100 rows a minute, and then one', async t => {
  const rows = () => app.collections.audit.find({ at: { $gte: clock.now } }).toArray()
  clock.advance(86_400)
  const guess = async (address: string) => t.equal(
    (await call('POST', '/auth/verify-otp', {
      json: { phone: freshPhone(), otp: 'none' },
      headers: { 'x-forwarded-for': address }
    })).status,
    200
  )
  for (let times = 1; times <= 120; times++) await guess('198.51.100.7')
  await guess('203.0.113.7')
  await app.audit.flush()
  const written = await rows()
  t.same(written.filter(({ event, network }) => event === 'otp.rejected' && network === '198.51.100.0/24').length, 100)
  t.same(
    written.filter(({ event }) => event === 'events.merged').map(({ count, phone, account }) =>
      [count, phone, account]),
    [[20, null, null]]
  )
  t.equal(written.length, 102, 'another network has its own')
})

t.test('a change of rights is written before the answer', async t => {
  const { token, phone } = await signIn()
  const events = async () => // without a flush
    (await app.collections.audit.find({ phone: maskPhone(phone) }).toArray()).map(({ event }) => event)
  for (const event of ['otp.verified', 'session.opened']) t.ok((await events()).includes(event), event)
  await createUser(service, { phone, token })
  t.ok((await events()).includes('user.created'))
  await ok(call('POST', '/auth/logout', { token }))
  t.ok((await events()).includes('session.revoked'))
})
