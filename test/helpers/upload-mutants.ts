/**
 * Uploads that are damaged on their way, one for each seed: in their form, its boundary, the framing of the request, or
 * its head.
 */
import { BOUNDARY, field, file, form, FORM_TYPE, type Part } from './multipart.js'
import { seededRandom } from './seeded-random.js'
import { gif, gifOf, jpeg, png, webp } from './small-pictures.js'

export interface Mutant {
  /** The request's head without the line of the token and the empty line after it. */
  head: Buffer
  /** The bytes after the head, in the pieces in which the client writes them. */
  pieces: Buffer[]
  /**
   * `kept`: the connection can be used again after the answer. `answered`: an answer comes, unless the reset for bytes
   * beyond the announced length overtakes it; the connection cannot be used again. `hung up`: the client ends its side,
   * and may get no answer.
   */
  ending: 'kept' | 'answered' | 'hung up'
  /** Whether the request can never be whole: it announces more than is sent. */
  unfinished: boolean
  /** The form and its boundary, as the framing delimits them. Undefined when either is ambiguous. */
  sent?: { body: Buffer, boundary: string }
}

/** Random choices, the same for the same seed (mulberry32). */
export function createDice (seed: number) {
  const random = seededRandom(Math.imul(seed, 0x9E3779B1))
  const below = (n: number) => Math.floor(random() * n)
  return {
    below,
    chance: (share: number) => random() < share,
    oneOf: <T>(list: readonly T[]): T => list[below(list.length)]!
  }
}
type Dice = ReturnType<typeof createDice>

export const PICTURES = [gif, png, jpeg, webp, gifOf(70_000)]
/** The upload limit for these mutants, in bytes. */
export const LIMIT = 5_300_000
/** Larger than one part in the store, and rare enough to cost no more than the rest. */
export const LARGE_PICTURES = [gifOf(LIMIT), gifOf(LIMIT + 1)]
const LARGE_SHARE = 1 / 500

export function mutantOf (seed: number): Mutant {
  const dice = createDice(seed)
  let body = formOf(dice)
  for (let left = dice.oneOf([0, 1, 1, 2, 2, 2, 3, 3, 4, 5, 8]); left > 0; left--) {
    body = dice.oneOf(MUTATIONS)(body, dice)
  }
  const { header: type, boundary } = typeOf(dice)
  const { headers, wire, ending, received, unfinished = false } = framed(body, dice)
  const head = Buffer.from(
    ['POST /library/upload HTTP/1.1', 'Host: x', `Content-Type: ${type}`, ...headers, ''].join('\r\n'),
    'latin1'
  )
  const sent = boundary !== undefined && received ? { body: received, boundary } : undefined
  const pieces = dice.chance(0.15) ? inPieces(wire, dice) : [wire]
  return dice.chance(0.04)
    ? { head: dice.oneOf(HEAD_MUTATIONS)(head, dice), pieces, ending: 'hung up', unfinished: false }
    : { head, pieces, ending, unfinished, ...(sent && { sent }) }
}

/** A valid form. */
function formOf (dice: Dice): Buffer {
  const bytes = dice.chance(LARGE_SHARE) ? dice.oneOf(LARGE_PICTURES) : dice.oneOf(PICTURES)
  const picture = file(bytes, {
    filename: dice.oneOf(['fox.gif', 'fox.gif', 'a b.png', 'フォックス.webp', '../x', 'x'.repeat(200)]),
    type: dice.oneOf(['image/gif', 'application/octet-stream', 'text/html'])
  })
  const fields = [
    field('user_id', 'meera'),
    field('title', 'Dancing fox'),
    field('category', 'Foxes'),
    field('fit', 'cover'),
    field('type', 'image')
  ].slice(
    0,
    1 + dice.below(5)
  )
  const parts: Part[] = dice.oneOf([
    [...fields, picture],
    [picture, ...fields],
    [fields[0]!, picture, ...fields.slice(1)]
  ])
  return form(parts, {
    preamble: dice.chance(0.05) ? 'A form in MIME.' : '',
    ...(dice.chance(0.05) && { end: `\r\n--${BOUNDARY}--\r\nThe end.` })
  })
}

/** The offset of a change: mostly among the headers of the parts, at the start or the end. */
function placeIn (bytes: Buffer, dice: Dice): number {
  const edge = Math.min(700, bytes.length)
  return dice.oneOf([
    () => dice.below(edge + 1),
    () => bytes.length - dice.below(edge + 1),
    () => dice.below(bytes.length + 1)
  ])()
}

function rangeIn (bytes: Buffer, dice: Dice): [from: number, to: number] {
  const from = placeIn(bytes, dice)
  return [from, Math.min(bytes.length, from + dice.oneOf([1, 1, 2, 3, 8, 40, 300, 1 + dice.below(bytes.length + 1)]))]
}

const replaced = (bytes: Buffer, from: number, to: number, ...put: Buffer[]) => Buffer.concat([
  bytes.subarray(0, from),
  ...put,
  bytes.subarray(to)
])

/** Parts of forms, and bytes that parsers often read wrongly. */
const WORDS = [
  '\r\n',
  '\r\n\r\n',
  '\r',
  '\n',
  '\0',
  '--',
  '-',
  `--${BOUNDARY}`,
  `\r\n--${BOUNDARY}`,
  `\r\n--${BOUNDARY}\r\n`,
  `\r\n--${BOUNDARY}--`,
  `\r\n--${BOUNDARY}--\r\n`,
  `\n--${BOUNDARY}\n`,
  'name="file"',
  'name="user_id"',
  'name=""',
  'name=file',
  '; filename="b.gif"',
  'filename=""',
  "filename*=UTF-8''%00",
  'filename="',
  'form-data',
  'Content-Disposition: form-data; name="file"; filename="b.gif"\r\n',
  'Content-Disposition: form-data; name="user_id"\r\n\r\n',
  'Content-Transfer-Encoding: base64\r\n',
  'Content-Type: application/json\r\n',
  'Content-Type: text/plain; charset=utf-16\r\n',
  'Content-Length: 3\r\n',
  '__proto__',
  'constructor',
  '"',
  '\\"',
  '\\',
  ';',
  ':',
  '=',
  ' ',
  '\t',
  '%00',
  '%0d%0a',
  '\xff',
  '\xc3\x28',
  '[',
  'x'.repeat(300),
  ' '.repeat(9000),
  'GIF89a',
  'POST /library/upload HTTP/1.1\r\n'
].map(word => Buffer.from(word, 'latin1'))
const TARGETS = [
  'name="file"', 'name="user_id"', '; filename="', 'form-data', 'Content-Disposition', 'Content-Type', '\r\n\r\n',
  '\r\n', BOUNDARY, '--', '"', ': '
].map(word => Buffer.from(word))

type Mutation = (bytes: Buffer, dice: Dice) => Buffer
const flip: Mutation = (bytes, dice) => {
  const at = Math.min(placeIn(bytes, dice), bytes.length - 1)
  return at < 0 ? bytes : replaced(bytes, at, at + 1, Buffer.from([bytes[at]! ^ (1 << dice.below(8))]))
}
const cutOut: Mutation = (bytes, dice) => replaced(bytes, ...rangeIn(bytes, dice))
const endEarly: Mutation = (bytes, dice) => bytes.subarray(0, placeIn(bytes, dice))
const MUTATIONS: Mutation[] = [
  flip, flip, cutOut, endEarly,
  function sayTwice (bytes, dice) {
    const [from, to] = rangeIn(bytes, dice)
    return replaced(bytes, to, to, bytes.subarray(from, to))
  },
  function move (bytes, dice) {
    const [from, to] = rangeIn(bytes, dice)
    const rest = replaced(bytes, from, to)
    const at = placeIn(rest, dice)
    return replaced(rest, at, at, bytes.subarray(from, to))
  },
  function insert (bytes, dice) {
    const at = placeIn(bytes, dice)
    return replaced(bytes, at, at, dice.oneOf(WORDS))
  },
  function overwrite (bytes, dice) {
    return replaced(bytes, ...rangeIn(bytes, dice), dice.oneOf(WORDS))
  },
  ...[1, 2].map((): Mutation => function exchange (bytes, dice) {
    const target = dice.oneOf(TARGETS)
    const at = dice.chance(0.5) ? bytes.indexOf(target, placeIn(bytes, dice)) : bytes.lastIndexOf(target)
    return at < 0 ? bytes : replaced(bytes, at, at + target.length, dice.oneOf(WORDS))
  }),
  function exchangeAll (bytes, dice) {
    const [one, other] = dice.oneOf([
      ['\r\n', '\n'],
      ['\r\n', '\r'],
      ['\r\n', '\r\r\n'],
      ['"', ''],
      ['"', "'"],
      ['name=', 'NAME='],
      ['; ', ';'],
      [': ', ':'],
      ['Content-', 'content-'],
      [BOUNDARY, BOUNDARY.slice(1)]
    ])
    return Buffer.from(bytes.toString('latin1').replaceAll(one!, other!), 'latin1')
  },
  function cross (bytes, dice) {
    const other = formOf(dice)
    return Buffer.concat([bytes.subarray(0, placeIn(bytes, dice)), other.subarray(placeIn(other, dice))])
  },
  function follow (bytes, dice) {
    return Buffer.concat([bytes, formOf(dice)])
  },
  function stretch (bytes, dice) {
    const at = placeIn(bytes, dice)
    return replaced(
      bytes,
      at,
      at,
      Buffer.alloc(
        dice.oneOf([100, 20_000, 66_000, 300_000]),
        dice.oneOf(['\0', 'x', ' ', '\r\n', '-', `\r\n--${BOUNDARY}\r\n`])
      )
    )
  }
]

function typeOf (dice: Dice): { header: string, boundary?: string } {
  if (dice.chance(0.88)) return { header: FORM_TYPE, boundary: BOUNDARY }
  const right = [
    `multipart/form-data; boundary="${BOUNDARY}"`,
    `multipart/form-data; charset=utf-8; boundary=${BOUNDARY}`,
    `Multipart/Form-Data; Boundary=${BOUNDARY}`,
    `multipart/form-data;boundary=${BOUNDARY}`,
    `multipart/form-data; boundary=${BOUNDARY}; charset=utf-8`
  ]
  const wrong = [
    'multipart/form-data',
    'multipart/form-data; boundary=',
    'multipart/form-data; boundary=""',
    `multipart/mixed; boundary=${BOUNDARY}`,
    'application/json',
    `multipart/form-data; boundary=${BOUNDARY.slice(0, -1)}`,
    `multipart/form-data; boundary=${BOUNDARY}x`,
    `multipart/form-data; boundary=-${BOUNDARY}`,
    `multipart/form-data; boundary=${BOUNDARY.toUpperCase()}`,
    `multipart/form-data; boundary=x; boundary=${BOUNDARY}`,
    `multipart/form-data, ${FORM_TYPE}`,
    `multipart/form-data; boundary="${BOUNDARY}`,
    `multipart/form-data; boundary*=UTF-8''${BOUNDARY}`,
    'multipart/form-data; boundary=-',
    `multipart/form-data; boundary=${'x'.repeat(71)}`,
    `multipart/form-data; boundary= ${BOUNDARY} `,
    'multipart/form-data; boundary=\xff\xfe',
    ''
  ]
  const header = dice.oneOf([...right, ...wrong])
  return { header, ...(right.includes(header) && { boundary: BOUNDARY }) }
}

interface Framed { headers: string[], wire: Buffer, ending: Mutant['ending'], received?: Buffer, unfinished?: boolean }

function framed (body: Buffer, dice: Dice): Framed {
  const length = (bytes: number) => [`Content-Length: ${bytes}`]
  const chunked = ['Transfer-Encoding: chunked']
  const kind = dice.below(100)
  if (kind < 48) return { headers: length(body.length), wire: body, ending: 'kept', received: body }
  if (kind < 86) return { headers: chunked, wire: inChunks(body, dice), ending: 'kept', received: body }
  if (kind < 90) {
    const said = dice.below(body.length)
    return { headers: length(said), wire: body, ending: 'answered', received: body.subarray(0, said) }
  }
  if (kind < 94) {
    return {
      headers: length(body.length + dice.oneOf([1, 2, 50, 70_000, 20_000_000])),
      wire: body,
      ending: 'hung up',
      unfinished: true
    }
  }
  return { headers: chunked, wire: dice.oneOf([flip, cutOut, endEarly])(inChunks(body, dice), dice), ending: 'hung up' }
}

/** The chunked coding (RFC 9112 §7.1) in odd sizes, with everything that it allows. */
function inChunks (body: Buffer, dice: Dice): Buffer {
  const coded: Array<Buffer | string> = []
  const small = Math.ceil(body.length / 400)
  for (let at = 0; at < body.length;) {
    const chunk = body.subarray(at, at += Math.max(small, dice.oneOf([1, 2, 3, 7, 29, 64, 1000, 65_536])))
    const size = dice.oneOf([
      chunk.length.toString(16),
      chunk.length.toString(16).toUpperCase(),
      `00${chunk.length.toString(16)}`
    ])
    coded.push(size, dice.chance(0.02) ? ';name="value"' : '', '\r\n', chunk, '\r\n')
  }
  coded.push('0\r\n', dice.chance(0.05) ? 'X-Trailer: x\r\n' : '', '\r\n')
  return Buffer.concat(coded.map(piece => typeof piece === 'string' ? Buffer.from(piece) : piece))
}

function inPieces (bytes: Buffer, dice: Dice): Buffer[] {
  const pieces: Buffer[] = []
  for (let at = 0; at < bytes.length && pieces.length < 20;) {
    pieces.push(bytes.subarray(at, at += dice.oneOf([1, 10, 60, 500, 20_000])))
  }
  return [...pieces, bytes.subarray(pieces.reduce((sum, { length }) => sum + length, 0))]
}

const HEAD_MUTATIONS: Mutation[] = [
  flip, cutOut,
  function anotherRequest (head, dice) {
    const line = dice.oneOf([
      'POST /library/upload HTTP/1.0', 'POST /library/upload/ HTTP/1.1', 'POST /library/upload?x=%00 HTTP/1.1',
      'POST //library/upload HTTP/1.1', 'POST /library/uploads HTTP/1.1', 'GET /library HTTP/1.1',
      'GET /library/upload HTTP/1.1', 'PUT /library/upload HTTP/1.1', 'DELETE /library/upload HTTP/1.1',
      'POST /users HTTP/1.1', 'POST  /library/upload HTTP/1.1', 'POST /library/upload HTTP/2.0'
    ])
    return replaced(head, 0, head.indexOf('\r\n'), Buffer.from(line))
  },
  function anotherHeader (head, dice) {
    const line = dice.oneOf([
      'Content-Length: 5', 'Content-Length: -1', 'Content-Length: 1e3', 'Transfer-Encoding: chunked',
      'Transfer-Encoding: identity', 'Transfer-Encoding: gzip, chunked', 'Content-Type: application/json',
      'Content-Encoding: gzip', 'Connection: close', 'Expect: 200-ok', ' folded', 'no colon',
      `X-Long: ${'x'.repeat(20_000)}`, ': x', 'X: \0', 'Host: y', '__proto__: x', 'Upgrade: h2c'
    ])
    const at = dice.chance(0.5) ? head.indexOf('\r\n') + 2 : head.length
    return replaced(head, at, at, Buffer.from(`${line}\r\n`))
  }
]
