import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { gif } from './helpers/small-pictures.js'
import { eventually } from './helpers/wait.js'
import { startService, type Service } from './helpers/service.js'
import { startServices } from './helpers/backends.js'
import { mongoProxy } from './helpers/tcp-proxy.js'
import { ok } from './helpers/answers.js'
import { loggedEvents } from './helpers/logs.js'
import { answerFrom, exchange, raw } from './helpers/raw-http.js'

const LIVE = 'GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n'
const busy = {
  status: 503,
  headers: { 'retry-after': /^[1-9]\d*$/, 'x-request-id': String },
  body: { error: 'Server is busy' }
}

t.test('a client that sends much ahead', async t => {
  const service = await startService(t)

  t.test('requests that a client sends ahead are answered in order', async t => {
    const answers = await exchange(
      service,
      LIVE.repeat(199) + 'GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    )
    t.strictSame(statuses(answers), [...Array(199).fill('200'), '404'])
  })

  t.test('a connection with hundreds of unanswered requests ends', async t => {
    const accepted = once(service.app.server, 'connection')
    const client = connect(t, service)
    client.write(LIVE.repeat(1000))
    const [socket] = await accepted as [Socket]
    await once(client.resume(), 'close')
    t.ok(socket.destroyed)
  })

  t.test('an invalid request is refused after the answers to the earlier ones', async t => {
    const { token } = await service.signIn()
    const answers = await exchange(
      service,
      `GET /library HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\nnonsense\r\n\r\n`
    )
    t.strictSame(statuses(answers), ['200', '400'])
  })

  t.test('a connection does not grow when bodies come after their answers, however often', async t => {
    const accepted = once(service.app.server, 'connection')
    const client = connect(t, service)
    const ends = new Set<unknown>()
    for (let i = 0; i < 50; i++) {
      client.write('POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n')
      t.equal((await answerFrom(client)).status, 404)
      const [socket] = await accepted as [Socket]
      ends.add(socket.destroySoon)
      t.ok(socket.listenerCount('close') < 10)
      client.write('x')
    }
    t.equal(ends.size, 1)
  })
})

t.test('the service reads no more from a client that takes no answers, and ends its connection', async t => {
  const service = await startService(t, { stallMs: 2000 })
  const accepted = once(service.app.server, 'connection')
  const client = connect(t, service)
  client.pause().write('GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(250))
  const [socket] = await accepted as [Socket]
  const closed = once(socket, 'close')
  await eventually(() => socket.writableLength > 0)
  const { bytesRead } = socket
  const done = requests(service)
  for (let i = 0; i < 20; i++) client.write(LIVE.repeat(1000))
  await closed
  t.equal(socket.bytesRead, bytesRead)
  t.ok(requests(service) <= done + 1, 'nothing is done for it either')
  t.ok(done < 250)
  t.equal((await service.call('GET', '/health/live')).status, 200)
})

t.test('a client that takes large answers slowly gets all of them', async t => {
  const service = await startService(t, { stallMs: 3000 })
  const document = await raw(service, { method: 'GET', path: '/openapi.json' })
  t.equal(document.status, 200)
  const accepted = once(service.app.server, 'connection')
  const client = connect(t, service).pause()
  client.write(
    'GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(99) +
      'GET /openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
  )
  const [socket] = await accepted as [Socket]
  await eventually(() => socket.writableLength > 0)
  let bytes = 0
  for await (const chunk of client) {
    bytes += chunk.length
    await new Promise(resolve => setTimeout(resolve, 15)) // together longer than stallMs
  }
  t.ok(bytes > 100 * document.text.length)
})

t.test('beyond MAX_CONNECTIONS the connection that has been idle longest makes room', async t => {
  const service = await startService(t, { env: { MAX_CONNECTIONS: '3' } })
  const clients: Socket[] = []
  for (let i = 0; i < 3; i++) {
    clients.push(connect(t, service))
    clients[i]!.write(LIVE)
    t.equal((await answerFrom(clients[i]!)).status, 200)
  }
  clients[0]!.write(LIVE)
  t.equal((await answerFrom(clients[0]!)).status, 200)
  const closed = once(clients[1]!, 'close')
  const fourth = connect(t, service)
  fourth.write(LIVE)
  t.equal((await answerFrom(fourth)).status, 200)
  await closed
  t.notOk(clients[0]!.destroyed || clients[2]!.destroyed)
})

t.test(
  'beyond MAX_CONNECTIONS, when none is idle, a new connection gets one answer: 503, or the true one for a probe',
  async t => {
    const service = await startService(t, { env: { MAX_CONNECTIONS: '2' } })
    const { token } = await service.signIn()
    const uploading = [connect(t, service), connect(t, service)]
    const body = `--b\r\nContent-Disposition: form-data; name="user_id"\r\n\r\nmeera\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n${gif.toString('latin1')}\r\n--b--\r\n`
    for (const client of uploading) {
      client.write(
        `POST /library/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, -5)}`,
        'latin1'
      )
    }
    await eventually(async () => (await service.remains()).uploads === 2)
    t.match(await raw(service, { method: 'GET', path: '/library', headers: { authorization: `Bearer ${token}` } }), {
      ...busy,
      headers: { ...busy.headers, connection: 'close' }
    })
    for (const path of ['/health/live', '/health/ready']) {
      t.match(await raw(service, { method: 'GET', path }), {
        status: 200,
        headers: { connection: 'close' },
        body: { status: 'ok' }
      })
    }
    for (const client of uploading) {
      client.write(body.slice(-5))
      t.equal((await answerFrom(client)).status, 201)
    }
    t.equal((await service.call('GET', '/library', { token })).status, 200)
  }
)

t.test(
  'requests beyond MAX_REQUESTS are 503, except probes; a request that waits for its body does not count',
  async t => {
    const services = await startServices(t)
    const proxy = await mongoProxy(services.mongoUri)
    t.teardown(proxy.close)
    const service = await startService(t, {
      services: { ...services, mongoUri: proxy.uri },
      env: { MAX_REQUESTS: '2' }
    })
    const { token } = await service.signIn()
    const bodies = Array.from({ length: 3 }, () => connect(t, service))
    for (const client of bodies) {
      client.write(
        'POST /auth/request-otp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n'
      )
    }
    t.equal((await service.call('GET', '/library', { token })).status, 200)
    proxy.throttle(0, 'down')
    const held = [service.call('GET', '/library', { token }), service.call('GET', '/library?per_page=2', { token })]
    const refused = await eventually(async () => {
      const answer = await raw(service, { method: 'GET', path: '/.well-known/jwks.json' })
      return answer.status === 503 && answer
    })
    t.match(refused, busy)
    t.equal((await service.call('GET', '/health/live')).status, 200)
    proxy.throttle(Infinity, 'down')
    t.strictSame((await Promise.all(held)).map(({ status }) => status), [200, 200])
    for (const client of bodies) {
      client.write('{}')
      t.equal((await answerFrom(client)).status, 400)
    }
  }
)

t.test('many refusals at once are paced, all of them come, and the log counts them in one line', async t => {
  const services = await startServices(t)
  const proxy = await mongoProxy(services.mongoUri)
  t.teardown(proxy.close)
  const service = await startService(t, {
    services: { ...services, mongoUri: proxy.uri },
    env: { MAX_REQUESTS: '1' }
  })
  const { token } = await service.signIn()
  proxy.throttle(0, 'down')
  const held = service.call('GET', '/library', { token })
  await eventually(async () => (await raw(service, { method: 'GET', path: '/.well-known/jwks.json' })).status === 503)
  const began = performance.now()
  const crowd = Array.from({ length: 120 }, () => raw(service, { method: 'GET', path: '/.well-known/jwks.json' }))
  t.equal((await service.call('GET', '/health/live')).status, 200)
  for (const answer of await Promise.all(crowd)) t.match(answer, busy)
  const seconds = (performance.now() - began) / 1000
  t.ok(seconds > 0.1, '25 in each 50 ms at most')
  proxy.throttle(Infinity, 'down')
  t.equal((await held).status, 200)
  await service.app.close()
  const lines = loggedEvents(service, 'overload.requests_refused')
  t.ok(lines.every(({ level, msg }) => level === 40 && typeof msg === 'string'))
  t.ok(lines.reduce((sum, { count }) => sum + count, 0) >= 121)
  t.ok(lines.length <= seconds + 3, 'about one line a second')
})

t.test('a client that leaves while its request waits holds no place', async t => {
  const services = await startServices(t)
  const proxy = await mongoProxy(services.mongoUri)
  t.teardown(proxy.close)
  const service = await startService(t, { services: { ...services, mongoUri: proxy.uri }, env: { MAX_REQUESTS: '20' } })
  const { token } = await service.signIn()
  const isServed = async () => (await service.call('GET', '/library', { token })).status === 200
  const body = '{"scope":"current"}'
  const wholePost = `POST /auth/logout HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n` +
    `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  await ok(service.call('GET', '/library', { token }))

  proxy.throttle(0, 'down')
  const leaving = Array.from({ length: 20 }, () => connect(t, service))
  for (const client of leaving) client.write(wholePost)
  await eventually(() => service.app.requestsInProgress() === 20, 'all have come')
  for (const client of leaving) client.destroy()
  await eventually(() => service.app.requestsInProgress() === 0, 'the service has noticed')
  proxy.throttle(Infinity, 'down')
  await eventually(isServed, 'a further request is served')
  t.ok(await isServed(), 'and none of them has ended the session')
})

t.test('with many requests in progress each is served, also after some of their clients have left', async t => {
  const services = await startServices(t)
  const proxy = await mongoProxy(services.mongoUri)
  t.teardown(proxy.close)
  const service = await startService(t, { services: { ...services, mongoUri: proxy.uri } })
  const { token } = await service.signIn()
  proxy.throttle(0, 'down')
  const get = `GET /library HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`
  const leaving = Array.from({ length: 60 }, () => connect(t, service))
  for (const client of leaving) client.write(get)
  const staying = Array.from({ length: 200 }, () => service.call('GET', '/library', { token }))
  await eventually(() => service.app.requestsInProgress() === 260, 'all have come')
  for (const client of leaving) client.destroy()
  await eventually(() => service.app.requestsInProgress() === 200, 'the service has noticed')
  proxy.throttle(Infinity, 'down')
  t.ok((await Promise.all(staying)).every(({ status }) => status === 200))
  await eventually(() => service.app.requestsInProgress() === 0, 'none is in progress')
  t.equal((await service.call('GET', '/library', { token })).status, 200)
})

t.test('a body that does not come is 408, and its rest is ignored', async t => {
  const service = await startService(t, { bodyMs: 500 })
  const { token } = await service.signIn()
  const client = connect(t, service)
  client.write(
    `POST /auth/logout HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{"scope":`
  )
  t.match(await answerFrom(client), {
    status: 408,
    headers: { connection: 'close', 'x-request-id': String },
    body: { error: 'Request timeout' }
  })
  client.end('"all"}')
  await once(client.resume(), 'close')
  t.equal((await service.call('GET', '/auth/sessions', { token })).status, 200)
  t.equal((await service.upload(token, gif)).status, 201)
})

const statuses = (answers: string) => answers.match(/(?<=HTTP\/1\.1 )\d+/g)

/** Counts the answered requests in the log. */
const requests = ({ logs }: Service) => logs.filter(line => JSON.parse(line).event === 'request.finished').length

function connect (t: Test, { url }: Service): Socket {
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
  t.teardown(() => socket.destroy())
  return socket
}
