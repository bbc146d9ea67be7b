import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import t from 'tap'
import { gif } from './helpers/small-pictures.js'
import { eventually } from './helpers/wait.js'
import { createUser, freshPhone } from './helpers/accounts.js'
import { startService } from './helpers/service.js'
import { raw } from './helpers/raw-http.js'

t.test('an error thrown inside is one 500 and one log line, and the process lives on', async t => {
  const secret = 'mongodb://10.1.2.3/hidden'
  let broken = false
  const service = await startService(t, {
    now: () => { if (broken) throw new TypeError(secret); return new Date() },
    sendSms: () => { throw new Error(secret) }
  })
  const token = await service.tokenFor(freshPhone())

  const failed = await service.call('POST', '/auth/request-otp', { json: { phone: freshPhone() } })
  t.match(failed, {
    status: 500,
    body: { error: 'Failed to send OTP', details: new RegExp(failed.headers.get('x-request-id')!) }
  })
  broken = true
  const answers = [
    await service.call('POST', '/auth/verify-otp', { json: { phone: freshPhone(), otp: '123456' } }),
    await service.upload(token, Buffer.from('GIF89a..........')),
    await service.call('POST', '/users', { token, json: { username: 'x', number: freshPhone() } })
  ]
  broken = false
  t.match(answers[0], {
    status: 500,
    body: { error: 'Internal server error', details: new RegExp(answers[0]!.headers.get('x-request-id')!) }
  })
  t.match(answers[1], { status: 500, body: { error: 'Failed to save library item' } })
  t.same([answers[2]!.status, answers[2]!.body], [500, { error: 'User creation failed' }])
  for (const { text, headers } of [failed, ...answers]) {
    t.notMatch(text, /10\.1\.2\.3|TypeError|at /)
    const lines = service.logs.map(line => JSON.parse(line)).filter(({ level, reqId }) =>
      level >= 50 && reqId === headers.get('x-request-id'))
    t.equal(lines.length, 1, 'logged once')
    t.match(JSON.stringify(lines[0]), secret)
  }
  t.equal((await service.call('GET', '/health/live')).status, 200)
})

t.test(
  'production serves the API\'s description only when it is switched on, and health says only its status',
  async t => {
    const production = { NODE_ENV: 'production', SMS_CONSOLE_IN_PRODUCTION: 'true', SMS_PROVIDER: 'console' }
    const closed = await startService(t, { env: production })
    for (const path of [
      '/docs', '/docs/', '/docs/json', '/docs/static/swagger-ui.css', '/openapi.json', '/openapi.yaml', '/metrics'
    ]) {
      t.equal((await fetch(closed.url + path)).status, 404, path)
    }
    const ready = await closed.call('GET', '/health/ready')
    t.equal(ready.status, 200)
    t.same(ready.body, { status: 'ok' })
    const METRICS_TOKEN = 'metrics-token-of-the-scraper'
    const open = await startService(t, {
      env: { ...production, DOCS: 'true', METRICS_TOKEN },
      services: closed.services
    })
    for (const path of ['/docs', '/openapi.json', '/openapi.yaml']) {
      t.equal((await fetch(open.url + path)).status, 200, path)
    }
    for (const token of [undefined, `${METRICS_TOKEN}x`, METRICS_TOKEN.slice(1)]) {
      t.match(await open.call('GET', '/metrics', { token }), {
        status: 401,
        body: { error: 'Invalid access token' }
      })
    }
    t.match(await open.call('GET', '/metrics', { token: METRICS_TOKEN }), {
      status: 200,
      text: /^hookaba_events_total\{event="otp.sent",reason=""\} 0$/m
    })
  }
)

t.test('CORS_ORIGINS', async t => {
  const without = await startService(t, { env: { DOCS: 'false' } })
  const service = await startService(t, {
    env: { CORS_ORIGINS: 'https://app.example.com, https://other.example.com' },
    services: without.services
  })

  t.test('DOCS=false hides the API\'s description outside production too', async t => {
    t.equal((await fetch(without.url + '/docs')).status, 404)
  })

  t.test('origins of CORS_ORIGINS may read answers and their headers, others may not', async t => {
    const { token } = await service.signIn()
    const [app, evil] = ['https://app.example.com', 'https://evil.example.com']
    const preflight = (origin: string, path = '/library') => raw(service, {
      method: 'OPTIONS',
      path,
      headers: { origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization' }
    })
    t.match(await preflight(app), {
      status: 204,
      text: '',
      headers: {
        'access-control-allow-origin': app,
        'access-control-allow-methods': /PATCH, DELETE/,
        'access-control-allow-headers': 'authorization',
        'access-control-max-age': '600',
        vary: /Origin/
      }
    })
    t.match(await preflight(evil), {
      status: 405,
      headers: { allow: 'GET, HEAD', 'access-control-allow-origin': undefined, vary: 'Origin' },
      body: { error: 'Method not allowed' }
    })
    const listed = await raw(service, {
      method: 'GET',
      path: '/library',
      headers: { origin: 'https://other.example.com', authorization: `Bearer ${token}` }
    })
    t.match(listed, { status: 200, headers: { 'access-control-allow-origin': 'https://other.example.com' } })
    for (const name of ['etag', 'x-request-id', 'retry-after', 'idempotency-replayed', 'www-authenticate']) {
      t.match(listed.headers['access-control-expose-headers'], name)
    }
    t.match(
      await raw(service, { method: 'GET', path: '/library', headers: { origin: evil, authorization: `Bearer ${token}` } }),
      { status: 200, headers: { 'access-control-allow-origin': undefined } }
    )
    t.match(await raw(service, { method: 'GET', path: '/library', headers: { origin: app } }), {
      status: 401,
      headers: { 'access-control-allow-origin': app }
    })
  })

  t.test(
    'CORS_ORIGINS does not change the answers to unknown URLs, wrong methods and invalid preflights',
    async t => {
      const methods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']
      const requests: Array<{ method: string, path: string, headers?: http.OutgoingHttpHeaders }> = methods.flatMap(
        method => ['/nothing', '/library/', '/users', '/%zz'].map(path => ({ method, path }))
      )
      const origin = 'https://app.example.com'
      const method = { 'access-control-request-method': 'GET' }
      requests.push(...[{}, { origin }, method].map(headers => ({ method: 'OPTIONS', path: '/library', headers })), {
        method: 'OPTIONS',
        path: '/nothing',
        headers: { origin, ...method }
      })
      for (const request of requests) {
        const [one, other] = await Promise.all([raw(without, request), raw(service, request)])
        t.strictSame(
          [other.status, other.body, other.headers.allow, other.headers['content-type']],
          [one.status, one.body, one.headers.allow, 'application/json; charset=utf-8'],
          JSON.stringify(request)
        )
        t.ok(other.status >= 400)
      }
    }
  )
})

t.test('a service that logs at the most talkative level', async t => {
  const logs: string[] = []
  const service = await startService(t, {
    logger: { level: 'trace', stream: { write: (line: string) => { logs.push(line) } } }
  })
  const { token, phone } = await service.signIn()

  t.test('the log still holds no token, code or whole number', async t => {
    t.equal((await service.upload(token, gif)).status, 201)
    await createUser(service, { phone, token })
    t.ok(logs.some(line => JSON.parse(line).level === 10))
    t.notMatch(logs.join(''), new RegExp(`${token.slice(0, 30)}|${phone.slice(1)}|${service.lastCode(phone)}`))
  })

  t.test('a body that is not needed is read up to a bound, then the connection ends', async t => {
    const socket = net.connect(Number(new URL(service.url).port), '127.0.0.1')
    socket.on('error', () => {})
    const closed = new Promise<void>(resolve => { socket.once('close', () => resolve()) })
    socket.write(
      `POST /library/upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${500 * 1024 * 1024}\r\n\r\n`
    )
    const [answer] = await once(socket, 'data')
    t.match(String(answer), /^HTTP\/1\.1 401 /)
    const chunk = Buffer.alloc(1024 * 1024)
    const write = () => { while (!socket.destroyed && socket.write(chunk)); }
    socket.on('drain', write)
    write()
    await closed
    t.ok(socket.bytesWritten < 300 * 1024 * 1024, 'long before its announced end')
  })

  t.test(
    'a stopping service finishes open requests, answers new ones 503, and no connection keeps it alive',
    async t => {
      const { port, hostname } = new URL(service.url)
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      t.teardown(() => agent.destroy())
      const boundary = 'b'
      const request = http.request({
        method: 'POST',
        path: '/library/upload',
        port,
        hostname,
        agent,
        headers: { authorization: `Bearer ${token}`, 'content-type': `multipart/form-data; boundary=${boundary}` }
      })
      request.write(
        `--${boundary}\r\nContent-Disposition: form-data; name="user_id"\r\n\r\nmeera\r\n--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.gif"\r\n\r\n`
      )
      request.write(gif)
      await eventually(async () => (await service.remains()).uploads === 1)
      const waiting = net.connect(Number(port), hostname)
      await once(waiting, 'connect')
      waiting.write('GET /health/live HTTP/1.1\r\nHost: x\r\n')
      await eventually(() =>
        new Promise<boolean>(resolve => service.app.server.getConnections((_error, count) => resolve(count >= 2))))

      await once(net.connect(Number(port), hostname), 'connect')

      const closed = service.app.close()
      await eventually(() => !service.app.server.listening)
      waiting.write('\r\n')
      const [refusal] = await once(waiting, 'data')
      for (const part of [
        /^HTTP\/1\.1 503 /, /^retry-after: 5/im, /^connection: close/im, /\{"error":"Server is stopping"\}$/
      ]) {
        t.match(String(refusal), part)
      }
      const answered = once(request, 'response')
      request.end(`\r\n--${boundary}--\r\n`)
      const [response] = await answered as [http.IncomingMessage]
      t.equal(response.statusCode, 201)
      t.equal(response.headers.connection, 'close')
      response.resume()
      await closed
    }
  )
})

t.test('a service that gives an upload three seconds', async t => {
  const service = await startService(t, { env: { UPLOAD_MAX_SECONDS: '3' } })
  const { token } = await service.signIn()

  t.test('a request that takes too long is 408, and leaves nothing, even if its end comes later', async t => {
    const socket = net.connect({ port: Number(new URL(service.url).port), host: '127.0.0.1', allowHalfOpen: true })
    t.teardown(() => socket.destroy())
    socket.on('error', () => {})
    const head = '--b\r\nContent-Disposition: form-data; name="user_id"\r\n\r\nmeera\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a.gif"\r\n\r\n'
    const tail = '\r\n--b--\r\n'
    socket.write(
      `POST /library/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${head.length + gif.length + tail.length}\r\n\r\n${head}`
    )
    socket.write(gif)
    await eventually(async () => await service.app.collections.uploads.countDocuments() === 1)
    const [answer] = await once(socket, 'data')
    for (const part of [/^HTTP\/1\.1 408 /, /^x-content-type-options: nosniff/im, /\{"error":"Request timeout"\}$/]) {
      t.match(String(answer), part)
    }
    socket.write(tail)
    const rest = await eventually(async () => {
      const found = await service.remains()
      return found.uploads === 0 && found
    })
    t.same(rest, {
      objects: [],
      multipartUploads: [],
      uploads: 0,
      library: 0
    })
  })

  t.test('a compare-and-set that can never succeed is given up', async t => {
    const request = () => service.call('POST', '/auth/request-otp', { json: { phone: freshPhone() } })
    await service.app.collections.otps.deleteMany({})
    // no document has this member, so that the second one is a duplicate
    await service.app.collections.otps.createIndex({ unknown: 1 }, { unique: true })
    t.equal((await request()).status, 200)
    // a machine that is too slow for all attempts within the request's deadline answers 500
    const refused = await eventually(async () => {
      const answer = await request()
      return answer.status === 503 && answer
    })
    t.same(refused.body, { error: 'Server is busy' })
  })
})
