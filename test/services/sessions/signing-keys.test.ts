import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import t from 'tap'
import { readConfig } from '../../../services/config.js'
import { createRefreshTokens } from '../../../services/sessions/refresh-token.js'
import { publicKeys, signingKeys } from '../../../services/sessions/signing-keys.js'
import { ecKey, edKey, pem, thumbprint } from '../../helpers/jws.js'
import { refusal } from '../../helpers/config-refusal.js'
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
