import http from 'node:http'
import t from 'tap'
import { BOUNDARY, field, file, form, FORM_TYPE } from '../helpers/multipart.js'
import { gif, gifOf, png } from '../helpers/small-pictures.js'
import { foldersOf, startService, UPLOAD_RECORDS } from '../helpers/service.js'
import { scale } from '../helpers/test-length.js'
import { KIB, MIB, picture, refusal, send, user, type Answer } from '../helpers/upload-requests.js'

const MANY_PARTS = scale({ short: 20_000, long: 100_000 })
/** The short run sends one body with its length, and the next one in chunks. */
const BOTH_WAYS = scale({ short: 0, long: 1 }) === 1

const invalid = refusal(400, 'Invalid multipart body')
const noFile = refusal(400, 'No file part')
const noSelection = refusal(400, 'No selected file')
const noUser = refusal(400, 'Missing user_id')
const unsupported = refusal(400, 'Unsupported file type')
const notMultipart = refusal(415, 'Unsupported media type')
const wrong = (errors: Record<string, string[]>): Answer => ({ status: 400, body: { errors } })
const length = 'Length must be between 1 and 255.'
const taken = { status: 201, body: { message: 'File uploaded' } }

interface Body { name: string, body: Buffer, answer: Answer, type?: string }

t.test('POST /library/upload: forms', async t => {
  const service = await startService(t)
  const { token } = await service.signIn()
  const many = (n: number) => Array.from({ length: n }, (_, i) => field(`f${i}`, 'x'))
  const named = (boundary: string, quote = '') => `multipart/form-data; boundary=${quote}${boundary}${quote}`
  const unlike = (content: string | Buffer) => form([user, file(content)])
  const end = `\r\n--${BOUNDARY}--\r\n`
  const whole = form([user, picture])

  const rows: Record<string, Body[]> = {
    'boundaries, beginnings and ends': [
      {
        name: 'a preamble',
        body: form([user, picture], { preamble: 'This is a multi-part message.\r\nIn MIME format.' }),
        answer: taken
      },
      { name: 'an epilogue', body: form([user, picture], { end: `${end}The end.` }), answer: taken },
      { name: 'no line break at the end', body: form([user, picture], { end: `\r\n--${BOUNDARY}--` }), answer: taken },
      {
        name: 'a boundary of 70 characters',
        body: form([user, picture], { boundary: 'x'.repeat(70) }),
        answer: taken,
        type: named('x'.repeat(70))
      },
      {
        name: 'a boundary in quotes',
        body: form([user, picture], { boundary: "a b:c=?/'()+_,-." }),
        answer: taken,
        type: named("a b:c=?/'()+_,-.", '"')
      },
      {
        name: 'a boundary after another parameter, in capitals',
        body: whole,
        answer: taken,
        type: `Multipart/Form-Data; charset=utf-8; Boundary=${BOUNDARY}`
      },
      {
        name: 'a file whose bytes nearly end it',
        body: form([user, file(Buffer.concat([gif, Buffer.from(`\r\n--${BOUNDARY.slice(0, -1)}\r\n--\r\n`)]))]),
        answer: taken
      },
      { name: 'nothing', body: Buffer.alloc(0), answer: invalid },
      { name: 'a line break', body: Buffer.from('\r\n'), answer: invalid },
      { name: 'text', body: Buffer.from('hello'), answer: invalid },
      { name: 'only a first boundary', body: Buffer.from(`--${BOUNDARY}\r\n`), answer: invalid },
      { name: 'no boundary in the header', body: whole, answer: invalid, type: 'multipart/form-data' },
      { name: 'an empty boundary', body: whole, answer: invalid, type: 'multipart/form-data; boundary=' },
      { name: 'an empty boundary in quotes', body: whole, answer: invalid, type: 'multipart/form-data; boundary=""' },
      { name: 'another boundary', body: whole, answer: invalid, type: named('another') },
      {
        name: 'a boundary of 71 characters',
        body: form([user, picture], { boundary: 'x'.repeat(71) }),
        answer: invalid,
        type: named('x'.repeat(71))
      },
      {
        name: 'a boundary of 8 KB',
        body: form([user, picture], { boundary: 'x'.repeat(8 * KIB) }),
        answer: invalid,
        type: named('x'.repeat(8 * KIB))
      },
      {
        name: 'a boundary of characters that are none',
        body: form([user, picture], { boundary: 'a@b' }),
        answer: invalid,
        type: named('a@b', '"')
      },
      { name: 'no last boundary', body: form([user, picture], { end: '' }), answer: invalid },
      {
        name: 'half a last boundary',
        body: form([user, picture], { end: `\r\n--${BOUNDARY.slice(0, 10)}` }),
        answer: invalid
      },
      {
        name: 'a boundary that is not the last one, at the end',
        body: form([user, picture], { end: `\r\n--${BOUNDARY}\r\n` }),
        answer: invalid
      },
      { name: 'a cut in the headers of a part', body: whole.subarray(0, 40), answer: invalid },
      { name: 'a cut in the file', body: whole.subarray(0, -60), answer: invalid },
      {
        name: 'line feeds for line breaks',
        body: Buffer.from(whole.toString('latin1').replaceAll('\r\n', '\n'), 'latin1'),
        answer: invalid
      },
      { name: 'an epilogue of 1 MiB', body: form([user, picture], { end: end + 'x'.repeat(MIB) }), answer: invalid },
      { name: 'a last boundary, and the form once more', body: Buffer.concat([whole, whole]), answer: invalid },
      ...[
        'application/json', 'text/plain', 'multipart/mixed; boundary=x', 'multipart/form-datax; boundary=x',
        'application/x-www-form-urlencoded', 'image/gif', 'x', '/'
      ].map((type): Body => ({ name: `the type ${type}`, body: whole, answer: notMultipart, type })),
      ...[17, 70, 300, 1100].map((kib): Body => ({
        name: `a part of ${kib} KiB without Content-Disposition`,
        body: form([user, { headers: ['Content-Type: image/gif'], content: gifOf(kib * KIB) }, picture]),
        answer: invalid
      })),
      ...[17, 70, 300].map((kib): Body => ({
        name: `an attachment of ${kib} KiB after the file`,
        body: form([
          user,
          picture,
          { headers: ['Content-Disposition: attachment; name="x"; filename="x.gif"'], content: gifOf(kib * KIB) }
        ]),
        answer: invalid
      })),
      { name: 'a preamble of 1 MiB', body: form([user, picture], { preamble: 'x'.repeat(MIB) }), answer: taken },
      {
        name: 'a preamble of line breaks',
        body: form([user, picture], { preamble: '\r\n'.repeat(1000) }),
        answer: taken
      },
      {
        name: 'a preamble that looks like headers',
        body: form([user, picture], { preamble: 'Content-Disposition: form-data; name="file"; filename="x.gif"\r\n' }),
        answer: taken
      },
      {
        name: 'a boundary of one character',
        body: form([user, picture], { boundary: 'q' }),
        answer: taken,
        type: named('q')
      },
      {
        name: 'a boundary that begins as another ends',
        body: form([user, picture], { boundary: '----' }),
        answer: taken,
        type: named('----')
      },
      {
        name: 'a boundary that is the start of the one in the form',
        body: whole,
        answer: invalid,
        type: named(BOUNDARY.slice(0, -1))
      },
      {
        name: 'two boundaries in the header, the form by the second',
        body: whole,
        answer: invalid,
        type: `multipart/form-data; boundary=x; boundary=${BOUNDARY}`
      },
      {
        name: 'nothing between two boundaries',
        body: Buffer.concat([Buffer.from(`--${BOUNDARY}\r\n`), whole]),
        answer: invalid
      },
      {
        name: 'an epilogue of 60 KiB',
        body: form([user, picture], { end: end + 'x'.repeat(60 * KIB) }),
        answer: taken
      },
      { name: 'zeros', body: Buffer.alloc(100 * KIB), answer: invalid },
      { name: 'nothing but line breaks', body: Buffer.from('\r\n'.repeat(50_000)), answer: invalid }
    ],
    'one file, called file': [
      {
        name: 'a text field called file beside the file',
        body: form([field('file', 'text'), user, picture]),
        answer: taken
      },
      { name: 'two files', body: form([user, picture, file(png)]), answer: invalid },
      {
        name: 'two files, the first under another name',
        body: form([user, file(png, { name: 'other' }), picture]),
        answer: invalid
      },
      {
        name: 'two files, the second under another name',
        body: form([user, picture, file(png, { name: 'other' })]),
        answer: invalid
      },
      {
        name: 'two files under other names',
        body: form([user, file(png, { name: 'a' }), file(png, { name: 'b' })]),
        answer: invalid
      },
      { name: 'user_id as a file', body: form([file('meera', { name: 'user_id' }), picture]), answer: invalid },
      { name: 'no part at all', body: Buffer.from(`--${BOUNDARY}--\r\n`), answer: noFile },
      { name: 'no file', body: form([user]), answer: noFile },
      { name: 'a text field called file', body: form([user, field('file', gif)]), answer: noFile },
      {
        name: 'a text field called file of an image type',
        body: form([user, field('file', gif, 'Content-Type: image/gif')]),
        answer: noFile
      },
      { name: 'a file under another name', body: form([user, file(gif, { name: 'picture' })]), answer: noFile },
      { name: 'a file called File', body: form([user, file(gif, { name: 'File' })]), answer: noFile },
      {
        name: 'a file without a name',
        body: form([user, { headers: ['Content-Disposition: form-data; filename="fox.gif"'], content: gif }]),
        answer: noFile
      },
      {
        name: 'a file under another name, far beyond the limit',
        body: form([user, file(gifOf(13 * MIB), { name: 'picture' })]),
        answer: noFile
      },
      { name: 'an empty file name', body: form([user, file(gif, { filename: '' })]), answer: noSelection },
      { name: 'an empty file name and nothing else', body: form([file('', { filename: '' })]), answer: noSelection },
      { name: 'an empty file', body: unlike(''), answer: unsupported }
    ],
    'too many, too long, too deep': [
      { name: '20 parts', body: form([...many(9), user, picture, ...many(9)]), answer: taken },
      {
        name: 'an unknown field of 10 KB name',
        body: form([field('n'.repeat(10 * KIB), 'x'), user, picture]),
        answer: taken
      },
      {
        name: 'a field name nested 10,000 deep',
        body: form([field(`a${'[b]'.repeat(10_000)}`, 'x'), user, picture]),
        answer: taken
      },
      {
        name: 'part headers of 30 KB',
        body: form([{ headers: [...user.headers, `X-Junk: ${'j'.repeat(30 * KIB)}`], content: 'meera' }, picture]),
        answer: taken
      },
      { name: '21 parts', body: form([...many(10), user, picture, ...many(9)]), answer: invalid },
      { name: '1,000 fields', body: form([user, ...many(1000), picture]), answer: invalid },
      { name: 'fields without end after the file', body: form([picture, user, ...many(MANY_PARTS)]), answer: invalid },
      {
        name: 'part headers of 100 KB before what counts',
        body: form([{ headers: [`X-Junk: ${'j'.repeat(100 * KIB)}`, ...user.headers], content: 'meera' }, picture]),
        answer: invalid
      },
      {
        name: '3,000 part headers before what counts',
        body: form([
          { headers: [...Array.from({ length: 3000 }, (_, i) => `X-${i}: x`), ...user.headers], content: 'meera' },
          picture
        ]),
        answer: invalid
      },
      {
        name: 'a field of 64 KiB after the file',
        body: form([user, picture, field('title', 'x'.repeat(64 * KIB))]),
        answer: invalid
      },
      {
        name: '100 headers in a part',
        body: form([
          { headers: [...user.headers, ...Array.from({ length: 99 }, (_, i) => `X-${i}: x`)], content: 'meera' },
          picture
        ]),
        answer: taken
      },
      {
        name: 'parts without end before the file',
        body: form([...Array.from({ length: MANY_PARTS }, () => field('f', '')), user, picture]),
        answer: invalid
      },
      {
        name: 'an unknown field of 2 MiB',
        body: form([user, field('junk', 'x'.repeat(2 * MIB)), picture]),
        answer: taken
      },
      { name: 'a field name of 70 KB', body: form([field('n'.repeat(70 * KIB), 'x'), user, picture]), answer: taken },
      {
        name: 'a Content-Disposition of 5,000 parameters',
        body: form([{ headers: [`${user.headers[0]}${'; a=b'.repeat(5000)}`], content: 'meera' }, picture]),
        answer: taken
      },
      { name: 'a file name of 70 KB', body: form([user, file(gif, { filename: 'x'.repeat(70 * KIB) })]), answer: taken }
    ],
    'fields in any order': [
      { name: 'fields, then the file', body: whole, answer: taken },
      { name: 'the file, then fields', body: form([picture, user]), answer: taken },
      { name: 'an empty user_id, last', body: form([picture, field('user_id', '')]), answer: noUser },
      { name: 'a title of white space, last', body: form([picture, user, field('title', ' ')]), answer: taken },
      { name: '3 MiB of HTML before the fields', body: form([file(' '.repeat(3 * MIB)), user]), answer: unsupported },
      {
        name: 'a category that is too long, last',
        body: form([picture, user, field('category', 'x'.repeat(256))]),
        answer: wrong({ category: [length] })
      },
      {
        name: 'a fit that is none, last',
        body: form([picture, user, field('fit', 'crop')]),
        answer: wrong({ fit: ['Must be one of: contain, cover, fill.'] })
      },
      { name: 'a fit, last', body: form([picture, user, field('fit', 'cover')]), answer: taken },
      {
        name: 'no user_id after a large file',
        body: form([file(gifOf(6 * MIB)), field('title', 'x')]),
        answer: noUser
      },
      {
        name: 'an empty title after a large file',
        body: form([file(gifOf(6 * MIB)), user, field('title', '')]),
        answer: taken
      },
      { name: 'a second file after a large file', body: form([user, file(gifOf(6 * MIB)), picture]), answer: invalid }
    ],
    'fields, and parts that are none': [
      { name: 'a NUL in a value', body: form([user, field('title', 'a\u0000b'), picture]), answer: taken },
      {
        name: 'broken UTF-8 in a value',
        body: form([user, field('title', Buffer.from([0x66, 0xff, 0x78])), picture]),
        answer: taken
      },
      {
        name: 'a user_id in JSON',
        body: form([field('user_id', '"meera"', 'Content-Type: application/json'), picture]),
        answer: taken
      },
      { name: 'a user_id given twice', body: form([field('user_id', 'first'), user, picture]), answer: taken },
      {
        name: 'a part without Content-Disposition',
        body: form([{ headers: ['Content-Type: text/plain'], content: 'x' }, user, picture]),
        answer: invalid
      },
      { name: 'a part without headers', body: form([{ headers: [], content: 'x' }, user, picture]), answer: invalid },
      {
        name: 'a part that is an attachment',
        body: form([{ headers: ['Content-Disposition: attachment; name="x"'], content: 'x' }, user, picture]),
        answer: invalid
      },
      {
        name: 'a header without colon',
        body: form([{ headers: ['Content-Disposition form-data', ...user.headers], content: 'meera' }, picture]),
        answer: invalid
      },
      {
        name: 'a header of nothing but a colon',
        body: form([{ headers: [': x', ...user.headers], content: 'meera' }, picture]),
        answer: invalid
      },
      { name: 'CR in a name', body: form([field('user\rid', 'x'), user, picture]), answer: invalid },
      { name: 'LF in a name', body: form([field('user\nid', 'x'), user, picture]), answer: invalid },
      {
        name: 'a name that is never closed',
        body: form([
          { headers: ['Content-Disposition: form-data; name="user'], content: 'x' },
          { headers: [], content: '' },
          picture
        ]),
        answer: invalid
      },
      ...['__proto__', 'constructor', 'toString', 'hasOwnProperty'].flatMap((name): Body[] => [
        { name: `a field called ${name}`, body: form([field(name, 'x'), user, picture]), answer: taken },
        { name: `a file called ${name}`, body: form([user, file(gif, { name })]), answer: noFile }
      ]),
      {
        name: 'broken JSON in a JSON field',
        body: form([user, field('title', '{"a":', 'Content-Type: application/json'), picture]),
        answer: invalid
      },
      {
        name: 'a prototype in a JSON field',
        body: form([user, field('title', '{"__proto__":{"admin":true}}', 'Content-Type: application/json'), picture]),
        answer: invalid
      },
      { name: 'no user_id', body: form([picture]), answer: noUser },
      { name: 'an empty user_id', body: form([field('user_id', ''), picture]), answer: noUser },
      { name: 'a user_id of white space', body: form([field('user_id', ' \t\u00a0\u3000'), picture]), answer: noUser },
      { name: 'a user_id of 256 characters', body: form([field('user_id', 'é'.repeat(256)), picture]), answer: noUser },
      { name: 'a user_id of 2 MiB', body: form([field('user_id', 'x'.repeat(2 * MIB)), picture]), answer: noUser },
      {
        name: 'a user_id that is an operator',
        body: form([field('user_id', '{"$gt":""}', 'Content-Type: application/json'), picture]),
        answer: noUser
      },
      {
        name: 'a user_id that is a JSON number',
        body: form([picture, field('user_id', '5', 'Content-Type: application/json')]),
        answer: noUser
      },
      ...['', ' ', '\t\u3000'].flatMap(blank =>
        ['type', 'category', 'title', 'fit'].map((name): Body => ({
          name: `a ${name} that is ${JSON.stringify(blank)}`,
          body: form([user, field(name, blank), picture]),
          answer: taken
        }))),
      {
        name: 'every optional field empty, behind the file',
        body: form([user, picture, ...['type', 'category', 'title', 'fit'].map(name => field(name, ''))]),
        answer: taken
      },
      {
        name: 'both too long',
        body: form([user, field('category', 'x'.repeat(256)), field('title', 'x'.repeat(70_000)), picture]),
        answer: wrong({ category: [length], title: [length] })
      },
      {
        name: 'a category that is a JSON null',
        body: form([user, field('category', 'null', 'Content-Type: application/json'), picture]),
        answer: wrong({ category: ['Not a valid string.'] })
      }
    ]
  }
  const bodies = Object.values(rows).flat()
  t.ok(bodies.length >= 130, `${bodies.length} bodies`)
  t.equal(new Set(bodies.map(({ name }) => name)).size, bodies.length, 'each has its name')

  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const { uploads, library } = service.app.collections
  let items = 0
  for (const [group, bodies] of Object.entries(rows)) {
    t.test(`A form is answered as the table says: ${group}`, async t => {
      for (const [i, { name, body, answer, type = FORM_TYPE }] of bodies.entries()) {
        const ways = [{ 'content-length': body.length }, {}]
        for (const headers of BOTH_WAYS ? ways : [ways[i % 2]]) {
          t.match(
            await send(service, token, [body], { agent, headers: { 'content-type': type, ...headers } }),
            answer,
            `${name}, ${'content-length' in headers! ? 'with its length' : 'in chunks'}`
          )
          if (answer === taken) items++
        }
        t.match(
          await send(service, token, [], { agent, method: 'GET', path: '/library?per_page=1' }),
          { status: 200 },
          `${name}: the connection works on, or a new one does`
        )
        t.equal(await uploads.countDocuments(UPLOAD_RECORDS), 0, `${name}: no upload record stays`)
        t.equal(await library.countDocuments(), items, `${name}: a form that is refused is no item`)
      }
      const remains = await service.remains()
      t.strictSame(
        { ...remains, objects: foldersOf(remains.objects).length },
        { objects: items, multipartUploads: [], uploads: 0, library: items },
        'nothing else stays'
      )
    })
  }
})
