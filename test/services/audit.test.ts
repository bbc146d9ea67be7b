import { MongoClient } from 'mongodb'
import t from 'tap'
import type { AuditDocument } from '../../schemas/documents.js'
import { createAudit, type Entry } from '../../services/audit.js'
import { auditOf, freshPhone, startService, startServices } from '../helper.js'

const service = await startServices(t)
const appName = 'audit'
const mongoUri = new URL(service.mongoUri)
mongoUri.searchParams.set('appName', appName)

t.test('what the database refused once is written later, once', async t => {
  const { app, call, signIn, logs } = await startService(t, { services: { ...service, mongoUri: mongoUri.href } })
  const { phone, token } = await signIn()
  await app.audit.flush()
  await app.mongo.client.db('admin').command({ configureFailPoint: 'failCommand', mode: { times: 1 }, data: { failCommands: ['insert'], appName, errorCode: 8000 } })
  await call('POST', '/auth/logout', { token })
  await app.audit.flush()
  t.ok(logs.some(line => JSON.parse(line).event === 'audit.unwritten'))
  for (let times = 1; times <= 2; times++) t.equal((await auditOf(app, phone)).filter(({ event }) => event === 'session.revoked').length, 1)
  t.notOk(logs.some(line => JSON.parse(line).event === 'audit.lost'))
})

t.test('without a database ten thousand events wait, and those beyond are counted', async t => {
  const lines: Array<{ event?: string, rows?: number }> = []
  const note = (line: object) => { lines.push(line) }
  const nowhere = new MongoClient('mongodb://127.0.0.1:1/x', { serverSelectionTimeoutMS: 100 })
  t.teardown(() => nowhere.close())
  const book = createAudit({ audit: nowhere.db().collection<AuditDocument>('audit'), secret: 'Hq7Vn2Zx9Lk4Jf1Gs8Da3Pe6Rt0Yw5Ub', log: { info: note, warn: note, error: note }, now: () => new Date('2126-05-04T10:00:00Z') })
  const entry: Entry = { event: 'otp.rejected', phone: freshPhone(), address: '192.0.2.1', requestId: 'x', details: {} }
  const add = (from: number, count: number) => { for (let i = from; i < from + count; i++) book.add({ ...entry, details: { i } }) }
  const figures = () => lines.splice(0).map(({ event, rows }) => [event, rows])

  add(0, 10_003)
  await book.flush()
  t.same(figures(), [['audit.unwritten', 10_000], ['audit.lost', 3]])
  add(20_000, 2)
  await book.flush()
  t.same(figures(), [['audit.unwritten', 10_000], ['audit.lost', 2]])
  const failing = book.flush()
  await Promise.resolve()
  add(30_000, 5)
  await failing
  t.same(figures(), [['audit.unwritten', 9995], ['audit.lost', 5]], 'those of meanwhile take their room')
  await book.close()
  t.same(figures(), [['audit.unwritten', 10_000], ['audit.lost', 10_000]])
})
