import { createPublicKey, generateKeyPairSync, sign, type KeyObject } from 'node:crypto'
import { compact, ecKey, edKey, encode, hmac, keyPair, pem, sharedSecret, type Json, type Signer } from './jws.js'

export interface Target {
  /** Signs as the service does; the service trusts its key. */
  signer: Signer
  secret: string
  /** The public halves of all pairs that the service trusts. */
  published: KeyObject[]
  /** Claims of a live session: `compact(signer.header, claims, signer.sign)` is accepted. */
  claims: Json & { sub: string, sid: string, iat: number, exp: number }
  /** Another token that is accepted. */
  other: string
  refreshToken: string
  /** An address that a header could point to. */
  url: string
}

type Forgery = [name: string, token: string]

/** Tokens by name, each wrong in one thing and right in all others. A header can carry every one of them. */
export function forgeries (target: Target): Forgery[] {
  const all = [
    ...algorithms(target), ...signatures(target), ...headers(target), ...claims(target), ...texts(target),
    ...shapes(target)
  ]
  return [...new Map(all.map(([name, token]) => [token, name]))].map(([token, name]) => [name, token])
}

const STRANGER = 'kQ8vT2mZ5xR9wL3jN7pY1cF6hB4dG0sA'

function algorithms ({ signer, claims, secret, published }: Target): Forgery[] {
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

function signatures ({ signer, claims, other }: Target): Forgery[] {
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

function headers ({ signer, claims, published, url }: Target): Forgery[] {
  const { header, sign: good } = signer
  const made = (more: Json) => compact({ ...header, ...more }, claims, good)
  const attacker = ecKey()
  const own = createPublicKey(attacker).export({ format: 'jwk' })
  const byAttacker = (more: Json) => compact({ alg: 'ES256', typ: 'JWT', ...more }, claims, keyPair(attacker).sign)
  const kids: unknown[] = [
    'unknown',
    '',
    '../../dev/null',
    '/dev/null',
    '..\\..\\windows\\win.ini',
    'file:///etc/passwd',
    "' UNION SELECT 'x' --",
    '1; DROP TABLE keys',
    '{"$ne":null}',
    { $ne: null },
    { $gt: '' },
    [],
    [header.kid ?? ''],
    0,
    1,
    -1,
    true,
    null,
    '__proto__',
    'constructor',
    'toString',
    'key0',
    '| sleep 9',
    `${url}/key`,
    'x'.repeat(8192),
    '\u0000',
    `${header.kid ?? ''} `
  ]
  return [
    ...[
      undefined,
      null,
      '',
      'JWE',
      'at+jwt',
      'jwt',
      'Jwt',
      'JWT ',
      'application/jwt',
      'JOSE',
      'secevent+jwt',
      ['JWT'],
      { JWT: 1 },
      1,
      true
    ].map((typ): Forgery => [`typ ${JSON.stringify(typ)}`, made({ typ })]),
    ...[['exp'], ['b64'], ['alg'], ['kid', 'kid'], ['x'], [], 'exp', {}, null, false, 0, ''].map((crit): Forgery =>
      [`crit ${JSON.stringify(crit)}`, made({ crit })]),
    ['b64 false', made({ b64: false })],
    ['b64 false, critical', made({ b64: false, crit: ['b64'] })],
    ['b64 true', made({ b64: true })],
    ...kids.map((kid): Forgery => [`kid ${JSON.stringify(kid).slice(0, 40)}`, made({ kid })]),
    ...[...published].map(key => keyPair(key).header.kid).filter(kid => kid !== header.kid).map((kid): Forgery =>
      ['kid of another of our keys', made({ kid })]),
    ...['jku', 'x5u'].flatMap((name): Forgery[] =>
      [
        [`${name}, signed by us`, made({ [name]: `${url}/keys` })],
        [`${name}, signed by the attacker`, byAttacker({ [name]: `${url}/keys`, kid: 'x' })]
      ]),
    ['jwk, signed by us', made({ jwk: published[0]!.export({ format: 'jwk' }) })],
    ['jwk, signed by the attacker', byAttacker({ jwk: own })],
    ['jwk, signed by the attacker under our key id', byAttacker({ jwk: own, kid: keyPair(published[0]!).header.kid })],
    [
      'jwk of a secret',
      compact({ alg: 'HS256', typ: 'JWT', jwk: { kty: 'oct', k: 'AAAA' } }, claims, hmac(Buffer.alloc(3)))
    ],
    ['x5c, signed by us', made({ x5c: ['AAAA'] })],
    [
      'x5c, signed by the attacker',
      byAttacker({ x5c: [createPublicKey(attacker).export({ type: 'spki', format: 'der' }).toString('base64')] })
    ],
    ...[
      'x5t', 'x5t#S256', 'cty', 'zip', 'enc', 'epk', 'apu', 'iv', 'tag', 'p2s', 'url', 'nonce', 'exp', '__proto__x'
    ].map((name): Forgery => [`a header member ${name}`, made({ [name]: 'x' })]),
    ['a million rounds of PBKDF2', made({ p2c: 1e6, p2s: 'AAAA' })],
    [
      '__proto__ in the header',
      compact(JSON.stringify(header).replace('{', '{"__proto__":{"admin":true},'), claims, good)
    ],
    ['alg by way of __proto__', compact(`{"__proto__":${JSON.stringify(header)}}`, claims, good)],
    ...['null', '[]', '1', '"x"', 'true', '', `[${JSON.stringify(header)}]`].map((text): Forgery =>
      [`the header ${text || 'empty'}`, compact(text, claims, good)])
  ]
}

function claims ({ signer, claims: living }: Target): Forgery[] {
  const { header, sign: good } = signer
  const { sub, sid, iat, exp, iss, aud } = living
  const wrong: Record<string, unknown[]> = {
    sub: [
      '',
      'admin',
      sub.slice(1),
      sub.slice(3),
      `${sub} `,
      ` ${sub}`,
      `${sub}\n`,
      `${sub}\u0000`,
      '+0123456789',
      '+1',
      `+${'9'.repeat(16)}`,
      sub.replace(/\d/g, digit => String.fromCodePoint(0xFF10 + Number(digit))),
      919876543210,
      0,
      null,
      true,
      [],
      [sub],
      {},
      { $ne: null },
      { $regex: '.*' },
      '{"$gt":""}'
    ],
    sid: [
      '',
      sid.toUpperCase(),
      sid.slice(1),
      `${sid}0`,
      `${sid} `,
      ` ${sid}`,
      `${sid}\n`,
      `0x${sid}`,
      'me',
      null,
      1,
      true,
      [],
      [sid],
      {},
      { $ne: null },
      { $gt: '' },
      { $in: [sid] },
      { $oid: sid },
      { _id: sid },
      { $where: '1' },
      sid.replace(/\d/g, digit => String.fromCodePoint(0xFF10 + Number(digit)))
    ].filter(value => value !== sid),
    iss: [
      '',
      'Hookaba',
      'hookaba ',
      'hookaba/',
      'hookaba\u0000',
      'https://hookaba',
      'other',
      null,
      1,
      true,
      [],
      ['hookaba'],
      ['hookaba', 'other'],
      {},
      { hookaba: 1 },
      { $ne: null }
    ].filter(value => value !== iss),
    aud: [
      '',
      'Hookaba',
      ' hookaba',
      'other',
      null,
      1,
      true,
      [],
      ['hookaba'],
      ['other', 'hookaba'],
      {},
      { hookaba: 1 }
    ].filter(value => value !== aud),
    exp: [
      String(exp),
      '',
      'never',
      null,
      true,
      [],
      [exp],
      {},
      { $gt: 0 },
      0,
      -1,
      -exp,
      iat,
      iat - 1,
      iat - 0.5,
      1,
      1e15,
      1e308,
      -1e308,
      Number.MAX_SAFE_INTEGER
    ],
    iat: [String(iat), '', null, true, [], [iat], {}, iat + 61, iat + 60.5, exp, 1e15, 1e308, -1e308],
    nbf: [String(iat), '', null, true, [], [iat], {}, iat + 61, exp, 1e15, 1e308, -1e308]
  }
  return [
    ...['sub', 'sid', 'iss', 'aud', 'exp', 'iat'].map((name): Forgery =>
      [`no ${name}`, compact(header, { ...living, [name]: undefined }, good)]),
    ...Object.entries(wrong).flatMap(([name, values]) =>
      values.map((value): Forgery =>
        [`${name} ${JSON.stringify(value)}`, compact(header, { ...living, [name]: value }, good)])),
    [
      'a token of the replaced system',
      compact(
        header,
        { fresh: false, iat, jti: 'a5f2d0e8-5c1e-4b8e-9b0a-2f9a4b3c1d7e', type: 'access', sub, nbf: iat, exp },
        good
      )
    ],
    [
      'a token of the replaced system with our issuer',
      compact(header, { iat, type: 'access', sub, nbf: iat, exp, iss }, good)
    ],
    [
      'a token of the replaced system with an audience',
      compact(header, { iat, type: 'access', sub, nbf: iat, exp, aud }, good)
    ],
    [
      'a token of the replaced system with a session',
      compact(header, { iat, type: 'access', sub, nbf: iat, exp, sid }, good)
    ],
    ['a refresh token of the replaced system', compact(header, { iat, type: 'refresh', sub, nbf: iat, exp }, good)],
    ['claims by way of __proto__', compact(header, `{"__proto__":${JSON.stringify(living)}}`, good)],
    ['claims one level down', compact(header, { claims: living }, good)]
  ]
}

/** Texts that some parser reads as exactly these claims. */
function texts ({ signer, claims: living }: Target): Forgery[] {
  const { header, sign: good } = signer
  const text = JSON.stringify(living)
  const more = (members: string) => text.replace(/\}$/, `,${members}}`)
  const made = (payload: string | Buffer): string => compact(header, payload, good)
  const head = JSON.stringify(header)
  return [
    ...['', 'null', '[]', `[${text}]`, '1', '"x"', 'true', JSON.stringify(text), '{}', '{'].map((payload): Forgery =>
      [`the claims ${payload.slice(0, 12) || 'empty'}`, made(payload)]),
    ['NaN', made(more('"nbf":NaN'))],
    ['Infinity', made(text.replace(/"exp":\d+/, '"exp":Infinity'))],
    ['1e999', made(text.replace(/"exp":\d+/, '"exp":1e999'))],
    ['a number in another notation', made(text.replace(/"exp":\d+/, `"exp":${living.exp}.0`))],
    ...Object.entries(living).flatMap(([name, value]): Forgery[] => [
      [`${name} twice, the same`, made(more(`"${name}":${JSON.stringify(value)}`))],
      [`${name} twice, the good one last`, made(text.replace('{', `{"${name}":"x",`))],
      [`${name} twice, the good one first`, made(more(`"${name}":"x"`))]
    ]),
    ['exp twice, once escaped', made(more(`"\\u0065xp":${living.exp + 1}`))],
    ['an escape where none is needed', made(text.replace('"sub"', '"\\u0073ub"'))],
    ['alg twice, none first', compact(head.replace('{', '{"alg":"none",'), living, good)],
    ['alg twice, none last', compact(head.replace(/\}$/, ',"alg":"none"}'), living, good)],
    ['typ twice', compact(head.replace('{', '{"typ":"JWE",'), living, good)],
    ['5,000 levels', made(more(`"x":${'['.repeat(5000)}${']'.repeat(5000)}`))],
    ['5,000 levels of objects, unclosed', made(more(`"x":${'{"x":'.repeat(1500)}`))],
    ['a byte order mark', made(`\uFEFF${text}`)],
    ['a byte order mark in the header', compact(`\uFEFF${head}`, living, good)],
    [
      'broken UTF-8',
      made(Buffer.concat([
        Buffer.from(text.slice(0, -1)),
        Buffer.from(',"x":"'),
        Buffer.from([0xFF]),
        Buffer.from('"}')
      ]))
    ],
    [
      'broken UTF-8 in the header',
      compact(Buffer.concat([Buffer.from([0xC0, 0xAF]), Buffer.from(head)]), living, good)
    ],
    ['UTF-16', made(Buffer.from(text, 'utf16le'))],
    ['white space before', made(` ${text}`)],
    ['white space after', made(`${text}\n`)],
    ['white space within', made(JSON.stringify(living, undefined, 1))],
    ['white space in the header', compact(` ${head}`, living, good)],
    ['a comma at the end', made(text.replace(/\}$/, ',}'))],
    ['a comment', made(`/**/${text}`)],
    ['single quotes', made(text.replaceAll('"', "'"))],
    ['a NUL at the end', made(`${text}\0`)],
    ['two values', made(`${text}${text}`)],
    ['a semicolon', made(`${text};`)]
  ]
}

function shapes ({ signer, claims, other, refreshToken }: Target): Forgery[] {
  const { header, sign: good } = signer
  const token = compact(header, claims, good)
  const [head = '', body = '', tail = ''] = token.split('.')
  const jwe = [
    encode({ alg: 'dir', enc: 'A256GCM', typ: 'JWT' }),
    '',
    'AAAAAAAAAAAAAAAA',
    encode(claims),
    'AAAAAAAAAAAAAAAAAAAAAA'
  ].join('.')
  return [
    ['JWE in its compact form', jwe],
    ['JWE with our signature', `${token}.${body}.${tail}`],
    ['four parts', `${token}.`],
    ['four parts, the first empty', `.${token}`],
    ['four parts, the last a signature', `${token}.${tail}`],
    ['two parts', `${head}.${body}`],
    ['one part', head],
    ['two dots', '..'], ['one dot', '.'], ['three dots', '...'], ['a thousand dots', '.'.repeat(1000)],
    ['no header', `.${body}.${tail}`],
    ['no claims', `${head}..${tail}`],
    ['claims elsewhere', compact(header, '', good)],
    ['parts in another order', `${body}.${head}.${tail}`],
    ['the header of another, and its signature', [head, body, other.split('.')[2]].join('.')],
    ['JSON, flattened', JSON.stringify({ protected: head, payload: body, signature: tail })],
    ['JSON, general', JSON.stringify({ payload: body, signatures: [{ protected: head, signature: tail }] })],
    ['in quotes', `"${token}"`],
    ['in brackets', `<${token}>`],
    ['twice', `${token} ${token}`],
    ['twice with a comma', `${token},${token}`],
    ['twice with a comma and the scheme', `${token}, Bearer ${token}`],
    ['the scheme twice', `Bearer ${token}`],
    ['a parameter after it', `${token};x=1`],
    ['token=', `token=${token}`],
    ['token68 padding', `${token}==`],
    ['a space in the header', `${head.slice(0, 5)} ${head.slice(5)}.${body}.${tail}`],
    ['a space in the claims', `${head}.${body.slice(0, 5)} ${body.slice(5)}.${tail}`],
    ['a space in the signature', `${head}.${body}.${tail.slice(0, 5)} ${tail.slice(5)}`],
    ['a tab in the signature', `${head}.${body}.${tail.slice(0, 5)}\t${tail.slice(5)}`],
    ['a space before the signature', `${head}.${body}. ${tail}`],
    ['a tab before it', `\t.${token}`],
    ['a padded header', `${head}=.${body}.${tail}`],
    ['padded claims', `${head}.${body}==.${tail}`],
    ['the claims in another spelling', `${head}.${body}A.${tail}`],
    ['a dot as %2E', token.replaceAll('.', '%2E')],
    ['a character as %', token.replace('e', '%65')],
    ['in base64', Buffer.from(token).toString('base64url')],
    ['a byte beyond ASCII', `${head}.${body}.${tail}\u00e9`],
    ['signed as it is decoded', compact(`${JSON.stringify(header)}`, `${encode(claims)}`, good)],
    ['a token in a token', compact(header, token, good)],
    ['a refresh token', refreshToken],
    ['a session id', claims.sid],
    ['a phone number', claims.sub],
    ['null', 'null'],
    ['undefined', 'undefined'],
    ['[object Object]', '[object Object]'],
    ['a star', '*'],
    ['8 KB', 'x'.repeat(8192)],
    ['three parts of 4 KB', Array.from({ length: 3 }, () => 'A'.repeat(4096)).join('.')]
  ]
}
