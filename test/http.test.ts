import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { gif } from './helpers/small-pictures.js'
import { eventually } from './helpers/wait.js'
import { createUser, freshPhone } from './helpers/accounts.js'
import { startService } from './helpers/service.js'
import { exchange, raw } from './helpers/raw-http.js'

const JSON_ROUTES = ['/auth/request-otp', '/auth/verify-otp', '/users'] as const
const invalidBody = { errors: { _schema: ['Invalid input.'] } }

t.test('every kind of HTTP request', async t => {
  const service = await startService(t)
  const { token } = await service.signIn()
  const authorization = `Bearer ${token}`

  t.test('a content type that is not JSON, or only looks like it, never gets a body past its schema', async t => {
    const types = [
      'text/plain',
      'text/html',
      'application/x-www-form-urlencoded',
      'multipart/form-data; boundary=x',
      'application/jsonp',
      'application/json+x',
      'application/json garbage',
      'application/json,text/plain',
      'application',
      '/',
      'json',
      '*/*',
      'application/json; charset=utf-16',
      'application/json; charset=iso-8859-1',
      'a'.repeat(300)
    ]
    const lookAlikes = [
      'Application/JSON', 'application/json ;x', 'application/json\t;a=b', ' application/json', 'application/json;',
      'application/json; charset=UTF-8', 'application/json; charset="utf-8"', 'APPLICATION/JSON; a=b'
    ]
    for (const path of JSON_ROUTES) {
      for (const type of types) {
        t.match(
          await raw(service, {
            method: 'POST',
            path,
            headers: { authorization, 'content-type': type },
            body: '{"phone":5}'
          }),
          { status: 415, body: { error: 'Unsupported media type' } },
          `${path} ${type}`
        )
      }
      for (const type of lookAlikes) {
        t.match(
          await raw(service, {
            method: 'POST',
            path,
            headers: { authorization, 'content-type': type },
            body: '{"phone":5,"username":5}'
          }),
          { status: 400, body: { errors: Object } },
          `${path} ${type}`
        )
      }
      t.match(
        await raw(service, { method: 'POST', path, headers: { authorization }, body: '{"phone":5}' }),
        { status: 415 },
        `${path} with none`
      )
    }
    t.match(
      await raw(service, {
        method: 'POST',
        path: '/library/upload',
        headers: { authorization, 'content-type': 'application/json' },
        body: '{"a":'
      }),
      { status: 415, body: { error: 'Unsupported media type' } }
    )
  })

  t.test('a body that is no JSON object in UTF-8 is 400', async t => {
    const bodies: Record<string, string | Buffer> = {
      nothing: '',
      'white space': '  \n',
      'a byte order mark': '\uFEFF{"phone":"+919876543210"}',
      'cut off': '{"phone":"+9198',
      'trailing bytes': '{"phone":"+919876543210"}x',
      'two values': '{}{}',
      NaN: '{"phone":NaN}',
      'single quotes': "{'phone':'1'}",
      'a comment': '{/**/"phone":"1"}',
      'UTF-16': Buffer.from('{"phone":"+919876543210"}', 'utf16le'),
      'broken UTF-8': Buffer.from('7b2270686f6e65223a22ff227d', 'hex'),
      'a number': '1',
      'a string': '"x"',
      true: 'true',
      null: 'null',
      'an array': '[]',
      'an array of objects': '[{"phone":"+919876543210"}]',
      'a NUL': '{"phone":\u0000"1"}'
    }
    for (const path of JSON_ROUTES) {
      for (const [name, body] of Object.entries(bodies)) {
        t.match(
          await raw(service, {
            method: 'POST',
            path,
            headers: { authorization, 'content-type': 'application/json' },
            body
          }),
          { status: 400, body: invalidBody },
          `${path} ${name}`
        )
      }
      t.match(
        await raw(service, { method: 'POST', path, headers: { authorization } }),
        { status: 400, body: invalidBody },
        `${path} with no body at all`
      )
    }
    for (const number of ['1e999', '9007199254740993', '-0', '1'.repeat(4000), '0.1e-7']) {
      const { status, body } = await raw(service, {
        method: 'POST',
        path: '/auth/request-otp',
        headers: { 'content-type': 'application/json' },
        body: `{"phone":${number}}`
      })
      t.match(
        { status, body },
        { status: 400, body: { errors: { phone: ['Not a valid string.'] } } },
        number.slice(0, 20)
      )
    }
  })

  t.test('depth and breadth cannot exceed a small body', async t => {
    for (const depth of [100, 1_000, 5_000]) {
      t.match(
        await service.call('POST', '/auth/request-otp', {
          headers: { 'content-type': 'application/json' },
          body: `{"phone":${'['.repeat(depth)}${']'.repeat(depth)}}`
        }),
        { status: 400, body: { errors: { phone: ['Not a valid string.'] } } }
      )
    }
    for (const depth of [10_000, 500_000]) {
      const { status, body } = await raw(service, {
        method: 'POST',
        path: '/auth/request-otp',
        headers: { 'content-type': 'application/json' },
        body: `{"phone":${'['.repeat(depth)}${']'.repeat(depth)}}`
      })
      t.match({ status, body }, { status: 413, body: { error: 'Request body is larger than 16384 bytes' } })
    }
    const keys = (n: number) => JSON.stringify(Object.fromEntries(Array.from({ length: n }, (_, i) => [String(i), 0])))
    t.match(
      await raw(service, {
        method: 'POST',
        path: '/auth/request-otp',
        headers: { 'content-type': 'application/json' },
        body: keys(1_500)
      }),
      { status: 400, body: { errors: { phone: ['Missing data for required field.'] } } }
    )
    t.match(
      await raw(service, {
        method: 'POST',
        path: '/auth/request-otp',
        headers: { 'content-type': 'application/json' },
        body: keys(100_000)
      }),
      { status: 413 }
    )
  })

  t.test('prototype members are ignored, wherever they come', async t => {
    for (const body of [
      '{"__proto__":{"phone":"+919876543210","username":"x","refresh_token":"x","admin":true}}',
      '{"constructor":{"prototype":{"phone":"+919876543210"}}}',
      '{"phone":"1","\\u005f_proto__":{"x":1}}'
    ]) {
      for (const path of JSON_ROUTES) {
        t.equal(
          (await raw(service, {
            method: 'POST',
            path,
            headers: { authorization, 'content-type': 'application/json' },
            body
          })).status,
          400,
          body
        )
      }
    }
    for (const query of [
      '__proto__=1', '__proto__[admin]=1', 'constructor=1', 'constructor.prototype.x=1', 'pages[__proto__]=1',
      'toString=1', 'hasOwnProperty=1&page=1'
    ]) {
      t.equal((await service.call('GET', `/library?${query}`, { token })).status, 200, query)
    }
    t.equal(
      (await raw(service, {
        method: 'GET',
        path: '/library',
        headers: { authorization, ['__proto__']: 'x', constructor: 'x' }
      })).status,
      200
    )
    t.same(Object.keys(Object.prototype), [])
    t.equal(({} as Record<string, unknown>).admin, undefined)
  })

  t.test('a page number is a plain positive integer, given once', async t => {
    const notIntegers = [
      '1.5', 'NaN', 'Infinity', '1e9', '1_0', '１', '٣', ' 5', '5 ', '+3', '0x10', '01', '1,000', 'true', 'null', '',
      '[]', '{}'
    ]
    for (const name of ['page', 'per_page']) {
      for (const value of notIntegers) {
        t.match(
          await service.call('GET', `/library?${name}=${encodeURIComponent(value)}`, { token }),
          { status: 400, body: { errors: { [name]: ['Not a valid integer.'] } } },
          `${name}=${value}`
        )
      }
      for (const value of ['0', '-1', '1000000000', '99999999999999999999']) {
        t.match(
          await service.call('GET', `/library?${name}=${value}`, { token }),
          { status: 400, body: { errors: { [name]: ['Not a valid value.'] } } },
          `${name}=${value}`
        )
      }
      t.match(
        await service.call('GET', `/library?${name}=1&${name}=2`, { token }),
        { status: 400, body: { errors: { [name]: ['Not a valid integer.'] } } },
        `${name} twice`
      )
    }
    t.match(await service.call('GET', '/library?page=999999999&per_page=999999999', { token }), {
      status: 200,
      body: { items: [], page: 999999999, per_page: 100, total: 0, total_pages: 0 }
    })
    await fc.assert(
      fc.asyncProperty(
        fc.string({ unit: 'binary', maxLength: 12 }).filter(value => !/\p{Cs}/u.test(value)),
        async value => {
          const { status } = await service.call('GET', `/library?page=${encodeURIComponent(value)}`, { token })
          return status === (/^[1-9][0-9]{0,8}$/.test(value) ? 200 : 400)
        }
      ),
      { numRuns: 300, seed: 5 }
    )
  })

  t.test('a wrong method is 405, a wrong path 404, and a URL or headers that are too long 414 and 431', async t => {
    const routes: Record<string, string> = {
      '/auth/request-otp': 'POST',
      '/auth/verify-otp': 'POST',
      '/users': 'GET, HEAD, POST',
      '/users/me': 'DELETE, GET, HEAD, PATCH',
      '/users/0123456789abcdef01234567': 'GET, HEAD, PATCH',
      '/users/me/export': 'GET, HEAD',
      '/users/me/number': 'POST',
      '/users/me/number/verify': 'POST',
      '/webhooks/twilio/status': 'POST',
      '/library': 'GET, HEAD',
      '/library/0123456789abcdef01234567': 'DELETE, GET, HEAD',
      '/library/upload': 'DELETE, GET, HEAD, POST',
      '/library/uploads': 'DELETE, GET, HEAD, POST',
      '/library/uploads/0123456789abcdef01234567/complete': 'POST',
      '/health/live': 'GET, HEAD',
      '/health/ready': 'GET, HEAD',
      '/metrics': 'GET, HEAD',
      '/.well-known/jwks.json': 'GET, HEAD',
      '/auth/refresh': 'POST',
      '/auth/logout': 'POST',
      '/auth/sessions': 'GET, HEAD',
      '/auth/sessions/0123456789abcdef01234567': 'DELETE'
    }
    for (const [path, allow] of Object.entries(routes)) {
      for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND']) {
        if (allow.split(', ').includes(method)) continue
        const answer = await raw(service, { method, path, headers: { authorization } })
        t.match(answer, { status: 405, headers: { allow } }, `${method} ${path}`)
        if (method !== 'HEAD') t.same(answer.body, { error: 'Method not allowed' })
      }
    }
    for (const path of [
      '/', '/nothing', '/library/', '//library', '/Library', '/library;x', '/auth', '/users/me/',
      '/library/../nothing', '/%2e%2e/x', '/docs/static/package.json', '/docs/static/..%2f..%2fpackage.json',
      '/.well-known', '/metrics/'
    ]) {
      t.match(
        await raw(service, { method: 'GET', path, headers: { authorization } }),
        { status: 404, body: { error: 'Not found' } },
        path
      )
    }
    t.match(await raw(service, { method: 'GET', path: '/users/%zz', headers: { authorization } }), {
      status: 400,
      headers: {
        connection: 'close',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'x-request-id': String
      },
      body: { error: 'Bad request' }
    })
    t.match(await raw(service, { method: 'GET', path: '/health/live', headers: { expect: 'the-unexpected' } }), {
      status: 200,
      headers: { 'x-request-id': String }
    })
    t.match(
      await raw(service, { method: 'GET', path: `/library?x=${'a'.repeat(9_000)}`, headers: { authorization } }),
      { status: 414, headers: { connection: 'close' }, body: { error: 'URI too long' } }
    )
    t.match(await raw(service, { method: 'GET', path: `/${'a'.repeat(9_000)}` }), { status: 414 })
    t.match(await raw(service, { method: 'GET', path: '/library', headers: { 'x-long': 'a'.repeat(17_000) } }), {
      status: 431,
      headers: { connection: 'close' },
      body: { error: 'Request header fields too large' }
    })
    t.match(
      await raw(service, {
        method: 'GET',
        path: '/health/live',
        headers: Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`h${i}`, '1']))
      }),
      { status: 431, headers: { connection: 'close' } }
    )
  })

  t.test('bytes that are no valid request are answered in JSON, and the connection ends', async t => {
    const host = 'Host: x\r\n'
    const cases = {
      400: [
        `FOO / HTTP/1.1\r\n${host}\r\n`,
        'nonsense\r\n\r\n',
        `GET / HTTP/9.9\r\n${host}\r\n`,
        'GET /health/live HTTP/1.1\r\n\r\n',
        `GET / HTTP/1.1\r\n${host}no colon\r\n\r\n`,
        `POST /users HTTP/1.1\r\n${host}Content-Length: x\r\n\r\n`
      ],
      431: [`GET / HTTP/1.1\r\n${host}X: ${'a'.repeat(20_000)}\r\n\r\n`]
    }
    for (const [status, request] of Object.entries(cases).flatMap(([status, requests]) =>
      requests.map(request => [status, request] as const))) {
      const answer = await exchange(service, request)
      const name = JSON.stringify(request.slice(0, 40))
      t.ok(answer.startsWith(`HTTP/1.1 ${status} `), name)
      for (const part of [
        /^content-type: application\/json/im, /^connection: close/im, /^\{"error":"[A-Z][^"]+"\}$/m
      ]) {
        t.match(answer, part, name)
      }
    }
  })

  t.test('every answer carries the protective headers and its request id, and no name of a product', async t => {
    const form = new FormData()
    form.append('file', new Blob([Buffer.alloc(10)]), 'x')
    const answers = await Promise.all([
      service.call('GET', '/health/live'),
      service.call('GET', '/library', { token }),
      service.call('GET', '/library'),
      service.call('GET', '/library?page=0', { token }),
      service.call('GET', '/nothing'),
      service.call('DELETE', '/users'),
      service.call('POST', '/auth/request-otp', { json: {} }),
      service.call('POST', '/auth/request-otp', { body: 'x', headers: { 'content-type': 'text/plain' } }),
      service.call('POST', '/auth/request-otp', { json: { phone: 'x'.repeat(20_000) } }),
      service.call('POST', '/library/upload', { token, body: form }),
      service.call('GET', '/users/nobody', { token }),
      service.call('GET', `/users/${'0'.repeat(24)}`, { token })
    ])
    t.same([...new Set(answers.map(({ status }) => status))].sort(), [200, 400, 401, 404, 405, 413, 415])
    for (const [i, { status, headers }] of answers.entries()) {
      t.match(Object.fromEntries(headers), {
        'x-request-id': /^[0-9a-f-]{36}$/,
        'x-content-type-options': 'nosniff',
        'strict-transport-security': /^max-age=31536000/,
        'cache-control': i === 1 ? 'private, no-cache' : 'no-store', // the ETag lets a client ask for the library again
        'content-security-policy': /^default-src 'none'/,
        'referrer-policy': 'no-referrer',
        'content-type': 'application/json; charset=utf-8'
      }, String(status))
      t.notOk(headers.get('server') ?? headers.get('x-powered-by') ?? headers.get('access-control-allow-origin'))
    }
    t.equal(new Set(answers.map(({ headers }) => headers.get('x-request-id'))).size, answers.length)
    const idFor = async (own: string) => {
      const { status, headers } = await service.call('GET', '/health/live', { headers: { 'x-request-id': own } })
      t.equal(status, 200)
      return headers.get('x-request-id')
    }
    for (const own of ['mine', '0af7651916cd43dd8448eb211c80319c', 'a/b:c+d=e_f.g-h', 'x'.repeat(128)]) {
      t.equal(await idFor(own), own)
    }
    for (const other of ['x'.repeat(129), 'two words', 'né', '"', '+919876543210', '919876543210']) {
      t.match(await idFor(other), /^[0-9a-f-]{36}$/, 'a new one')
    }
  })

  t.test('client input cannot forge or break a log line', async t => {
    const nasty = 'a\r\n{"level":60,"msg":"forged"}\u001b[2J\u0000\u2028'
    service.logs.length = 0
    const answers = [
      await service.call('POST', '/auth/request-otp', { json: { phone: nasty, platform: nasty } }),
      await service.call('POST', '/users', { token, json: { username: nasty, number: nasty } }),
      await service.call('GET', `/users/${encodeURIComponent(nasty)}`, { token }),
      await service.call('GET', `/${encodeURIComponent(nasty)}?q=${encodeURIComponent(nasty)}`)
    ]
    t.same(answers.map(({ status }) => status), [400, 400, 400, 404])
    t.ok(service.logs.length >= 4)
    for (const line of service.logs) {
      t.match(JSON.parse(line), { level: Number, time: Number })
      t.notMatch(line.trimEnd(), /[\u0000-\u001f\u2028]|forged/) // eslint-disable-line no-control-regex
    }
  })

  t.test('a request is one log line with its route, and without its path', async t => {
    const routeOf = async (method: string, path: string) => {
      service.logs.length = 0
      await service.call(method, path, { token })
      return service.logs.map(line => JSON.parse(line))
        .filter(({ event }) => event === 'request.finished')
        .map(({ method, route, status }) => [method, route, status])
    }
    t.strictSame(await routeOf('GET', '/library/665f1c2ab7e4d90012ab34cd?x=1'), [['GET', '/library/:id', 404]])
    t.strictSame(await routeOf('DELETE', '/library/secret'), [['DELETE', '/library/:id', 400]])
    t.strictSame(await routeOf('GET', '/library?page=1'), [['GET', '/library', 200]])
    t.strictSame(await routeOf('GET', '/nothing/here'), [['GET', 'unknown', 404]])
  })
})

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
    const open = await startService(t, { env: { ...production, DOCS: 'true' }, services: closed.services })
    for (const path of ['/docs', '/openapi.json', '/openapi.yaml']) {
      t.equal((await fetch(open.url + path)).status, 200, path)
    }
    const METRICS_TOKEN = 'metrics-token-of-the-scraper'
    const watched = await startService(t, { env: { ...production, METRICS_TOKEN }, services: closed.services })
    for (const token of [undefined, `${METRICS_TOKEN}x`, METRICS_TOKEN.slice(1)]) {
      t.match(await watched.call('GET', '/metrics', { token }), {
        status: 401,
        body: { error: 'Invalid access token' }
      })
    }
    t.match(await watched.call('GET', '/metrics', { token: METRICS_TOKEN }), {
      status: 200,
      text: /^hookaba_events_total\{event="otp.sent",reason=""\} 0$/m
    })
    const shut = await startService(t, { env: { DOCS: 'false' }, services: closed.services })
    t.equal((await fetch(shut.url + '/docs')).status, 404)
  }
)

t.test('origins of CORS_ORIGINS may read answers and their headers, others may not', async t => {
  const service = await startService(t, { env: { CORS_ORIGINS: 'https://app.example.com, https://other.example.com' } })
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
    const without = await startService(t)
    const service = await startService(t, {
      env: { CORS_ORIGINS: 'https://app.example.com' },
      services: without.services
    })
    const methods = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']
    const requests: Array<{ method: string, path: string, headers?: http.OutgoingHttpHeaders }> = methods.flatMap(
      method => ['/nothing', '/library/', '/', '/users', '/%zz'].map(path => ({ method, path }))
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

t.test('a URL without a route is 404 or 405, whatever its body is', async t => {
  const service = await startService(t)
  for (const headers of [
    {},
    { 'content-type': 'application/json' },
    { 'content-type': 'text/plain' },
    { 'content-type': 'application/json', 'content-encoding': 'gzip' },
    { 'content-type': 'nonsense' }
  ]) {
    for (const body of ['', '{', 'x'.repeat(20_000)]) {
      t.match(await raw(service, { method: 'POST', path: '/nothing', headers, body }), {
        status: 404,
        body: { error: 'Not found' }
      })
      t.match(await raw(service, { method: 'POST', path: '/library', headers, body }), {
        status: 405,
        body: { error: 'Method not allowed' }
      })
    }
  }
})

t.test(
  'a stopping service finishes open requests, answers new ones 503, and no connection keeps it alive',
  async t => {
    const service = await startService(t)
    const { token } = await service.signIn()
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

t.test('a request that takes too long is 408, and leaves nothing, even if its end comes later', async t => {
  const service = await startService(t, { env: { UPLOAD_MAX_SECONDS: '1' } })
  const { token } = await service.signIn()
  const socket = net.connect({ port: Number(new URL(service.url).port), host: '127.0.0.1', allowHalfOpen: true })
  t.teardown(() => socket.destroy())
  socket.on('error', () => {})
  const head = '--b\r\nContent-Disposition: form-data; name="user_id"\r\n\r\nmeera\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a.gif"\r\n\r\n'
  const tail = '\r\n--b--\r\n'
  socket.write(
    `POST /library/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: ${head.length + gif.length + tail.length}\r\n\r\n${head}`
  )
  socket.write(gif)
  await eventually(async () => (await service.remains()).uploads === 1)
  const [answer] = await once(socket, 'data')
  for (const part of [/^HTTP\/1\.1 408 /, /^x-content-type-options: nosniff/im, /\{"error":"Request timeout"\}$/]) {
    t.match(String(answer), part)
  }
  socket.write(tail)
  t.same(await eventually(async () => { const found = await service.remains(); return found.uploads === 0 && found }), {
    objects: [],
    multipartUploads: [],
    uploads: 0,
    library: 0
  })
})

t.test('a body that is not needed is read up to a bound, then the connection ends', async t => {
  const service = await startService(t)
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

t.test('at the most talkative level the log still holds no token, code or whole number', async t => {
  const logs: string[] = []
  const service = await startService(t, {
    logger: { level: 'trace', stream: { write: (line: string) => { logs.push(line) } } }
  })
  const { token, phone } = await service.signIn()
  t.equal((await service.upload(token, gif)).status, 201)
  await createUser(service, { phone, token })
  t.ok(logs.some(line => JSON.parse(line).level === 10))
  t.notMatch(logs.join(''), new RegExp(`${token.slice(0, 30)}|${phone.slice(1)}|${service.lastCode(phone)}`))
})

t.test('a compare-and-set that can never succeed is given up', async t => {
  const service = await startService(t)
  const request = () => service.call('POST', '/auth/request-otp', { json: { phone: freshPhone() } })
  // no document has this member, so that the second one is a duplicate
  await service.app.collections.otps.createIndex({ unknown: 1 }, { unique: true })
  t.equal((await request()).status, 200)
  t.match(await request(), { status: 503, body: { error: 'Server is busy' } })
})
