import net from 'node:net'
import { once } from 'node:events'
import t from 'tap'
import { createUser, freshPhone } from './helpers/accounts.js'
import { ok } from './helpers/answers.js'
import { startServices } from './helpers/backends.js'
import { pinoLine } from './helpers/pino-line.js'
import { s3Proxy } from './helpers/s3-proxy.js'
import { mongoProxy } from './helpers/tcp-proxy.js'
import { MAX_WAIT_MS } from '../services/request-deadline.js'
import { startService, type Service } from './helpers/service.js'
import { startGateway } from './helpers/sms-gateway.js'
import { gif, png } from './helpers/small-pictures.js'
import { scale } from './helpers/test-length.js'
import { eventually } from './helpers/wait.js'

t.test('/metrics counts requests, SMS, uploads, commands and calls of the store', async t => {
  const gateway = await startGateway(t)
  const service = await startService(t, {
    sendSms: undefined,
    env: { SMS_PROVIDER: 'http', SMS_HTTP_URL: gateway.url, SMS_HOURLY_CAP: '70', SMS_DAILY_CAP: '700' }
  })
  await ok(service.call('POST', '/auth/request-otp', { json: { phone: freshPhone() } }))
  const token = await service.tokenFor(freshPhone())
  for (const file of [gif, png]) t.equal((await service.upload(token, file)).status, 201)
  t.equal((await service.upload(token, Buffer.from('no picture'))).status, 400)
  await ok(service.call('GET', '/library', { token }))
  t.equal((await service.call('GET', '/nowhere/+919876543210')).status, 404)

  const finished = service.logs.map(line => JSON.parse(line)).filter(({ event }) => event === 'request.finished')
  t.match(finished.find(({ route, status }) => route === '/library/upload' && status === 201), {
    method: 'POST',
    account: /^[0-9a-f]{24}$/,
    bytes: Number,
    ms: Number,
    reqId: String
  })

  const value = await scrape(service)
  for (const [series, wanted] of [
    ['http_request_duration_seconds_count{method="POST",route="/library/upload",status_code="201"}', 2],
    ['http_request_duration_seconds_count{method="POST",route="/library/upload",status_code="400"}', 1],
    ['http_request_duration_seconds_count{method="GET",route="unknown",status_code="404"}', 1],
    ['hookaba_sms_duration_seconds_count{provider="http",outcome="sent"}', 1],
    ['hookaba_sms_cap{period="hour"}', 70],
    ['hookaba_sms_cap{period="day"}', 700],
    ['hookaba_events_total{event="otp.sent",reason=""}', 1],
    ['hookaba_upload_duration_seconds_count{type="gif",outcome="stored"}', 1],
    ['hookaba_upload_duration_seconds_count{type="png",outcome="stored"}', 1],
    ['hookaba_upload_duration_seconds_count{type="",outcome="refused"}', 1],
    ['hookaba_upload_bytes_total', gif.length + png.length],
    ['hookaba_picture_duration_seconds_count{outcome="ok"}', 2],
    ['hookaba_pictures{state="active"}', 0],
    ['hookaba_mongodb_connections{state="waiting"}', 0],
    ['hookaba_mongodb_unreachable_total{reason="connection"}', 0],
    ['hookaba_dependency_up{dependency="database"}', 1],
    ['hookaba_dependency_up{dependency="store"}', 1],
    ['http_requests_in_progress', 1]
  ] as const) {
    t.equal(value(series), wanted, series)
  }
  for (const series of [
    'http_connections',
    'hookaba_mongodb_command_duration_seconds_count{command="insert",outcome="ok"}',
    'hookaba_mongodb_connections{state="idle"}',
    'hookaba_store_call_duration_seconds_count{operation="PutObject",outcome="ok"}',
    'process_cpu_seconds_total',
    'nodejs_eventloop_lag_p99_seconds'
  ]) {
    t.ok(value(series)! > 0, series)
  }
})

t.test('Failures are counted: a provider, the store, and a client that leaves', async t => {
  const services = await startServices(t)
  const proxy = await s3Proxy(services.s3)
  t.teardown(() => proxy.close())
  const service = await startService(t, {
    services: { ...services, s3: { ...services.s3, endpoint: proxy.endpoint } },
    sendSms: undefined,
    env: { SMS_PROVIDER: 'http', SMS_HTTP_URL: 'http://127.0.0.1:9' }
  })
  t.equal((await service.call('POST', '/auth/request-otp', { json: { phone: freshPhone() } })).status, 500)
  const token = await service.tokenFor(freshPhone())
  proxy.fault({ operation: 'PutObject', action: { do: 'answer', status: 403, code: 'AccessDenied' } })
  t.equal((await service.upload(token, gif)).status, 500)
  proxy.fault({ operation: 'HeadBucket', action: { do: 'answer', status: 403, code: 'AccessDenied' } })
  await leaveInUpload(service, token)
  const series = [
    'hookaba_sms_duration_seconds_count{provider="http",outcome="failed"}',
    'hookaba_store_call_duration_seconds_count{operation="PutObject",outcome="refused"}',
    'hookaba_upload_duration_seconds_count{type="",outcome="failed"}',
    'http_request_duration_seconds_count{method="POST",route="/library/upload",status_code="499"}'
  ]
  for (const name of series) await eventually(async () => (await scrape(service))(name)! > 0, name)
  t.pass('all are counted')
  const isUp = 'hookaba_dependency_up{dependency="store"}'
  await eventually(async () => (await scrape(service))(isUp) === 0, isUp)
  t.equal((await scrape(service))('hookaba_dependency_up{dependency="database"}'), 1)
  const left = service.logs.find(line => line.includes('"request.aborted"'))!
  t.match(JSON.parse(left), { method: 'POST', route: '/library/upload', network: '127.0.0.0/24' })
  t.equal(left, pinoLine(left))
})

t.test('A database that cannot be reached is counted, although no command was sent to it', async t => {
  const services = await startServices(t)
  const proxy = await mongoProxy(services.mongoUri)
  t.teardown(proxy.close)
  const service = await startService(t, {
    services: { ...services, mongoUri: proxy.uri },
    maxDatabaseWaitMs: MAX_WAIT_MS
  })
  await ok(service.call('POST', '/auth/request-otp', { json: { phone: freshPhone() } }))
  await proxy.down()
  t.equal((await service.call('POST', '/auth/request-otp', { json: { phone: freshPhone() } })).status, 500)
  const reasons = ['heartbeat', 'connection'].map(reason => `hookaba_mongodb_unreachable_total{reason="${reason}"}`)
  await eventually(async () => {
    const value = await scrape(service)
    return reasons.some(name => value(name)! > 0)
  }, 'it is counted')
  const isUp = 'hookaba_dependency_up{dependency="database"}'
  await eventually(async () => (await scrape(service))(isUp) === 0, isUp)
  t.equal((await scrape(service))('hookaba_mongodb_connections{state="in_use"}'), 0)
})

t.test('A client that leaves while a provider is silent is counted, although its request was whole', async t => {
  const gateway = await startGateway(t)
  gateway.behave(() => {})
  const service = await startService(t, {
    sendSms: undefined,
    env: { SMS_PROVIDER: 'http', SMS_HTTP_URL: gateway.url }
  })
  const body = JSON.stringify({ phone: freshPhone() })
  const socket = net.connect(Number(new URL(service.url).port), '127.0.0.1')
  socket.write('POST /auth/request-otp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n' +
    `Content-Length: ${body.length}\r\n\r\n${body}`)
  await eventually(() => gateway.requests.length === 1, 'the provider has the SMS')
  socket.destroy()
  const name = 'http_request_duration_seconds_count{method="POST",route="/auth/request-otp",status_code="499"}'
  await eventually(async () => (await scrape(service))(name) === 1, name)
  t.match(service.logs.map(line => JSON.parse(line)).find(({ event }) => event === 'request.aborted'), {
    method: 'POST',
    route: '/auth/request-otp',
    ms: Number
  })
})

t.test('The number of series does not grow with phones, ids, paths and names', async t => {
  const service = await startService(t)
  const { token, id } = await createUser(service)
  const visit = async (n: number) => {
    const hex = n.toString(16).padStart(24, '0')
    await Promise.all([
      service.call('POST', '/auth/verify-otp', { json: { phone: freshPhone(), otp: '000000' } }),
      service.call('GET', `/users/${hex}`, { token }),
      service.call('GET', `/library/${hex}`, { token }),
      service.call('GET', `/library?user_id=${hex}`, { token }),
      service.call('GET', `/${hex}/${id}`)
    ])
  }
  for (let n = 0; n < 10; n++) await visit(n)
  const before = await labelSets(service)
  for (let n = 10; n < scale({ short: 30, long: 2000 }); n++) await visit(n)
  const added = (await labelSets(service)).filter(set => !before.includes(set))
  t.ok(added.length < 10, `${added.length} more: a rare status or command, and none for each visit`)
  t.notMatch(added.join(), /\d{10}|[0-9a-f]{24}/)
})

/** Reads the value of a series. */
async function scrape (service: Service): Promise<(series: string) => number | undefined> {
  const values = new Map((await seriesOf(service)).map(line => [nameOf(line), Number(line.slice(nameOf(line).length))]))
  return series => values.get(series)
}

/** The metrics with their labels. The buckets of a histogram are one. */
const labelSets = async (service: Service) => [...new Set((await seriesOf(service)).map(line =>
  nameOf(line).replace(/_(bucket|sum|count)\b/, '').replace(/le="[^"]*",?/, '')))]

const nameOf = (line: string) => line.slice(0, line.lastIndexOf(' '))

async function seriesOf (service: Service): Promise<string[]> {
  const { text } = await ok(service.call('GET', '/metrics'))
  return text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
}

/** Begins an upload and ends the connection in the middle. */
async function leaveInUpload ({ url }: Service, token: string): Promise<void> {
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1')
  await once(socket, 'connect')
  socket.write(`POST /library/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
    'Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 10000\r\n\r\n--b\r\n')
  await new Promise(resolve => setImmediate(resolve))
  socket.destroy()
}
