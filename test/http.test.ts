import fc from 'fast-check'
import t from 'tap'
import { startService } from './helpers/service.js'
import { pinoLine } from './helpers/pino-line.js'
import { exchange, raw } from './helpers/raw-http.js'
import { scale } from './helpers/test-length.js'

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
      { numRuns: scale({ short: 60, long: 3000 }), seed: 5 }
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
      '/library/0123456789abcdef01234567': 'DELETE, GET, HEAD, PATCH',
      '/library/reports': 'DELETE, GET, HEAD, PATCH',
      '/library/0123456789abcdef01234567/reports': 'POST',
      '/library/0123456789abcdef01234567/review': 'POST',
      '/users/me/blocks': 'GET, HEAD',
      '/users/me/blocks/0123456789abcdef01234567': 'DELETE, PUT',
      '/library/upload': 'DELETE, GET, HEAD, PATCH, POST',
      '/library/uploads': 'DELETE, GET, HEAD, PATCH, POST',
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
      '/nothing', '/library/', '//library', '/Library', '/library;x', '/auth', '/users/me/',
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

  t.test('the log line of a request is the one that pino makes', async t => {
    service.logs.length = 0
    await service.call('GET', '/library', { token, headers: { 'x-request-id': 'mine:1' } })
    await service.call('GET', '/nothing')
    const lines = service.logs.filter(line => line.includes('"request.finished"'))
    t.equal(lines.length, 2)
    for (const line of lines) {
      t.equal(line, pinoLine(line))
      t.match(JSON.parse(line), { time: Number, method: 'GET', network: '127.0.0.0/24', ms: Number, bytes: Number })
    }
  })

  t.test('at the level `warn` a request has no log line', async t => {
    const lines: string[] = []
    const quiet = await startService(t, { logger: { level: 'warn', stream: { write: line => { lines.push(line) } } } })
    t.equal((await quiet.call('GET', '/health/live')).status, 200)
    t.equal((await quiet.call('GET', '/library')).status, 401)
    t.strictSame(lines.filter(line => line.includes('"request.')), [])
  })

  t.test('a URL without a route is 404 or 405, whatever its body is', async t => {
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
})
