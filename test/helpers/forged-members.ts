import { createPublicKey } from 'node:crypto'
import type { Forgery, Target } from './forgery-target.js'
import { compact, ecKey, hmac, keyPair, type Json } from './jws.js'

/** Tokens with a wrong header, well signed. */
export function headers ({ signer, claims, published, url }: Target): Forgery[] {
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

/** Tokens with wrong claims, well signed. */
export function claims ({ signer, claims: living }: Target): Forgery[] {
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
