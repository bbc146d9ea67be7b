import { once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { createPrivateKey, createPublicKey, randomBytes, randomUUID, verify } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import type { FastifyRequest } from 'fastify'
import t, { type Test } from 'tap'
import { forgeries, respelled, type Target } from './helpers/token-forgeries.js'
import { claimsOf, freshPhone } from './helpers/accounts.js'
import { startService, type Reply, type Service } from './helpers/service.js'
import { startServices, withUriOption } from './helpers/backends.js'
import { exchange } from './helpers/raw-http.js'
import { seededRandom } from './helpers/seeded-random.js'
import { ok } from './helpers/answers.js'
import {
  compact, ecKey, edKey, hmac, keyPair, LEGACY_SECRET, pem, sharedSecret, thumbprint, type Json, type Signer
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
const asked = { users: 0, anything: 0 }
service.app.mongo.client.on('commandStarted', ({ command, commandName }) => {
  asked.anything++
  if (command[commandName] === 'users') asked.users++
})
const agent = new http.Agent({ keepAlive: true, maxSockets: 8 })
t.teardown(() => agent.destroy())

const signers: Signer[] = [sharedSecret(SECRET), keyPair(keys.ec), keyPair(keys.ed)]
const get = (token: string, at: Pick<Service, 'call'> = service) => at.call('GET', GUARDED, { token })
const answer = ({ status, headers, body }: Reply) => [status, headers.get('www-authenticate'), body]
/** What the guard of every route says to a token. */
const guard = (token: string) => service.app
  .authenticate({ headers: { authorization: `Bearer ${token}` } } as FastifyRequest)
  .then(() => 'taken', ({ statusCode, message }) => `${statusCode} ${message}`)
/** The answer to a token over HTTP, as `INVALID` is written. */
async function answerTo (token: string): Promise<unknown[]> {
  const { status, headers, text } = await request(service, agent, `Bearer ${token}`)
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
  const ask = (authorization?: string | string[], path?: string) => request(service, agent, authorization, path)
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

t.test('the keys of tokens', async t => {
  const started = new Map<string, Promise<Service>>()
  /** The service with these variables; the same variables give the same one. */
  const at = (env: Record<string, string>) => {
    const name = JSON.stringify(env)
    return started.get(name) ?? started.set(name, startService(t, { services, env })).get(name)!
  }
  const [first, second, third] = [SECRET, 'pJ4xM8cT1vB6nQ3zK9wR5hY2gD7sF0La', 'eU9bN2kX6yC1mV4rT8qZ3pW7jH5dG0Sf']
  const before = { JWT_ALGORITHM: 'HS256', JWT_SECRET_KEY: first }
  const pairs = [pem(ecKey()), pem(ecKey()), pem(edKey())]
  const rotation = {
    JWT_SECRET_KEY: ` ${second} , ${first},${second}`,
    JWT_PRIVATE_KEY: [pairs[1], pairs[0], pairs[1], pairs[2]].join('')
  }
  /** The key of RFC 8037, appendix A. */
  const rfc = { kty: 'OKP', crv: 'Ed25519', x: '11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo' }
  const d = Buffer.from('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60', 'hex').toString('base64url')
  const [ec, ed] = [ecKey(), createPrivateKey({ key: { ...rfc, d }, format: 'jwk' })]
  const edDsa = { JWT_ALGORITHM: 'EdDSA', JWT_SECRET_KEY: first, JWT_PRIVATE_KEY: pem(ed) + pem(ec) }
  const issue = async (from: Service) => await from.tokenFor(freshPhone())
  const publishedBy = async (from: Service): Promise<Json[]> =>
    (await ok(from.call('GET', '/.well-known/jwks.json'))).body.keys
  const all = async (from: Service, tokens: string[]) => Promise.all(tokens.map(token => taken(token, from)))

  t.test('of several secrets the first signs, all verify, and one that is taken away does not any more', async t => {
    const old = await at(before)
    const token = await issue(old)
    const rotated = await at(rotation)
    const newer = await issue(rotated)
    t.strictSame(await all(rotated, [token, newer]), [true, true], 'every session stays signed in')
    t.strictSame(
      newer.split('.')[2],
      hmac(second)(newer.slice(0, newer.lastIndexOf('.'))).toString('base64url'),
      'the first signs'
    )
    t.strictSame(await all(old, [token, newer]), [true, false])
    const after = await at({ JWT_SECRET_KEY: second })
    t.strictSame(await all(after, [newer, token]), [true, false], 'the old one is gone')
    t.strictSame(answer(await get(token, after)), INVALID)
    t.strictSame(await publishedBy(after), [], 'secrets are not published')
    const joined = compact({ alg: 'HS256', typ: 'JWT' }, await living(), hmac(`${second},${first}`))
    t.notOk(await taken(joined, rotated), 'the list itself is no secret')
  })

  t.test(
    'after each change of the algorithm all earlier tokens are taken, and the published keys are those that verify',
    async t => {
      const steps: Array<Record<string, string> & { JWT_ALGORITHM: string }> = [
        before,
        { JWT_ALGORITHM: 'ES256', JWT_SECRET_KEY: first, JWT_PRIVATE_KEY: pem(ec) },
        edDsa,
        {
          JWT_ALGORITHM: 'HS256',
          JWT_SECRET_KEY: `${third},${first}`,
          JWT_PRIVATE_KEY: `${pem(ed)}\n# the one before\n${pem(ec)}`.replaceAll('\n', '\\n')
        }
      ]
      const tokens: string[] = []
      const running: Service[] = []
      for (const env of steps) {
        const alg = env.JWT_ALGORITHM
        const now = await at(env)
        running.push(now)
        const token = await issue(now)
        tokens.push(token)
        t.match(
          JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()),
          alg === 'HS256'
            ? { alg, typ: 'JWT', kid: undefined }
            : { alg, typ: 'JWT', kid: thumbprint(alg === 'ES256' ? ec : ed) }
        )
        t.strictSame(await all(now, tokens), tokens.map(() => true), `${tokens.length} tokens with ${alg}`)
        const { body, headers } = await ok(now.call('GET', '/.well-known/jwks.json'))
        t.match(headers.get('cache-control'), /max-age=\d+/)
        const published = env.JWT_PRIVATE_KEY === undefined ? [] : env.JWT_ALGORITHM === 'ES256' ? [ec] : [ed, ec]
        t.strictSame(body.keys.map((key: Json) => key.kid), published.map(key => thumbprint(key)))
        for (const key of body.keys) {
          t.strictSame(
            Object.keys(key).sort(),
            key.kty === 'EC' ? ['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y'] : ['alg', 'crv', 'kid', 'kty', 'use', 'x'],
            'and no private member'
          )
          t.match(key, { use: 'sig', alg: key.kty === 'EC' ? 'ES256' : 'EdDSA' })
        }
        if (alg !== 'HS256') t.ok(verified(token, body.keys), 'the published key alone verifies it')
      }
      t.strictSame(await all(running[0]!, tokens), [true, false, false, false])
      t.strictSame(await all(running[2]!, tokens), [true, true, true, false])
      const strict = await at({ JWT_SECRET_KEY: third, JWT_PRIVATE_KEY: pem(ed) })
      t.strictSame(
        await all(strict, tokens),
        [false, false, true, true],
        'each key that is taken away takes its tokens with it'
      )
    }
  )

  t.test('two processes with the same keys in another order take each other\'s tokens', async t => {
    const one = await at({
      JWT_SECRET_KEY: `${first},${second}`,
      JWT_ALGORITHM: 'ES256',
      JWT_PRIVATE_KEY: pairs.join('')
    })
    const two = await at({
      JWT_SECRET_KEY: `${second},${first}`,
      JWT_ALGORITHM: 'EdDSA',
      JWT_PRIVATE_KEY: pairs.toReversed().join('')
    })
    const three = await at(rotation)
    const tokens = await Promise.all([one, two, three].map(issue))
    for (const from of [one, two, three]) t.strictSame(await all(from, tokens), [true, true, true])
    const kids = async (from: Service) => (await publishedBy(from)).map(({ kid }) => kid).sort()
    t.strictSame(await kids(one), await kids(two))
    t.strictSame(await kids(one), await kids(three), 'a key that is given twice is published once')
  })

  t.test('the key id is the thumbprint of RFC 8037 §A.3, whatever the form of the PEM', async t => {
    const from = await at(edDsa)
    const kid = 'kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k'
    t.strictSame((await publishedBy(from))[0], { ...rfc, kid, use: 'sig', alg: 'EdDSA' })
    t.ok(await taken(await issue(from), from))
  })

  t.test('nothing of a key is ever logged', async t => {
    t.notMatch(
      service.logs.join(''),
      new RegExp([SECRET, 'BEGIN', keys.ec.export({ format: 'jwk' }).d, keys.ed.export({ format: 'jwk' }).d].join('|'))
    )
  })
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

t.test('no part of any token is in the log', async t => {
  t.notMatch(service.logs.join(''), /eyJ|Bearer/)
  t.ok(service.logs.length > 500)
})

/** Whether one of the published keys verifies a token, as any third party would do it. */
function verified (token: string, published: Array<Json & { alg: string, kid: string }>): boolean {
  const [head = '', body = '', signature = ''] = token.split('.')
  const { kid, alg } = JSON.parse(Buffer.from(head, 'base64url').toString())
  const jwk = published.find(key => key.kid === kid && key.alg === alg)
  const key = createPublicKey({ key: jwk!, format: 'jwk' })
  return verify(
    alg === 'EdDSA' ? null : 'sha256',
    Buffer.from(`${head}.${body}`),
    alg === 'EdDSA' ? key : { key, dsaEncoding: 'ieee-p1363' },
    Buffer.from(signature, 'base64url')
  )
}

/** `count` different strings that are none of `tokens`, made from them by random changes. */
function mutate (tokens: string[], count: number, seed: number): Set<string> {
  const from = seededRandom(seed)
  const random = (below: number) => Math.floor(from() * below)
  const pick = <T>(list: ArrayLike<T>) => list[random(list.length)]!
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/'
  const inPart = (token: string, change: (part: string, index: number) => string) => {
    const parts = token.split('.')
    const index = random(parts.length)
    return parts.map((part, i) => i === index ? change(part, index) : part).join('.')
  }
  const cut = (text: string) => random(text.length + 1)
  const changes: Array<(token: string) => string> = [
    token => {
      const at = random(token.length)
      return token.slice(0, at) + String.fromCharCode(token.charCodeAt(at) ^ 1 << random(7)) + token.slice(at + 1)
    },
    token => { const at = random(token.length); return token.slice(0, at) + pick(alphabet) + token.slice(at + 1) },
    token => inPart(token, part => {
      const bytes = Buffer.from(part, 'base64url')
      if (bytes.length > 0) bytes[random(bytes.length)]! ^= 1 << random(8)
      return bytes.toString('base64url')
    }),
    token =>
      inPart(token, part => { const at = cut(part); return part.slice(0, at) + pick(alphabet) + part.slice(at) }),
    token => inPart(token, part => part.slice(0, cut(part))),
    token => inPart(token, part => part.slice(cut(part))),
    token => inPart(token, part => part.slice(0, -1) + pick(alphabet)),
    token => inPart(token, part => {
      const [a, b] = [cut(part), cut(part)]
      return part.slice(0, Math.min(a, b)) + part.slice(Math.max(a, b))
    }),
    token => inPart(token, part => { const [a, b] = [cut(part), cut(part)]; return part.slice(0, a) + part.slice(b) }),
    token => inPart(token, part => {
      const at = random(part.length + 1)
      return part.slice(0, at) + (part[at] ?? '').toUpperCase() + part.slice(at + 1)
    }),
    token => inPart(token, part => {
      const at = random(part.length + 1)
      return part.slice(0, at) + (part[at] ?? '').toLowerCase() + part.slice(at + 1)
    }),
    token => {
      const [a, b] = [random(token.length), random(token.length)]
      const text = [...token];
      [text[a], text[b]] = [text[b]!, text[a]!]
      return text.join('')
    },
    token => { const at = cut(token); return token.slice(0, at) + pick(tokens).slice(at) },
    token => inPart(token, (_part, index) => pick(tokens).split('.')[index] ?? ''),
    token => inPart(token, part => {
      const other = pick(tokens).split('.')[random(3)] ?? ''
      const at = cut(part)
      return part.slice(0, at) + other.slice(at)
    }),
    token => {
      const parts = token.split('.')
      const at = random(3)
      return [...parts.slice(at), ...parts.slice(0, at)].join('.')
    },
    token => token.slice(0, cut(token)),
    token => inPart(token, (part, index) => {
      if (index === 2) return part
      const text = Buffer.from(part, 'base64url').toString('latin1')
      const at = random(text.length + 1)
      const piece = pick(['', '0', '9', '"', '{', '}', '[', ':', ',', 'x', ' ', '\\', 'null'])
      return Buffer.from(text.slice(0, at) + piece + text.slice(at + random(2)), 'latin1').toString('base64url')
    })
  ]
  const originals = new Set(tokens)
  const mutants = new Set<string>()
  while (mutants.size < count) {
    let token = pick(tokens)
    for (let n = 1 + random(3); n > 0; n--) token = pick(changes)(token)
    if (/^[\x21-\x7e]+$/.test(token) && !originals.has(token)) mutants.add(token)
  }
  return mutants
}

/** One request with exactly this header; fetch would tidy it up. */
function request ({ url }: Service, agent: http.Agent, authorization?: string | string[], path = GUARDED): Promise<{
  status: number
  headers: http.IncomingHttpHeaders
  text: string
}> {
  return new Promise((resolve, reject) => {
    const outgoing = http.request(
      url + path,
      { agent, headers: { ...(authorization !== undefined && { authorization }) } as http.OutgoingHttpHeaders },
      response => {
        let text = ''
        response.setEncoding('utf8').on('data', chunk => { text += chunk }).on('error', reject).on('end', () =>
          resolve({ status: response.statusCode!, headers: response.headers, text }))
      }
    )
    outgoing.on('error', reject).end()
  })
}

/** A server that only counts connections. */
async function listener (t: Test): Promise<{ url: string, connections: () => number }> {
  let connections = 0
  const server = net.createServer(socket => { connections++; socket.destroy() }).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}`, connections: () => connections }
}
