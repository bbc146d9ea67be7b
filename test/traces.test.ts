import { createRequire } from 'node:module'
import net from 'node:net'
import t from 'tap'
import { packageVersion } from '../services/package-version.js'
import { freshPhone } from './helpers/accounts.js'
import { loggedEvents } from './helpers/logs.js'
import { plain, startOtlpReceiver, type ReceivedSpan } from './helpers/otlp-receiver.js'
import { startProcess, temporaryFolder } from './helpers/server-process.js'
import { startService, type Service } from './helpers/service.js'
import { startGateway } from './helpers/sms-gateway.js'
import { gif, png } from './helpers/small-pictures.js'
import { eventually } from './helpers/wait.js'

for (const name of Object.keys(process.env)) if (name.startsWith('OTEL_')) delete process.env[name]

const TRACE_ID = '0af7651916cd43dd8448eb211c80319c'
const CLIENT_SPAN = 'b7ad6b7169203331'

t.test('without OTEL_EXPORTER_OTLP_ENDPOINT nothing of OpenTelemetry is loaded', async t => {
  const service = await startService(t)
  t.equal((await service.upload(await service.tokenFor(freshPhone()), gif)).status, 201)
  t.strictSame(loadedPackages(), ['api']) // prom-client loads it
  t.equal(loggedEvents(service, 'request.finished')[0]!.trace_id, undefined)
})

t.test('with it, OpenTelemetry is loaded', async t => {
  await startTraced(t)
  t.ok(loadedPackages().includes('sdk-trace'))
})

t.test('an upload is one trace, which continues the client\'s', async t => {
  const { receiver, service } = await startTraced(t)
  const token = await service.tokenFor(freshPhone())
  const form = new FormData()
  form.set('user_id', 'secret-user')
  form.set('title', 'secret-title')
  form.set('file', new Blob([gif]), 'secret-file.gif')
  const { status } = await service.call('POST', '/library/upload?secret=query', {
    token,
    body: form,
    headers: { traceparent: `00-${TRACE_ID}-${CLIENT_SPAN}-01`, tracestate: 'vendor=secret' }
  })
  t.equal(status, 201)
  await service.app.close()

  const spans = receiver.spans().filter(({ traceId }) => traceId === TRACE_ID)
  t.comment(drawn(spans))
  const request = spans.find(({ parentSpanId }) => parentSpanId === CLIENT_SPAN)!
  t.match(request, { name: 'POST /library/upload', kind: 2 })
  t.match(plain(request.attributes), {
    'http.request.method': 'POST',
    'http.route': '/library/upload',
    'http.response.status_code': 201
  })
  for (const span of spans) {
    if (span !== request) t.ok(isWithin(span, request), `${span.name} is a child and lies within it`)
  }
  for (const [name, kind] of [
    ['find users', 3], ['insert uploads', 3], ['S3 PutObject', 3], ['read picture', 1], ['insert library', 3],
    ['update library_state', 3], ['delete uploads', 3]
  ] as const) {
    t.match(spans.find(span => span.name === name), { kind }, name)
  }
  t.ok(before(spans, 'insert uploads', 'read picture'))
  t.ok(before(spans, 'read picture', 'insert library'))
  t.match(plain(spans.find(({ name }) => name === 'insert library')!.attributes), {
    'db.system.name': 'mongodb',
    'db.operation.name': 'insert',
    'db.collection.name': 'library'
  })
  t.match(receiver.resource(), { 'service.name': 'hookaba-api', 'service.version': packageVersion })
  t.match(loggedEvents(service, 'request.finished').find(({ route }) => route === '/library/upload'), {
    trace_id: TRACE_ID
  })
  t.notMatch(receiver.requests.map(({ body }) => body.toString()).join(), /secret|\.gif/)
})

t.test('no span of a login holds a phone number, a code or a token, and probes have no span', async t => {
  const gateway = await startGateway(t)
  const { receiver, service } = await startTraced(t, {
    sendSms: undefined,
    env: { SMS_PROVIDER: 'http', SMS_HTTP_URL: gateway.url }
  })
  const phone = freshPhone()
  t.equal((await service.call('POST', '/auth/request-otp', { json: { phone } })).status, 200)
  const code = /\d{6}/.exec(JSON.parse(gateway.requests[0]!.body).body)![0]
  const signedIn = await service.call('POST', '/auth/verify-otp', { json: { phone, otp: code } })
  t.equal(signedIn.status, 200)
  t.equal((await service.call('GET', `/nowhere/${phone}`)).status, 404)
  t.equal((await service.call('GET', '/health/ready')).status, 200)
  await service.app.close()

  const names = receiver.spans().map(({ name }) => name)
  for (const name of ['POST /auth/request-otp', 'SMS http', 'POST /auth/verify-otp', 'GET unknown']) {
    t.ok(names.includes(name), name)
  }
  t.notOk(names.some(name => name.includes('health')))
  const sent = receiver.requests.map(({ body }) => body.toString()).join()
    .replace(/"(trace|span|parentSpan)Id":"\w+"|"\w+UnixNano":"\d+"/g, '')
  for (const secret of [phone.slice(3), code, signedIn.body.access_token]) t.notOk(sent.includes(secret))
})

t.test('a failed call is marked, with the kind of its error and no message', async t => {
  const { receiver, service } = await startTraced(t, {
    sendSms: undefined,
    env: { SMS_PROVIDER: 'http', SMS_HTTP_URL: 'http://127.0.0.1:9' }
  })
  t.equal((await service.call('POST', '/auth/request-otp', { json: { phone: freshPhone() } })).status, 500)
  await service.app.close()
  const spans = receiver.spans()
  for (const name of ['SMS http', 'POST /auth/request-otp']) {
    const span = spans.find(span => span.name === name)!
    t.equal(span.status.code, 2, name)
    t.equal(span.status.message, undefined)
    t.type(plain(span.attributes)['error.type'], 'string')
  }
})

t.test('a damaged picture is refused, which is no failure of the service', async t => {
  const { receiver, service } = await startTraced(t)
  const token = await service.tokenFor(freshPhone())
  const damaged = Buffer.from(png)
  damaged.fill(0xff, png.length - 24, png.length - 16) // the end of the pixels
  t.equal((await service.upload(token, damaged)).status, 400)
  await service.app.close()
  t.match(receiver.spans().find(({ name }) => name === 'read picture'), { status: { code: 0 } })
})

t.test('a client that leaves ends its span, which is not marked as failed', async t => {
  const gateway = await startGateway(t)
  let leave = () => {}
  gateway.behave(response => {
    leave()
    response.destroy()
  })
  const { receiver, service } = await startTraced(t, {
    sendSms: undefined,
    env: { SMS_PROVIDER: 'http', SMS_HTTP_URL: gateway.url }
  })
  const body = JSON.stringify({ phone: freshPhone() })
  const socket = net.connect(Number(new URL(service.url).port), '127.0.0.1')
  leave = () => { socket.destroy() }
  socket.write('POST /auth/request-otp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n' +
    `Content-Length: ${body.length}\r\n\r\n${body}`)
  await eventually(() => loggedEvents(service, 'request.aborted').length > 0, 'the service has noticed')
  await service.app.close()
  const requests = receiver.spans().filter(({ kind }) => kind === 2)
  t.match(requests, [{ name: 'POST /auth/request-otp', status: { code: 0 } }])
  t.equal(plain(requests[0]!.attributes)['error.type'], 'connection_closed')
})

t.test('work after the answer is no part of the trace', async t => {
  const { receiver, service } = await startTraced(t)
  const { status } = await service.call('POST', '/auth/verify-otp', {
    json: { phone: freshPhone(), otp: '000000' },
    headers: { traceparent: `00-${TRACE_ID}-${CLIENT_SPAN}-01` }
  })
  t.equal(status, 200)
  await eventually(() => service.app.collections.audit.countDocuments(), 'the batch of audit rows is written')
  await service.app.close()
  const spans = receiver.spans()
  t.ok(spans.some(({ name }) => name === 'find otps'))
  t.notOk(spans.some(({ name }) => name.endsWith(' audit')))
})

t.test('faults of the SDK are in the log, and no request notices: a receiver that refuses, a wrong variable', async t => {
  process.env.OTEL_TRACES_SAMPLER = 'sometimes'
  t.teardown(() => { delete process.env.OTEL_TRACES_SAMPLER })
  const { receiver, service } = await startTraced(t)
  t.match(loggedEvents(service, 'trace.failed'), [{ level: 40, reason: /sometimes/ }])
  receiver.status = 400
  t.equal((await service.call('GET', '/nowhere')).status, 404)
  await service.app.close()
  t.ok(loggedEvents(service, 'trace.failed').length > 1)
})

t.test('a process sends Protocol Buffers by default, under the name and with the header of the variables', async t => {
  const receiver = await startOtlpReceiver(t)
  const server = await startProcess(t, {
    DATA_DIR: await temporaryFolder(t),
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=bags',
    OTEL_SERVICE_NAME: 'bags',
    OTEL_BSP_SCHEDULE_DELAY: '50'
  })
  t.equal((await server.json('GET', '/library')).status, 401)
  await eventually(() => receiver.requests.length > 0, 'a batch has come')
  const { path, headers, body } = receiver.requests[0]!
  t.equal(path, '/v1/traces')
  t.match(headers, { 'content-type': 'application/x-protobuf', 'x-tenant': 'bags' })
  for (const text of ['GET /library', 'service.name', 'bags']) t.ok(body.includes(text), text)
  receiver.status = undefined
  t.equal((await server.json('GET', '/library')).status, 401)
  t.equal(await server.kill('SIGTERM'), 0, 'a silent receiver does not hold up its end')
})

/** A service that sends its spans as JSON to a receiver. Closing it sends those that are left. */
async function startTraced (t: Parameters<typeof startService>[0], options: Parameters<typeof startService>[1] = {}) {
  const receiver = await startOtlpReceiver(t)
  const service: Service = await startService(t, {
    ...options,
    env: { ...options.env, OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json' }
  })
  return { receiver, service }
}

const before = (spans: ReceivedSpan[], first: string, second: string) =>
  spans.findIndex(({ name }) => name === first) < spans.findIndex(({ name }) => name === second)

/** The start of a span has whole milliseconds, so its end may be one too late. */
const isWithin = (span: ReceivedSpan, parent: ReceivedSpan) =>
  span.parentSpanId === parent.spanId &&
    BigInt(span.startTimeUnixNano) >= BigInt(parent.startTimeUnixNano) &&
    BigInt(span.endTimeUnixNano) <= BigInt(parent.endTimeUnixNano) + 1_000_000n

/** The packages of OpenTelemetry that this process has loaded. */
const loadedPackages = () => [...new Set(Object.keys(createRequire(import.meta.url).cache)
  .flatMap(path => /\/@opentelemetry\/([^/]+)\//.exec(path)?.[1] ?? []))]

/** One line for each span, indented by its depth, with its start and duration in milliseconds. */
function drawn (spans: ReceivedSpan[]): string {
  const depth = ({ parentSpanId }: ReceivedSpan): number => {
    const parent = spans.find(({ spanId }) => spanId === parentSpanId)
    return parent ? 1 + depth(parent) : 0
  }
  const from = spans.find(span => depth(span) === 0)!.startTimeUnixNano
  const ms = (from: string, to: string) => (Number(BigInt(to) - BigInt(from)) / 1e6).toFixed(1)
  return spans.map(span => `${'  '.repeat(depth(span))}${span.name}: at ` +
    `${ms(from, span.startTimeUnixNano)} ms for ` +
    `${ms(span.startTimeUnixNano, span.endTimeUnixNano)} ms`).join('\n')
}
