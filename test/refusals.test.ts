import { createHash } from 'node:crypto'
import t from 'tap'
import { eventually } from './helpers/wait.js'
import { createUser, freshPhone, makeAdmin } from './helpers/accounts.js'
import { startService, type Service } from './helpers/service.js'
import { startServices } from './helpers/backends.js'
import { openApiCheck, type OpenApiDocument } from './helpers/openapi-check.js'
import { mongoProxy } from './helpers/tcp-proxy.js'
import { ask, type RawAnswer } from './helpers/raw-http.js'
import { scale } from './helpers/test-length.js'

const FORM = 'multipart/form-data; boundary=b'
const JSON_TYPE = 'Content-Type: application/json'

interface Operation { name: string, method: string, path: string, type: string | undefined, isOpen: boolean }

/** All operations of the document, with ids that do not exist. */
function operationsOf (service: Service): { document: OpenApiDocument, operations: Operation[] } {
  const document = service.app.swagger() as unknown as OpenApiDocument
  const paths = document.paths as unknown as Record<string, Record<string, {
    security?: object[]
    requestBody?: { content: object }
  }>>
  const operations = Object.entries(paths).flatMap(([template, methods]) =>
    Object.entries(methods).map(([verb, { security, requestBody }]) => ({
      name: `${verb.toUpperCase()} ${template}`,
      method: verb.toUpperCase(),
      path: template.replaceAll(/\{\w+\}/g, createHash('md5').update(template).digest('hex').slice(0, 24)),
      type: Object.keys(requestBody?.content ?? {})[0],
      isOpen: security?.length === 0
    })))
  return { document, operations }
}

/** Every operation gets every kind of refusal in the long run; in the short one they take the kinds in turn. */
const EVERY = scale({ short: 0, long: 1 }) === 1
const shareOf = (operations: Operation[], nth: number, kinds: unknown[]): Operation[] =>
  operations.filter((_, i) => EVERY || i % kinds.length === nth)

t.test('every operation answers every refusal in the contract\'s shape, and none of them is a 500', async t => {
  let broken = false
  const admin = freshPhone()
  const service = await startService(t, {
    env: { ADMIN_NUMBERS: admin },
    bodyMs: 300,
    now: () => { if (broken) throw new Error('broken'); return new Date('2126-05-04T10:00:00.000Z') }
  })
  const { token } = await service.signIn(admin)
  await createUser(service, { phone: admin, token })
  const { document, operations } = operationsOf(service)
  const check = openApiCheck(document)
  const authorization = `Authorization: Bearer ${token}`
  t.ok(operations.length > 20)

  /** Sends the request to every chosen operation, all at once, and checks the answers against the document. */
  async function each (
    chosen: Operation[],
    request: (operation: Operation) => { path?: string, lines: string[], body?: string, version?: string },
    expected: (operation: Operation) => Partial<RawAnswer> & { status: number }
  ) {
    for (const operation of chosen) {
      const { path = operation.path, lines, body = '', version = '1.1' } = request(operation)
      const answer = await ask(
        service,
        [`${operation.method} ${path} HTTP/${version}`, ...lines, '', body].join('\r\n')
      )
      const { status, ...rest } = expected(operation)
      t.equal(answer.status, status, operation.name)
      t.match(
        answer,
        {
          headers: {
            'content-type': 'application/json; charset=utf-8',
            'x-content-type-options': 'nosniff',
            'x-request-id': String,
            'cache-control': 'no-store'
          },
          body: { },
          ...rest
        },
        operation.name
      )
      t.equal(
        check({
          method: operation.method,
          path: operation.path,
          status: answer.status,
          contentType: String(answer.headers['content-type']),
          body: answer.body
        }),
        undefined,
        `${operation.name} ${status}`
      )
    }
  }

  const badRequest = () => ({ status: 400, body: { error: 'Bad request' } })
  await t.test('no Host, two Hosts, or an invalid one is 400', async () => {
    const kinds = [
      [],
      ['Host: a', 'Host: b'],
      ['Host: a', 'hOST: a'],
      ['Host: a b'],
      ['Host: a/b'],
      ['Host: a@b'],
      ['Host:'],
      ['Host: a:99999'],
      ['Host: [::1'],
      ['Host: "a"']
    ]
    for (const [nth, hosts] of kinds.entries()) {
      await each(shareOf(operations, nth, kinds), () => ({ lines: [...hosts, authorization] }), badRequest)
    }
  })

  await t.test('a URL that is too long is 414, and headers are 431', async () => {
    await each(
      operations,
      ({ path }) => ({ path: `${path}?x=${'a'.repeat(9000)}`, lines: ['Host: x', authorization] }),
      () => ({ status: 414, body: { error: 'URI too long' } })
    )
    await each(
      operations,
      () => ({ lines: ['Host: x', authorization, ...Array.from({ length: 250 }, (_, i) => `x${i}: 1`)] }),
      () => ({ status: 431, body: { error: 'Request header fields too large' } })
    )
  })

  await t.test('a request without a token is 401', async () => {
    await each(operations.filter(({ isOpen }) => !isOpen), () => ({ lines: ['Host: x'] }), () => ({
      status: 401,
      body: { error: 'Missing access token' }
    }))
  })

  const withBody = operations.filter(({ method }) => method !== 'GET')
  const withJson = withBody.filter(({ type }) =>
    type !== 'multipart/form-data' && type !== 'application/x-www-form-urlencoded')
  await t.test(
    'a body that is compressed, of another type, too large, no JSON, or does not come is 415, 413, 400 or 408',
    async () => {
      const unsupported = () => ({ status: 415, body: { error: 'Unsupported media type' } })
      const encodings = ['gzip', 'deflate', 'br', 'x']
      for (const [nth, encoding] of encodings.entries()) {
        await each(
          shareOf(withBody, nth, encodings),
          ({ type }) => ({
            lines: [
              'Host: x',
              authorization,
              `Content-Type: ${type ?? 'application/json'}; boundary=b`,
              `Content-Encoding: ${encoding}`,
              'Content-Length: 2'
            ],
            body: '{}'
          }),
          unsupported
        )
      }
      const types = ['text/plain', 'application/xml', FORM, 'nonsense']
      for (const [nth, type] of types.entries()) {
        await each(
          shareOf(withJson, nth, types),
          () => ({ lines: ['Host: x', authorization, `Content-Type: ${type}`, 'Content-Length: 2'], body: '{}' }),
          unsupported
        )
      }
      await each(withJson, () => ({ lines: ['Host: x', authorization, 'Content-Length: 2'], body: '{}' }), unsupported)
      await each(withJson, () => ({ lines: ['Host: x', authorization, JSON_TYPE, 'Content-Length: 20000'] }), () => ({
        status: 413,
        body: { error: 'Request body is larger than 16384 bytes' }
      }))
      await each(
        withJson,
        () => ({ lines: ['Host: x', authorization, JSON_TYPE, 'Content-Length: 1'], body: '{' }),
        () => ({ status: 400, body: { errors: { _schema: ['Invalid input.'] } } })
      )
      await each(
        withJson,
        () => ({ lines: ['Host: x', authorization, JSON_TYPE, 'Content-Length: 2'], body: '{' }),
        () => ({ status: 408, body: { error: 'Request timeout' } })
      )
    }
  )

  await t.test('HTTP/1.0 needs no Host, and every usual form of one is taken', async t => {
    t.equal((await ask(service, 'GET /health/live HTTP/1.0\r\n\r\n')).status, 200)
    for (const host of [
      'x', 'api.example.com', 'api.example.com:443', '127.0.0.1:5000', '[::1]', '[::1]:5000', 'under_score', 'a:',
      'xn--bcher-kva.example'
    ]) {
      t.equal((await ask(service, `GET /health/live HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).status, 200, host)
    }
  })

  await t.test('an error thrown inside is 500', async () => {
    const failing = operations.filter(({ isOpen, path }) => !isOpen && path !== '/auth/logout')
    broken = true
    await each(failing, () => ({ lines: ['Host: x', authorization] }), () => ({ status: 500, body: { error: String } }))
    broken = false
  })
})

t.test('every operation but the probes is 503 beyond MAX_REQUESTS', async t => {
  const services = await startServices(t)
  const proxy = await mongoProxy(services.mongoUri)
  t.teardown(proxy.close)
  const service = await startService(t, {
    services: { ...services, mongoUri: proxy.uri },
    env: { MAX_REQUESTS: '1' }
  })
  const { token } = await service.signIn()
  const { document, operations } = operationsOf(service)
  const check = openApiCheck(document)
  proxy.throttle(0, 'down')
  const held = service.call('GET', '/library', { token })
  await eventually(async () =>
    (await ask(service, 'GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n')).status === 503)
  const sent = operations.map(operation => ({
    ...operation,
    isProbe: operation.path.startsWith('/health/'),
    answer: ask(
      service,
      `${operation.method} ${operation.path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${token}\r\n\r\n`
    )
  }))
  await Promise.all(sent.filter(({ path }) => path !== '/health/ready').map(({ answer }) => answer))
  proxy.throttle(Infinity, 'down')
  t.equal((await held).status, 200)
  for (const { name, method, path, isProbe, answer } of sent) {
    const { status, headers, body } = await answer
    if (!isProbe) {
      t.match(
        { status, headers, body },
        { status: 503, headers: { 'retry-after': '5' }, body: { error: 'Server is busy' } },
        name
      )
    }
    if (path === '/health/live') t.equal(status, 200)
    t.equal(check({ method, path, status, contentType: String(headers['content-type']), body }), undefined, name)
  }
})

t.test(
  'a body may be empty or left out if all its members are optional; otherwise that is 400',
  async t => {
    const service = await startService(t)
    const { document, operations } = operationsOf(service)
    const { paths } = document as unknown as {
      paths: Record<string, Record<string, { requestBody?: { required?: boolean } }>>
    }
    const needs = new Map(Object.entries(paths).flatMap(([template, methods]) =>
      Object.entries(methods).map(([verb, { requestBody }]) =>
        [`${verb.toUpperCase()} ${template}`, requestBody?.required === true])))
    for (const { name, method, path } of operations.filter(({ type = 'application/json' }) =>
      type === 'application/json')) {
      const phone = freshPhone()
      const token = await service.tokenFor(phone)
      await makeAdmin(service, phone) // so that no right is missing
      const ways = [
        [],
        [JSON_TYPE],
        [JSON_TYPE, 'Content-Length: 0'],
        ['Content-Length: 0'],
        ['Content-Type: text/plain'],
        ...(method === 'GET' ? [] : [[JSON_TYPE, 'Transfer-Encoding: chunked']])
      ]
      for (const lines of ways) {
        const body = lines.some(line => line.startsWith('Transfer')) ? '0\r\n\r\n' : ''
        const answer = await ask(
          service,
          [`${method} ${path} HTTP/1.1`, 'Host: x', `Authorization: Bearer ${token}`, ...lines, '', body].join('\r\n')
        )
        const how = `${name} ${lines.join(', ')}`
        if (needs.get(name)) t.match(answer, { status: 400, body: { errors: { _schema: ['Invalid input.'] } } }, how)
        else t.notMatch(answer, { text: /_schema|Unsupported/ }, how)
      }
    }
  }
)
