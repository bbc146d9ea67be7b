import { claims, headers } from './forged-members.js'
import { algorithms, signatures } from './forged-signatures.js'
import type { Forgery, Target } from './forgery-target.js'
import { compact, encode } from './jws.js'

/** Tokens by name, each wrong in one thing and right in all others. A header can carry every one of them. */
export function forgeries (target: Target): Forgery[] {
  const all = [
    ...algorithms(target), ...signatures(target), ...headers(target), ...claims(target), ...texts(target),
    ...shapes(target)
  ]
  return [...new Map(all.map(([name, token]) => [token, name]))].map(([token, name]) => [name, token])
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
