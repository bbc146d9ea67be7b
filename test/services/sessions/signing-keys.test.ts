import { createPrivateKey, createPublicKey, generateKeyPairSync, verify, type KeyObject } from 'node:crypto'
import t from 'tap'
import { readConfig } from '../../../services/config.js'
import { createRefreshTokens } from '../../../services/sessions/refresh-token.js'
import { publicKeys, signingKeys } from '../../../services/sessions/signing-keys.js'
import { claimsOf, freshPhone } from '../../helpers/accounts.js'
import { ok } from '../../helpers/answers.js'
import { startServices } from '../../helpers/backends.js'
import { refusal } from '../../helpers/config-refusal.js'
import { compact, ecKey, edKey, hmac, pem, thumbprint, type Json } from '../../helpers/jws.js'
import { startService, type Service } from '../../helpers/service.js'
import { scale } from '../../helpers/test-length.js'

const SECRET = 'b7Kp2Wq9Zt4Xv6Ny1Rm8Lc3Hs5Jd0GfA'
/** Whether each key is tried in all positions of JWT_PRIVATE_KEY, or in one for each algorithm. */
const ALL_POSITIONS = scale({ short: 0, long: 1 }) === 1
const sec1 = (key: KeyObject) => key.export({ type: 'sec1', format: 'pem' }).toString()

t.test(
  'JWT_PRIVATE_KEY is refused, with no byte of it, when a block is no plain private key for P-256 or Ed25519',
  async t => {
    const [p256, ed25519] = [pem(ecKey()), pem(edKey())]
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const others = {
      RSA: pem(rsa.privateKey),
      'RSA in PKCS #1': rsa.privateKey.export({ type: 'pkcs1', format: 'pem' }).toString(),
      secp256k1: pem(ecKey('secp256k1')),
      'P-384': pem(ecKey('P-384')),
      'P-521': sec1(ecKey('P-521')),
      Ed448: pem(generateKeyPairSync('ed448').privateKey),
      X25519: pem(generateKeyPairSync('x25519').privateKey),
      'a public P-256 key': pem(generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey),
      'a public Ed25519 key': pem(generateKeyPairSync('ed25519').publicKey),
      'a public RSA key': pem(rsa.publicKey),
      'an encrypted key': ecKey()
        .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: 'x' })
        .toString(),
      'an encrypted key of the old kind': ecKey()
        .export({ type: 'sec1', format: 'pem', cipher: 'aes-128-cbc', passphrase: 'x' })
        .toString(),
      'an encrypted Ed25519 key': edKey()
        .export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: '' })
        .toString(),
      'a key without its end': pem(ecKey()).replace(/-----END[^]*/, ''),
      'a key cut within': pem(edKey()).replace(/.{20}\n-----END/, '\n-----END'),
      'an empty block': '-----BEGIN PRIVATE KEY-----\n\n-----END PRIVATE KEY-----\n',
      'a block of nonsense':
        '-----BEGIN PRIVATE KEY-----\nc29tZXRoaW5nIHRoYXQgaXMgbm8ga2V5\n-----END PRIVATE KEY-----\n',
      'curve parameters': '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n',
      'a block in small letters': pem(edKey()).replaceAll('PRIVATE KEY', 'private key')
    }
    for (const [round, [algorithm, first]] of Object.entries({ ES256: p256, EdDSA: ed25519, HS256: p256 }).entries()) {
      for (const [i, [name, other]] of Object.entries(others).entries()) {
        const positions = Object.entries({
          alone: other,
          first: other + first,
          second: first + other,
          between: first + other + ed25519,
          'second, on one line': (first + other).replaceAll('\n', '\\n')
        })
        for (const [position, value] of ALL_POSITIONS ? positions : [positions[(i + round) % positions.length]!]) {
          const message = refusal({ JWT_ALGORITHM: algorithm, JWT_PRIVATE_KEY: value })
          t.match(
            message,
            /^Refusing to start: JWT_PRIVATE_KEY must hold [^;]+\.$/,
            `${algorithm}: ${name}, ${position}`
          )
          if (value.split(/\s|\\n/).some(line => line.length > 12 && message.includes(line))) {
            t.fail(`${name} is quoted`)
          }
        }
      }
    }
    t.match(refusal({ JWT_ALGORITHM: 'ES256', JWT_PRIVATE_KEY: ed25519 + p256 }), /JWT_PRIVATE_KEY/, 'the first signs')
    t.match(refusal({ JWT_ALGORITHM: 'EdDSA', JWT_PRIVATE_KEY: p256 + ed25519 }), /JWT_PRIVATE_KEY/, 'the first signs')
  }
)

t.test('JWT_PRIVATE_KEY takes both kinds of key beside each other, in every form a PEM has', async t => {
  const [ec, ed] = [ecKey(), edKey()]
  const spelledOut = generateKeyPairSync('ec', { namedCurve: 'P-256', paramEncoding: 'explicit' }).privateKey
  const forms = [
    pem(ec) + pem(ed),
    pem(ec).trim() + pem(ed).trim(),
    (pem(ec) + pem(ed)).replaceAll('\n', '\\n'),
    (pem(ec) + pem(ed)).replaceAll('\n', '\r\n'),
    `# the first\n${sec1(ec)}\n# the second\n${pem(ed)}`,
    pem(ec) + pem(ed) + sec1(ec)
  ]
  for (const JWT_PRIVATE_KEY of forms) {
    for (const JWT_ALGORITHM of ['ES256', 'HS256'] as const) {
      const keys = signingKeys(readConfig({ JWT_ALGORITHM, JWT_PRIVATE_KEY, JWT_SECRET_KEY: `${SECRET},${SECRET}` }))
      t.strictSame(
        keys.map(({ algorithm }) => algorithm),
        JWT_ALGORITHM === 'ES256' ? ['ES256', 'EdDSA', 'HS256'] : ['HS256', 'ES256', 'EdDSA']
      )
      t.strictSame(publicKeys(keys).map(({ kid }) => kid), [thumbprint(ec), thumbprint(ed)])
    }
  }
  const [key] = signingKeys(readConfig({ JWT_ALGORITHM: 'ES256', JWT_PRIVATE_KEY: sec1(spelledOut) }))
  t.equal(key!.kid, thumbprint(spelledOut))
  t.notMatch(JSON.stringify(publicKeys([key!])), /"d"|PRIVATE/)
})

t.test('JWT_SECRET_KEY is refused, by name alone, when its first secret is not good', async t => {
  for (const value of [
    ',', ' , ,', `,${'short'}`, `jwt-secret,${SECRET}`, `${SECRET.slice(1)},${SECRET}`, `${'é'.repeat(15)}x`,
    'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
  ]) {
    t.match(refusal({ JWT_SECRET_KEY: value }), /^Refusing to start: JWT_SECRET_KEY must begin with [^;]+\.$/, value)
  }
  t.ok(readConfig({ JWT_SECRET_KEY: ` ${SECRET} ,jwt-secret` }), 'the secret of the replaced system may follow')
})

t.test('a refresh token is read only as it was issued', async t => {
  const tokens = createRefreshTokens(SECRET)
  const account = '89abcdef0123456789abcdef'
  const sid = '0123456789abcdef01234567'
  const whose = `${account}.${sid}`
  const token = tokens.issue(account, sid, 7)
  const [, , , mac = ''] = token.split('.')
  t.strictSame(tokens.read(token), { account, sid, n: 7 })
  t.strictSame(tokens.read(tokens.issue(account, sid, 0)), { account, sid, n: 0 })
  const [seven, seventy] = [`${whose}.7.`, tokens.issue(account, sid, 70)]
  const bad = [
    '',
    '.',
    '..',
    sid,
    seven,
    mac,
    `${token}\n`,
    ` ${token}`,
    `${token} `,
    `${token}=`,
    `${token}A`,
    `${token}.`,
    `.${token}`,
    token.slice(0, -1),
    token.toUpperCase(),
    `${whose.toUpperCase()}.7.${mac}`,
    `${account}.${sid.toUpperCase()}.7.${mac}`,
    `${sid}.${account}.7.${mac}`,
    `${sid}.7.${mac}`,
    `${whose}.07.${mac}`,
    `${whose}.+7.${mac}`,
    `${whose}.7.0.${mac}`,
    `${whose}.7e0.${mac}`,
    `${whose}.-7.${mac}`,
    `${whose}..${mac}`,
    `${whose}.8.${mac}`,
    `${whose}.6.${mac}`,
    `${whose}.1234567890.${mac}`,
    seventy.replace('.70.', '.7.'),
    `${seven}${seventy.split('.')[3]}`,
    `${whose.replace('0', '1')}.7.${mac}`,
    `${seven}${'A'.repeat(43)}`,
    `${seven}${mac.replaceAll('-', '+').replaceAll('_', '/')}=`,
    createRefreshTokens(`${SECRET}x`).issue(account, sid, 7),
    createRefreshTokens('').issue(account, sid, 7),
    `${seven}${Buffer.from(mac, 'base64url').toString('hex')}`,
    `${seven}${'é'.repeat(43)}`
  ]
  for (const text of bad) t.equal(tokens.read(text), undefined, JSON.stringify(text))
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.'
  const changed = [...token].flatMap((own, at) =>
    [...alphabet].filter(character => character !== own).map(character =>
      token.slice(0, at) + character + token.slice(at + 1)))
  t.strictSame(changed.filter(text => tokens.read(text)), [], `${changed.length} tokens with one character changed`)
})

t.test('the keys of tokens', async t => {
  const services = await startServices(t)
  const started = new Map<string, Promise<Service>>()
  /** The service with these variables; the same variables give the same one. */
  const at = (env: Record<string, string>) => {
    const name = JSON.stringify(env)
    return started.get(name) ?? started.set(name, startService(t, { services, env })).get(name)!
  }
  const [first, second, third] = ['wS1zUu3hW6vX0yQ9kD2fB7nM4pL8rT5c', 'pJ4xM8cT1vB6nQ3zK9wR5hY2gD7sF0La', 'eU9bN2kX6yC1mV4rT8qZ3pW7jH5dG0Sf']
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
  const get = (token: string, at: Service) => at.call('GET', '/auth/sessions', { token })
  const taken = async (token: string, at: Service) => (await get(token, at)).status === 200
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
    t.match(await get(token, after), { status: 401, body: { error: 'Invalid access token' } })
    t.strictSame(await publishedBy(after), [], 'secrets are not published')
    const joined = compact({ alg: 'HS256', typ: 'JWT' }, claimsOf(newer), hmac(`${second},${first}`))
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
