import { generateKeyPairSync, sign } from 'node:crypto'
import type { Forgery, Target } from './forgery-target.js'
import { compact, ecKey, edKey, encode, hmac, keyPair, pem, sharedSecret, type Json, type Signer } from './jws.js'

const STRANGER = 'kQ8vT2mZ5xR9wL3jN7pY1cF6hB4dG0sA'

/** Tokens with another algorithm or key. */
export function algorithms ({ signer, claims, secret, published }: Target): Forgery[] {
  const { header, sign: good } = signer
  const made = (alg: unknown, sign: Signer['sign']) => compact({ ...header, alg }, claims, sign)
  const nothing = () => Buffer.alloc(0)
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const keys = [...published.flatMap(key => {
    const jwk = key.export({ format: 'jwk' })
    return ([
      ['PEM', pem(key)],
      ['PEM, trimmed', pem(key).trim()],
      ['DER', key.export({ type: 'spki', format: 'der' })],
      ['JWK', JSON.stringify(jwk)],
      ['x', jwk.x!],
      ['x in bytes', Buffer.from(jwk.x!, 'base64url')],
      ['key id', String(keyPair(key).header.kid)]
    ] as const)
      .map(([name, bytes]) => [`the public ${jwk.crv} key (${name})`, bytes] as const)
  }), ['no secret', ''],
  ['a NUL', '\0'],
  ['the old default', 'jwt-secret'],
  ['the issuer', 'hookaba'],
  ['the secret in base64', Buffer.from(secret).toString('base64')],
  ['the secret, cut', secret.slice(0, -1)],
  ['the secret and a line feed', `${secret}\n`]] as const
  return [
    ...['none', 'None', 'NONE', 'nOnE'].flatMap((alg): Forgery[] =>
      [[`alg ${alg}, unsigned`, made(alg, nothing)], [`alg ${alg}, signed`, made(alg, good)]]),
    ...[
      undefined,
      null,
      '',
      0,
      true,
      [],
      {},
      [header.alg],
      String(header.alg).toLowerCase(),
      `${header.alg} `,
      'HS1',
      'dir',
      'PBES2-HS256+A128KW'
    ].map((alg): Forgery => [`alg ${JSON.stringify(alg)}`, made(alg, good)]),
    ...[
      'HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'ES256', 'ES384', 'ES512', 'ES256K', 'EdDSA',
      'Ed25519'
    ]
      .filter(alg => alg !== header.alg)
      .map(
        (alg): Forgery => [`alg ${alg} over a signature of ${header.alg}`, made(alg, good)]
      ),
    ['HS384 with the right secret', made('HS384', hmac(secret, 'sha384'))],
    ['HS512 with the right secret', made('HS512', hmac(secret, 'sha512'))],
    ...['RS256', 'ES256', 'EdDSA'].flatMap(alg =>
      keys.slice(0, 2).map(([name, bytes]): Forgery => [`alg ${alg}, HMAC with ${name}`, made(alg, hmac(bytes))])),
    ...keys.flatMap(([name, bytes]): Forgery[] =>
      [
        [`HS256 with ${name}`, made('HS256', hmac(bytes))],
        [`HS256 with ${name}, no key id`, compact({ alg: 'HS256', typ: 'JWT' }, claims, hmac(bytes))]
      ]),
    ['RS256 by a stranger', made('RS256', text => sign('sha256', Buffer.from(text), rsa.privateKey))],
    ...[sharedSecret(STRANGER), keyPair(ecKey()), keyPair(edKey())].flatMap((stranger): Forgery[] => [
      [`${stranger.header.alg} by another service`, compact(stranger.header, claims, stranger.sign)],
      [`${stranger.header.alg} by another service under our header`, compact(header, claims, stranger.sign)]
    ])
  ]
}

/** Tokens with a signature that is not theirs, or that is spelled in another way. */
export function signatures ({ signer, claims, other }: Target): Forgery[] {
  const { header, sign: good } = signer
  const text = `${encode(header)}.${encode(claims)}`
  const bytes = good(text)
  const plain = bytes.toString('base64url')
  const withBytes = (change: (copy: Buffer) => Buffer | void) => {
    const copy = Buffer.from(bytes)
    return `${text}.${(change(copy) ?? copy).toString('base64url')}`
  }
  const flipped = (at: number, bit: number): Forgery => [
    `bit ${bit} of byte ${at} flipped`,
    withBytes(copy => { copy[at]! ^= 1 << bit })
  ]
  return [
    ['no signature', `${text}.`],
    ['a signature of one byte', withBytes(copy => copy.subarray(0, 1))],
    ['half a signature', withBytes(copy => copy.subarray(0, copy.length / 2))],
    ['all but the last byte', withBytes(copy => copy.subarray(0, -1))],
    ['all but the last character', `${text}.${plain.slice(0, -1)}`],
    ['all but the first character', `${text}.${plain.slice(1)}`],
    ...['A', 'AA', 'AAAA', '-', '_'].map((tail): Forgery => [`a signature and ${tail}`, `${text}.${plain}${tail}`]),
    ['a signature and a zero byte', withBytes(copy => Buffer.concat([copy, Buffer.alloc(1)]))],
    ['a zero byte and a signature', withBytes(copy => Buffer.concat([Buffer.alloc(1), copy]))],
    ['twice the signature', withBytes(copy => Buffer.concat([copy, copy]))],
    ['a signature backwards', withBytes(copy => copy.reverse())],
    ['a signature of zeros', withBytes(copy => copy.fill(0))],
    ['a signature of ones', withBytes(copy => copy.fill(0xFF))],
    [
      'the smallest numbers as a signature',
      withBytes(copy => { copy.fill(0)[copy.length / 2 - 1] = 1; copy[copy.length - 1] = 1 })
    ],
    ['the neutral point as a signature', withBytes(copy => { copy.fill(0)[0] = 1 })],
    flipped(0, 0),
    flipped(0, 7),
    flipped(bytes.length >> 1, 3),
    flipped(bytes.length - 1, 0),
    flipped(bytes.length - 1, 7),
    ['the signature of another token', `${text}.${other.split('.')[2]}`],
    ['the signature of the header alone', `${text}.${good(encode(header)).toString('base64url')}`],
    ['the signature of the claims alone', `${text}.${good(encode(claims)).toString('base64url')}`],
    [
      'the signature of the decoded text',
      `${text}.${good(JSON.stringify(header) + '.' + JSON.stringify(claims)).toString('base64url')}`
    ],
    ['a signature in hex', `${text}.${bytes.toString('hex')}`],
    ['a signature in capitals', `${text}.${plain.toUpperCase()}`],
    ...['=', '==', '%3D'].map((padding): Forgery => [`a signature and ${padding}`, `${text}.${plain}${padding}`]),
    ...respelled(plain).map((tail, i): Forgery =>
      [`the same signature in another spelling, ${i + 1}`, `${text}.${tail}`]),
    ['the alphabet of base64', inBase64(header, claims, good)],
    ...(header.alg === 'ES256'
      ? [['a signature in DER', `${text}.${derOf(bytes).toString('base64url')}`] as Forgery]
      : []),
    ...(header.alg === 'EdDSA' ? [['S plus the order of the group', withBytes(plusOrder)] as Forgery] : [])
  ]
}

/** The same bytes with other spare bits in the last character (RFC 4648 §3.5). */
export function respelled (plain: string): string[] {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return [...alphabet].map(last => plain.slice(0, -1) + last).filter(text =>
    text !== plain && Buffer.from(text, 'base64url').equals(Buffer.from(plain, 'base64url')))
}

function inBase64 (header: Json, claims: Json, good: Signer['sign']): string {
  for (let n = 0; ; n++) {
    const token = compact(header, { ...claims, n }, good)
    const [head, body, signature = ''] = token.split('.')
    const other = signature.replaceAll('-', '+').replaceAll('_', '/')
    if (other !== signature) return `${head}.${body}.${other}`
  }
}

function derOf (raw: Buffer): Buffer {
  const integer = (bytes: Buffer) => {
    const positive = bytes[0]! >= 0x80 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes
    return Buffer.concat([Buffer.from([2, positive.length]), positive])
  }
  const body = Buffer.concat([integer(raw.subarray(0, 32)), integer(raw.subarray(32))])
  return Buffer.concat([Buffer.from([0x30, body.length]), body])
}

/** RFC 8032 §5.1.7 wants S below the order. A verifier that only checks the equation accepts this signature too. */
function plusOrder (raw: Buffer): Buffer {
  const order = (1n << 252n) + 27742317777372353535851937790883648493n
  const little = (bytes: Buffer) => BigInt(`0x${Buffer.from(bytes).reverse().toString('hex')}`)
  const sum = (little(raw.subarray(32)) + order).toString(16).padStart(64, '0')
  return Buffer.concat([raw.subarray(0, 32), Buffer.from(sum, 'hex').reverse()])
}
