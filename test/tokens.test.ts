import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { createPublicKey, randomBytes, randomUUID } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { respelled } from './helpers/forged-signatures.js'
import type { Target } from './helpers/forgery-target.js'
import { forgeries } from './helpers/token-forgeries.js'
import { claimsOf, freshPhone } from './helpers/accounts.js'
import { startService, type Reply, type Service } from './helpers/service.js'
import { startServices, withUriOption } from './helpers/backends.js'
import { exchange, raw } from './helpers/raw-http.js'
import { mutate } from './helpers/token-mutants.js'
import { ok } from './helpers/answers.js'
import {
  compact, ecKey, edKey, hmac, keyPair, LEGACY_SECRET, pem, sharedSecret, type Json, type Signer
} from './helpers/jws.js'
import { scale } from './helpers/test-length.js'

const SECRET = 'wS1zUu3hW6vX0yQ9kD2fB7nM4pL8rT5c'
const INVALID = [401, 'Bearer error="invalid_token"', { error: 'Invalid access token' }]
const REFUSED = '401 Invalid access token'
const GUARDED = '/auth/sessions'
const MUTANTS = scale({ short: 2000, long: 100_000 })
const INJECTED = scale({ short: 100, long: 6000 })
const OVER_HTTP = scale({ short: 100, long: 4000 })
/** Of the forgeries every third goes over HTTP, another third with each algorithm; in the long run all do. */
const FORGERY_STEP = scale({ short: 3, long: 1 })
/** Each route is tried with every fourth way of writing, the next one with the next; in the long run with all. */
const WRITING_STEP = scale({ short: 4, long: 1 })

t.setTimeout(1_200_000)
const services = await startServices(t)
const keys = { ec: ecKey(), ed: edKey() }
/** Trusts keys of all three kinds at once, which allows the most confusion. The test counts its commands on `users`. */
const service = await startService(t, {
  services: { ...services, mongoUri: withUriOption(services.mongoUri, 'monitorCommands', 'true') },
  env: { JWT_SECRET_KEY: SECRET, JWT_PRIVATE_KEY: pem(keys.ec) + pem(keys.ed) }
})
const { call, clock } = service
await service.app.sweeper.sweep() // the work of the start is over
await service.app.moderationWorker.run()
const asked = { users: 0, anything: 0 }
service.app.mongo.client.on('commandStarted', ({ command, commandName }) => {
  asked.anything++
  if (command[commandName] === 'users') asked.users++
})

const signers: Signer[] = [sharedSecret(SECRET), keyPair(keys.ec), keyPair(keys.ed)]
const get = (token: string, at: Pick<Service, 'call'> = service) => at.call('GET', GUARDED, { token })
const answer = ({ status, headers, body }: Reply) => [status, headers.get('www-authenticate'), body]
/** What the guard of every route says to a token. */
const guard = (token: string) => service.app
  .authenticate({ headers: { authorization: `Bearer ${token}` } } as FastifyRequest)
  .then(() => 'taken', ({ statusCode, message }) => `${statusCode} ${message}`)
/** A request with exactly this header; fetch would tidy it up. */
const ask = (authorization?: string | string[]) =>
  raw(service, {
    method: 'GET',
    path: GUARDED,
    headers: { ...(authorization !== undefined && { authorization }) } as http.OutgoingHttpHeaders
  })
/** The answer to a token over HTTP, as `INVALID` is written. */
async function answerTo (token: string): Promise<unknown[]> {
  const { status, headers, text } = await ask(`Bearer ${token}`)
  return [status, headers['www-authenticate'], JSON.parse(text)]
}
const taken = async (token: string, at?: Service) => (await get(token, at)).status === 200

/** The claims of a live session. */
async function living (phone = freshPhone()): Promise<Target['claims']> {
  const iat = Math.floor(clock.now.getTime() / 1000)
  const { sub, sid } = claimsOf(await service.tokenFor(phone))
  return { sub, sid, iat, exp: iat + 3600, iss: 'hookaba', aud: 'hookaba' }
}

for (const [nth, signer] of signers.entries()) {
  const { alg } = signer.header
  t.test(`forgeries of a token with ${alg} are refused without a question to the database`, async t => {
    const claims = await living()
    const made = (more: Json, header: Json = signer.header) => compact(header, { ...claims, ...more }, signer.sign)
    const pointed = await listener(t)
    const { refreshToken } = (await service.app.sessions.open(
      freshPhone(),
      { address: '127.0.0.1', userAgent: 'test', log: service.app.log, record () {} },
      { refreshable: true }
    ))!
    const target: Target = {
      signer,
      secret: SECRET,
      published: Object.values(keys).map(key => createPublicKey(key)),
      claims,
      other: compact(signer.header, await living(), signer.sign),
      refreshToken: refreshToken!,
      url: pointed.url
    }

    const good = Object.entries({
      unforged: made({}),
      'with claims that mean nothing here': made({ jti: 'x', scope: ['*'], nonce: null, admin: true }),
      'good since now': made({ nbf: claims.iat }),
      'by a clock that is 60 s ahead': made({ iat: claims.iat + 60, nbf: claims.iat + 60 }),
      'good for a second': made({ exp: claims.iat + 1 }),
      'good for a part of a second': made({ exp: claims.iat + 0.5 }),
      'with its members in another order': compact(
        Object.fromEntries(Object.entries(signer.header).reverse()),
        Object.fromEntries(Object.entries(claims).reverse()),
        signer.sign
      ),
      'issued long ago': made({ iat: 0 })
    })
    for (const [name, token] of good) t.equal((await get(token)).status, 200, `is taken: ${name}`)
    t.ok(await taken(target.other), 'is taken: the other')

    const bad = forgeries(target)
    t.ok(bad.length >= 400, `${bad.length} forgeries`)
    asked.users = 0
    const failures: string[] = []
    for (const [n, [name, token]] of bad.entries()) {
      const verdict = await guard(token)
      if (verdict !== REFUSED) failures.push(`${name}: ${verdict}`)
      if (n % FORGERY_STEP !== nth % FORGERY_STEP) continue
      const answered = JSON.stringify(await answerTo(token))
      if (answered !== JSON.stringify(INVALID)) failures.push(`${name}: ${answered}`)
    }
    t.strictSame(failures, [])
    t.equal(asked.users, 0, 'the database was never asked')
    t.equal(pointed.connections(), 0, 'no address was called')

    t.strictSame(answer(await get(made({ sid: randomBytes(12).toString('hex') }))), INVALID, 'a session that never was')
    t.ok(asked.users > 0, 'which the database was asked about')
    await ok(call('POST', '/auth/logout', { token: made({}) }))
    for (const [name, token] of good) t.strictSame(answer(await get(token)), INVALID, `after the logout: ${name}`)
  })
}

t.test(
  'mutants, seeded, of tokens with each of three algorithms are all answered 401 and never asked of the database',
  async t => {
    t.comment(`${MUTANTS} mutants, ${OVER_HTTP} of them over HTTP, ${INJECTED} injected, the rest straight to the guard`)
    const tokens = new Set<string>()
    for (let n = 0; n < 9; n++) {
      const { header, sign } = signers[n % 3]!
      tokens.add(compact(header, await living(), sign))
    }
    for (const token of tokens) t.ok(await taken(token), 'is taken as it is')
    asked.anything = 0
    const mutants = mutate([...tokens], MUTANTS, 5)
    const rest = [...mutants]
    const failures: string[] = []
    const overHttp = rest.splice(0, OVER_HTTP)
    const injected = rest.splice(0, INJECTED)
    await Promise.all(Array.from({ length: 8 }, async () => {
      for (let token = overHttp.pop(); token !== undefined; token = overHttp.pop()) {
        const answered = await answerTo(token)
        if (JSON.stringify(answered) !== JSON.stringify(INVALID)) failures.push(`${answered[0]} ${token}`)
      }
    }))
    for (const token of injected) {
      const { statusCode, headers, body } = await service.app.inject({
        method: 'GET',
        url: GUARDED,
        headers: { authorization: `Bearer ${token}` }
      })
      if (statusCode !== 401 || headers['www-authenticate'] !== INVALID[1] || body !== JSON.stringify(INVALID[2])) {
        failures.push(`${statusCode} ${token}`)
      }
    }
    for (const [n, token] of rest.entries()) {
      if (n % 500 === 0) await setImmediate()
      const verdict = await guard(token)
      if (verdict !== REFUSED) failures.push(`${verdict} ${token}`)
    }
    t.equal(mutants.size, MUTANTS)
    t.strictSame(failures, [])
    t.ok(asked.anything < 10, 'no command but those of the service itself')
    for (const token of tokens) t.equal(await guard(token), 'taken', 'is still taken as it is')
  }
)

t.test('a token is taken from the Authorization header alone, after the scheme Bearer', async t => {
  const token = await service.tokenFor(freshPhone())
  for (const [name, authorization] of Object.entries<string | string[]>({
    'as RFC 6750 has it': `Bearer ${token}`,
    small: `bearer ${token}`,
    capital: `BEARER ${token}`,
    mixed: `bEaReR ${token}`,
    'two spaces': `Bearer  ${token}`,
    'space around': `  Bearer ${token}  `,
    'twice, the first is judged': [`Bearer ${token}`, 'Bearer x']
  })) {
    t.equal((await ask(authorization)).status, 200, name)
  }
  const none = await ask()
  t.strictSame(
    [none.status, none.headers['www-authenticate'], JSON.parse(none.text)],
    [401, 'Bearer', { error: 'Missing access token' }],
    'no header: no error to name (RFC 6750 §3.1)'
  )
  const variants: Record<string, string | string[]> = {
    empty: '',
    'the scheme alone': 'Bearer',
    'the scheme and spaces': 'Bearer   ',
    'the token alone': token,
    Basic: `Basic ${Buffer.from(`x:${token}`).toString('base64')}`,
    'Basic with a token': `Basic ${token}`,
    Digest: `Digest username="${token}"`,
    Token: `Token ${token}`,
    JWT: `JWT ${token}`,
    MAC: `MAC ${token}`,
    'no space': `Bearer${token}`,
    'a tab': `Bearer\t${token}`,
    'a tab and a space': `Bearer\t ${token}`,
    'a tab, something, a space': `Bearer\tx ${token}`,
    'a hard space': `Bearer\u00a0x ${token}`,
    'a colon': `Bearer: ${token}`,
    'an equals sign': `Bearer=${token}`,
    'a comma': `Bearer, ${token}`,
    'a scheme like it': `Bearers ${token}`,
    'a scheme before it': `x Bearer ${token}`,
    'something between': `Bearer x ${token}`,
    'something behind': `Bearer ${token} x`,
    'two schemes in one': `Basic eDp5, Bearer ${token}`,
    'twice, the first is judged': ['Bearer x', `Bearer ${token}`],
    'Basic first': ['Basic eDp5', `Bearer ${token}`],
    '12 KB': `Bearer ${'a'.repeat(12_000)}`,
    '12 KB in three parts': `Bearer ${Array.from({ length: 3 }, () => 'e'.repeat(4_000)).join('.')}`
  }
  for (const [name, authorization] of Object.entries(variants)) {
    const { status, headers, text } = await ask(authorization)
    t.strictSame([status, headers['www-authenticate'], JSON.parse(text)], INVALID, name)
  }
  const huge = await exchange(
    service,
    `GET ${GUARDED} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${'a'.repeat(100_000)}\r\n\r\n`
  )
  t.match(huge, /^HTTP\/1\.1 431 [^]*\r\n\r\n\{"error":"Request header fields too large"\}$/, '100 KB')
  for (const name of ['access_token', 'token', 'authorization', 'Authorization', 'jwt', 'bearer', 'auth']) {
    for (const value of [token, `Bearer ${token}`]) {
      t.equal(
        (await call('GET', `${GUARDED}?${name}=${encodeURIComponent(value)}`)).status,
        401,
        `in the query, as ${name}`
      )
    }
    t.equal(
      (await call('GET', GUARDED, { headers: { cookie: `${name}=${token}` } })).status,
      401,
      `in a cookie, as ${name}`
    )
    t.equal((await call('POST', '/auth/logout', { json: { [name]: token } })).status, 401, `in a body, as ${name}`)
  }
  for (const name of [
    'x-access-token', 'x-auth-token', 'x-authorization', 'proxy-authorization', 'x-forwarded-authorization',
    'authentication', 'x-forwarded-user', 'x-remote-user', 'sec-websocket-protocol'
  ]) {
    t.equal((await call('GET', GUARDED, { headers: { [name]: `Bearer ${token}` } })).status, 401, `in ${name}`)
  }
  t.match(
    await exchange(
      service,
      `POST /auth/logout HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${token.length + 13}\r\n\r\naccess_token=${token}`
    ),
    /^HTTP\/1\.1 401 /,
    'in a form (RFC 6750 §2.2)'
  )
  t.match(
    await exchange(
      service,
      `POST /auth/logout HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n0\r\nAuthorization: Bearer ${token}\r\n\r\n`
    ),
    /^HTTP\/1\.1 401 /,
    'in a trailer'
  )
  t.ok(await taken(token), 'and the session is still signed in')
})

t.test('no way of writing a request gets past the guard of any route', async t => {
  const guarded = Object.entries(service.app.swagger().paths ?? {}).flatMap(([template, item]) =>
    Object.entries(item as Record<string, { security?: unknown[] }>)
      .filter(([, { security }]) => security?.length).map(([method]) => ({
        method: method.toUpperCase(),
        template,
        path: template.replace(/\{\w+\}/g, '0123456789abcdef01234567')
      })))
  t.ok(guarded.length >= 8, `${guarded.length} operations`)
  for (const [nth, { method, template, path }] of guarded.entries()) {
    t.test(`every way of writing ${method} ${template} without a token is refused`, async t => {
      const { status } = await call(method, path, { token: await service.tokenFor(freshPhone()) })
      t.notMatch(status, 401, 'a token opens it')
      const [, first = '', rest = ''] = /^\/([^/]+)(.*)$/.exec(path) ?? []
      const host = new URL(service.url).host
      const escaped = `/%${first.charCodeAt(0).toString(16)}${first.slice(1)}${rest}`
      const targets = [
        path,
        `/${path}`,
        `//x${path}`,
        `${path}/`,
        `${path}//`,
        `${path}/.`,
        `${path}/..`,
        `${path}/../${path.split('/').at(-1)}`,
        `/.${path}`,
        `/./${path}`,
        `/..${path}`,
        `/x/..${path}`,
        `/${first}/.${rest}`,
        `/${first}/..${path}`,
        `/${first}/${rest}`,
        `/health/live/../..${path}`,
        `/health/live/..${path}`,
        `/health/live${path}`,
        `/.well-known/..${path}`,
        `/auth/request-otp/../..${path}`,
        escaped,
        escaped.replace('%', '%25'),
        path.replaceAll('/', '%2f'),
        `/${path.slice(1).replaceAll('/', '%2f')}`,
        path.replaceAll('/', '\\'),
        `/${first}%2f..%2f${first}${rest}`,
        `${path}%2f`,
        `${path}%20`,
        `${path}%00`,
        `${path}%0a`,
        `${path}%23`,
        `${path}%3f`,
        `${path}%`,
        `${path}%zz`,
        `${path}%c0%af`,
        `${path};x`,
        `${path};.css`,
        `/${first};x${rest}`,
        `/;x${path}`,
        `${path}.json`,
        `${path}.css`,
        `${path}~`,
        `${path}*`,
        path.toUpperCase(),
        `/${first[0]!.toUpperCase()}${first.slice(1)}${rest}`,
        path.replace('s', 'ſ').replace('k', '\u212a'),
        `${path}?`,
        `${path}??`,
        `${path}?/health/live`,
        `${path}?x=/../../health/live`,
        `${path}?_method=GET`,
        `${path}#`,
        `${path}#/health/live`,
        `/health/live?${path}`.replace('/health/live?', `${path}?/health/live&`),
        `http://${host}${path}`,
        `http://other.example${path}`,
        `https://${host}${path}`,
        `HTTP://${host}${path}`,
        `http://${host}/${path}`,
        `http://u:p@${host}${path}`,
        `ftp://${host}${path}`,
        path.slice(1),
        `*${path}`,
        '*'
      ]
      const overrides = [
        'X-HTTP-Method-Override: GET', 'X-HTTP-Method: GET', 'X-Method-Override: POST', `X-Original-URL: ${path}`,
        'X-Original-URL: /health/live', 'X-Rewrite-URL: /health/live', 'X-Forwarded-Prefix: /health',
        'X-Forwarded-Uri: /health/live', 'X-Forwarded-For: 127.0.0.1', 'X-Forwarded-Host: localhost',
        'Forwarded: for=127.0.0.1', 'X-Real-IP: 127.0.0.1', 'X-Custom-IP-Authorization: 127.0.0.1',
        'X-Forwarded-User: admin', 'X-Remote-User: admin', 'Upgrade: h2c', 'Upgrade: websocket',
        'Connection: Authorization', 'Origin: null', 'Expect: the-unexpected', 'Range: bytes=0-', 'If-None-Match: *',
        'Accept: text/html', 'Content-Length: 0'
      ]
      const some = <T>(all: T[]) => all.filter((_, n) => (n + nth) % WRITING_STEP === 0)
      const failures: string[] = []
      const tried = async (line: string, header = '') => {
        const text = await exchange(
          service,
          `${line} HTTP/1.1\r\nHost: ${host}\r\n${header && `${header}\r\n`}Connection: close\r\n\r\n`
        )
        const refused = /^HTTP\/1\.1 (400|401|404|405) /.test(text) &&
          (line.startsWith('HEAD ')
            ? text.endsWith('\r\n\r\n')
            : /\r\n\r\n\{("error":"[A-Z][a-z ]+"|"errors":\{"_schema":\["Invalid input\."\]\})\}$/.test(text))
        if (!refused) failures.push(`${line} ${header}\n${text.slice(0, 400)}`)
        return text
      }
      for (const target of some(targets)) await tried(`${method} ${Buffer.from(target).toString('latin1')}`)
      const verbs = [
        'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'SEARCH', 'QUERY', 'PURGE',
        'M-SEARCH'
      ]
      for (const verb of some(verbs.filter(verb => http.METHODS.includes(verb)))) await tried(`${verb} ${path}`)
      for (const header of some(overrides)) t.match(await tried(`${method} ${path}`, header), /^HTTP\/1\.1 401 /, header)
      t.strictSame(failures, [])
      t.match(await exchange(service, `${method} ${path} HTTP/1.0\r\n\r\n`), /^HTTP\/1\.1 401 /, 'HTTP/1.0')
      t.notMatch(
        await exchange(service, `CONNECT ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`),
        /^HTTP\/1\.1 [1235]/,
        'CONNECT'
      )
      t.notMatch(
        await exchange(
          service,
          `${method.toLowerCase()} ${path} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
        ),
        /^HTTP\/1\.1 [1235]/,
        'a method in small letters'
      )
    })
  }
})

t.test('a token of the replaced system that was ended cannot come back in another spelling', async t => {
  const legacy = await startService(t, {
    services,
    env: { JWT_SECRET_KEY: SECRET, JWT_PRIVATE_KEY: pem(keys.ec), JWT_LEGACY_SECRET: LEGACY_SECRET }
  })
  const iat = Math.floor(legacy.clock.now.getTime() / 1000) - 100
  const claims = {
    fresh: false,
    iat,
    jti: randomUUID(),
    type: 'access',
    sub: freshPhone(),
    nbf: iat,
    csrf: randomUUID(),
    exp: iat + 3650 * 86_400
  }
  const old = compact({ typ: 'JWT', alg: 'HS256' }, claims, hmac(LEGACY_SECRET))
  const pretty = compact(
    '{"typ": "JWT", "alg": "HS256"}',
    JSON.stringify({ ...claims, jti: randomUUID() }, undefined, 1),
    hmac(LEGACY_SECRET)
  )
  for (const token of [old, pretty]) {
    const [head, body, signature = ''] = token.split('.')
    const spellings = [...respelled(signature), `${signature}=`, `${signature}A`].map(other =>
      `${head}.${body}.${other}`)
    t.equal(spellings.length, 5)
    for (const spelling of spellings) t.strictSame(answer(await get(spelling, legacy)), INVALID)
    t.ok(await taken(token, legacy), 'taken as it was issued, whatever its white space')
    t.equal((await legacy.call('POST', '/auth/logout', { token })).status, 204)
    for (const spelling of [token, ...spellings]) t.strictSame(answer(await get(spelling, legacy)), INVALID)
  }
  const other = (more: Json, { header, sign }: Signer = sharedSecret(LEGACY_SECRET)) => compact(
    header,
    { ...claims, jti: randomUUID(), ...more },
    sign
  )
  t.ok(await taken(other({}), legacy), 'is taken: another')
  for (const [name, token] of Object.entries({
    'iss null': other({ iss: null }),
    'iss empty': other({ iss: '' }),
    'our iss': other({ iss: 'hookaba' }),
    'another iss': other({ iss: 'x' }),
    'a key that never signed one': other({}, signers[1]!),
    'the secret that signs today': other({}, signers[0]!),
    'type refresh': other({ type: 'refresh' }),
    'type in an array': other({ type: ['access'] }),
    'no type': other({ type: undefined })
  })) {
    t.strictSame(answer(await get(token, legacy)), INVALID, name)
  }
})

t.test('nothing of a key is ever logged', async t => {
  t.notMatch(
    service.logs.join(''),
    new RegExp([SECRET, 'BEGIN', keys.ec.export({ format: 'jwk' }).d, keys.ed.export({ format: 'jwk' }).d].join('|'))
  )
})

t.test('no part of any token is in the log', async t => {
  t.notMatch(service.logs.join(''), /eyJ|Bearer/)
  t.ok(service.logs.length > 500)
})

/** A server that only counts connections. */
async function listener (t: Test): Promise<{ url: string, connections: () => number }> {
  let connections = 0
  const server = net.createServer(socket => { connections++; socket.destroy() }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`, connections: () => connections }
}
