import { createHash } from 'node:crypto'
import http from 'node:http'
import net from 'node:net'
import { gzipSync } from 'node:zlib'
import { ObjectId } from 'mongodb'
import t from 'tap'
import { BOUNDARY, field, file, form, FORM_TYPE } from '../helpers/multipart.js'
import { gif, gifOf, jpeg, png, webp } from '../helpers/small-pictures.js'
import { eventually } from '../helpers/wait.js'
import { foldersOf, startService, type Service } from '../helpers/service.js'
import { startServices } from '../helpers/backends.js'
import {
  hangUp,
  KIB,
  MIB,
  open,
  picture,
  pieces,
  requestHead,
  send,
  tooLarge,
  user,
  zeros,
  type Answer
} from '../helpers/upload-requests.js'
import { quiet } from '../helpers/faulty-setup.js'

const refusal = (status: number, error: string): Answer => ({ status, body: { error } })
const invalid = refusal(400, 'Invalid multipart body')
const noFile = refusal(400, 'No file part')
const noSelection = refusal(400, 'No selected file')
const noUser = refusal(400, 'Missing user_id')
const unsupported = refusal(400, 'Unsupported file type')
const notMultipart = refusal(415, 'Unsupported media type')
const wrong = (errors: Record<string, string[]>): Answer => ({ status: 400, body: { errors } })
const length = 'Length must be between 1 and 255.'
const taken = { status: 201, body: { message: 'File uploaded' } }

type Body = [name: string, body: Buffer, expected: Answer, contentType?: string]

const PAYLOADS = ['<script>', 'alert(1)', 'PK\u0003\u0004', '<?php']
const script = Buffer.from('<script>alert(1)</script>')
const withJpegSegment = (marker: number, content: Buffer) => Buffer.concat([
  jpeg.subarray(0, 2),
  Buffer.from([0xff, marker, 0, content.length + 2]),
  content,
  jpeg.subarray(2)
])
/** Pictures that are another format too, by bytes after their end or in their comments. */
const POLYGLOTS: Array<[name: string, bytes: Buffer, contentType: string]> = [
  ['GIF and JavaScript', Buffer.concat([gif, Buffer.from('/*\n*/=1;alert(1)//')]), 'image/gif'],
  [
    'GIF with a script as its comment',
    Buffer.concat([gif.subarray(0, -1), Buffer.from([0x21, 0xfe, script.length]), script, Buffer.from([0, 0x3b])]),
    'image/gif'
  ],
  ['GIF and PHP', Buffer.concat([gif, Buffer.from('<?php system($_GET[0]); ?>')]), 'image/gif'],
  [
    'PNG and zip',
    Buffer.concat([png, Buffer.from('PK\u0003\u0004\u0014\u0000\u0000\u0000evil'), Buffer.alloc(100)]),
    'image/png'
  ],
  [
    'PNG with a script as its text',
    Buffer.concat([
      png.subarray(0, -12),
      Buffer.from('0000002174455874436f6d6d656e74003c7363726970743e616c6572742831293c2f7363726970743e03002880', 'hex'),
      png.subarray(-12)
    ]),
    'image/png'
  ],
  ['PNG and HTML', Buffer.concat([png, script]), 'image/png'],
  ['JPEG and HTML', Buffer.concat([jpeg, script]), 'image/jpeg'],
  ['JPEG with a script as its comment', withJpegSegment(0xfe, script), 'image/jpeg'],
  [
    'JPEG with a script in its APP1',
    withJpegSegment(0xe1, Buffer.concat([Buffer.from('http://ns.adobe.com/xap/1.0/\0'), script])),
    'image/jpeg'
  ],
  ['JPEG and zip', Buffer.concat([jpeg, Buffer.from('PK\u0003\u0004evil')]), 'image/jpeg'],
  ['WebP and a script', Buffer.concat([webp, script]), 'image/webp']
]

/** The parameter that makes a part a file, in every way to name a file. */
const FILE_NAMES = [
  ...[
    'evil.gif',
    'evil',
    '../../evil',
    '..\\\\evil',
    '/etc/evil',
    'C:\\\\evil.gif',
    '\\\\\\\\evil\\\\share',
    '%2e%2e%2fevil',
    '..%c0%afevil',
    '%00evil.php',
    'evil\u0000.gif',
    'evil.php\u0000.gif',
    'evil%00.gif',
    '\u202Efig.live',
    'evil\u200b',
    '\ufeffevil',
    'evil\u2028x',
    'evil\u001b[31m',
    'evil\u007f',
    '😀'.repeat(50),
    '日本',
    'e\u0301vil',
    'İevil',
    'ﬀevil',
    '\ud7ffevil',
    'x'.repeat(255),
    'x'.repeat(256),
    'x'.repeat(10_000),
    'evil.'.repeat(2000),
    '../'.repeat(3000),
    'con',
    'CON.gif',
    'nul',
    'aux.gif',
    'com1',
    'lpt1.gif',
    'prn',
    '.',
    '..',
    '...',
    ' ',
    '  evil  ',
    '\tevil',
    '.htaccess',
    '.evil.gif',
    'evil.',
    'evil.gif.',
    'evil.gif ',
    '~',
    '-rf',
    '*',
    '?',
    'evil|id',
    '$(evil)',
    '`evil`',
    ';evil',
    '&evil',
    '<evil>',
    '<script>evil</script>',
    "' OR evil --",
    '{"$gt":""}',
    '$where',
    '__proto__',
    'constructor',
    'evil.svg',
    'evil.html',
    'evil.gif.exe',
    'evil.php5',
    'evil.GIF',
    'evil.gif;.jpg',
    'evil.gif:$DATA',
    'data:text/html,evil',
    'http://evil.example/x.gif',
    'file:///evil',
    '%0d%0aX-Evil: 1',
    'evil\\"quoted\\".gif',
    'undefined',
    'null',
    'library/evil',
    'original.gif'
  ].map(name => `filename="${name}"`),
  'filename=evil.gif',
  "filename='evil.gif'",
  "filename*=UTF-8''evil%C3%B6.gif",
  "filename*=utf-8'en'..%2Fevil.gif",
  "filename=\"evil.gif\"; filename*=UTF-8''x%00.gif",
  "filename*=iso-8859-1''%e9vil",
  'FileName="evil.gif"',
  'filename = "evil.gif"',
  'filename="evil.gif"; size=99',
  'filename="evil.gif"; filename="other.gif"',
  'filename="evil.gif";'
]

const html = '<!doctype html><script>alert(1)</script>'

t.test('POST /library/upload: bodies', async t => {
  const service = await startService(t)
  const { token } = await service.signIn()
  const many = (n: number) => Array.from({ length: n }, (_, i) => field(`f${i}`, 'x'))
  const named = (boundary: string, quote = '') => `multipart/form-data; boundary=${quote}${boundary}${quote}`
  const unlike = (content: string | Buffer) => form([user, file(content)])
  const end = `\r\n--${BOUNDARY}--\r\n`
  const whole = form([user, picture])

  const rows: Record<string, Body[]> = {
    'boundaries, beginnings and ends': [
      ['a preamble', form([user, picture], { preamble: 'This is a multi-part message.\r\nIn MIME format.' }), taken],
      ['an epilogue', form([user, picture], { end: `${end}The end.` }), taken],
      ['no line break at the end', form([user, picture], { end: `\r\n--${BOUNDARY}--` }), taken],
      [
        'a boundary of 70 characters',
        form([user, picture], { boundary: 'x'.repeat(70) }),
        taken,
        named('x'.repeat(70))
      ],
      [
        'a boundary in quotes',
        form([user, picture], { boundary: "a b:c=?/'()+_,-." }),
        taken,
        named("a b:c=?/'()+_,-.", '"')
      ],
      [
        'a boundary after another parameter, in capitals',
        whole,
        taken,
        `Multipart/Form-Data; charset=utf-8; Boundary=${BOUNDARY}`
      ],
      [
        'a file whose bytes nearly end it',
        form([user, file(Buffer.concat([gif, Buffer.from(`\r\n--${BOUNDARY.slice(0, -1)}\r\n--\r\n`)]))]),
        taken
      ],
      ['nothing', Buffer.alloc(0), invalid],
      ['a line break', Buffer.from('\r\n'), invalid],
      ['text', Buffer.from('hello'), invalid],
      ['only a first boundary', Buffer.from(`--${BOUNDARY}\r\n`), invalid],
      ['no boundary in the header', whole, invalid, 'multipart/form-data'],
      ['an empty boundary', whole, invalid, 'multipart/form-data; boundary='],
      ['an empty boundary in quotes', whole, invalid, 'multipart/form-data; boundary=""'],
      ['another boundary', whole, invalid, named('another')],
      [
        'a boundary of 71 characters',
        form([user, picture], { boundary: 'x'.repeat(71) }),
        invalid,
        named('x'.repeat(71))
      ],
      [
        'a boundary of 8 KB',
        form([user, picture], { boundary: 'x'.repeat(8 * KIB) }),
        invalid,
        named('x'.repeat(8 * KIB))
      ],
      [
        'a boundary of characters that are none',
        form([user, picture], { boundary: 'a@b' }),
        invalid,
        named('a@b', '"')
      ],
      ['no last boundary', form([user, picture], { end: '' }), invalid],
      ['half a last boundary', form([user, picture], { end: `\r\n--${BOUNDARY.slice(0, 10)}` }), invalid],
      [
        'a boundary that is not the last one, at the end',
        form([user, picture], { end: `\r\n--${BOUNDARY}\r\n` }),
        invalid
      ],
      ['a cut in the headers of a part', whole.subarray(0, 40), invalid],
      ['a cut in the file', whole.subarray(0, -60), invalid],
      ['line feeds for line breaks', Buffer.from(whole.toString('latin1').replaceAll('\r\n', '\n'), 'latin1'), invalid],
      ['an epilogue of 1 MiB', form([user, picture], { end: end + 'x'.repeat(MIB) }), invalid],
      ['a last boundary, and the form once more', Buffer.concat([whole, whole]), invalid],
      ...[
        'application/json', 'text/plain', 'multipart/mixed; boundary=x', 'multipart/form-datax; boundary=x',
        'application/x-www-form-urlencoded', 'image/gif', 'x', '/'
      ].map((type): Body => [`the type ${type}`, whole, notMultipart, type]),
      ...[17, 70, 300, 1100].map((kib): Body =>
        [
          `a part of ${kib} KiB without Content-Disposition`,
          form([user, { headers: ['Content-Type: image/gif'], content: gifOf(kib * KIB) }, picture]),
          invalid
        ]),
      ...[17, 70, 300].map((kib): Body =>
        [
          `an attachment of ${kib} KiB after the file`,
          form([
            user,
            picture,
            { headers: ['Content-Disposition: attachment; name="x"; filename="x.gif"'], content: gifOf(kib * KIB) }
          ]),
          invalid
        ]),
      ['a preamble of 1 MiB', form([user, picture], { preamble: 'x'.repeat(MIB) }), taken],
      ['a preamble of line breaks', form([user, picture], { preamble: '\r\n'.repeat(1000) }), taken],
      [
        'a preamble that looks like headers',
        form([user, picture], { preamble: 'Content-Disposition: form-data; name="file"; filename="x.gif"\r\n' }),
        taken
      ],
      ['a boundary of one character', form([user, picture], { boundary: 'q' }), taken, named('q')],
      ['a boundary that begins as another ends', form([user, picture], { boundary: '----' }), taken, named('----')],
      ['a boundary that is the start of the one in the form', whole, invalid, named(BOUNDARY.slice(0, -1))],
      [
        'two boundaries in the header, the form by the second',
        whole,
        invalid,
        `multipart/form-data; boundary=x; boundary=${BOUNDARY}`
      ],
      ['nothing between two boundaries', Buffer.concat([Buffer.from(`--${BOUNDARY}\r\n`), whole]), invalid],
      ['an epilogue of 60 KiB', form([user, picture], { end: end + 'x'.repeat(60 * KIB) }), taken],
      ['zeros', Buffer.alloc(100 * KIB), invalid],
      ['nothing but line breaks', Buffer.from('\r\n'.repeat(50_000)), invalid]
    ],
    'one file, called file': [
      ['a text field called file beside the file', form([field('file', 'text'), user, picture]), taken],
      ['two files', form([user, picture, file(png)]), invalid],
      ['two files, the first under another name', form([user, file(png, { name: 'other' }), picture]), invalid],
      ['two files, the second under another name', form([user, picture, file(png, { name: 'other' })]), invalid],
      ['two files under other names', form([user, file(png, { name: 'a' }), file(png, { name: 'b' })]), invalid],
      ['user_id as a file', form([file('meera', { name: 'user_id' }), picture]), invalid],
      ['no part at all', Buffer.from(`--${BOUNDARY}--\r\n`), noFile],
      ['no file', form([user]), noFile],
      ['a text field called file', form([user, field('file', gif)]), noFile],
      [
        'a text field called file of an image type',
        form([user, field('file', gif, 'Content-Type: image/gif')]),
        noFile
      ],
      ['a file under another name', form([user, file(gif, { name: 'picture' })]), noFile],
      ['a file called File', form([user, file(gif, { name: 'File' })]), noFile],
      [
        'a file without a name',
        form([user, { headers: ['Content-Disposition: form-data; filename="fox.gif"'], content: gif }]),
        noFile
      ],
      [
        'a file under another name, far beyond the limit',
        form([user, file(gifOf(13 * MIB), { name: 'picture' })]),
        noFile
      ],
      ['an empty file name', form([user, file(gif, { filename: '' })]), noSelection],
      ['an empty file name and nothing else', form([file('', { filename: '' })]), noSelection],
      ['an empty file', unlike(''), unsupported]
    ],
    'too many, too long, too deep': [
      ['20 parts', form([...many(9), user, picture, ...many(9)]), taken],
      ['an unknown field of 10 KB name', form([field('n'.repeat(10 * KIB), 'x'), user, picture]), taken],
      ['a field name nested 10,000 deep', form([field(`a${'[b]'.repeat(10_000)}`, 'x'), user, picture]), taken],
      [
        'part headers of 30 KB',
        form([{ headers: [...user.headers, `X-Junk: ${'j'.repeat(30 * KIB)}`], content: 'meera' }, picture]),
        taken
      ],
      ['21 parts', form([...many(10), user, picture, ...many(9)]), invalid],
      ['1,000 fields', form([user, ...many(1000), picture]), invalid],
      ['100,000 fields after the file', form([picture, user, ...many(100_000)]), invalid],
      [
        'part headers of 100 KB before what counts',
        form([{ headers: [`X-Junk: ${'j'.repeat(100 * KIB)}`, ...user.headers], content: 'meera' }, picture]),
        invalid
      ],
      [
        '3,000 part headers before what counts',
        form([
          { headers: [...Array.from({ length: 3000 }, (_, i) => `X-${i}: x`), ...user.headers], content: 'meera' },
          picture
        ]),
        invalid
      ],
      ['a field of 64 KiB after the file', form([user, picture, field('title', 'x'.repeat(64 * KIB))]), invalid],
      [
        '100 headers in a part',
        form([
          { headers: [...user.headers, ...Array.from({ length: 99 }, (_, i) => `X-${i}: x`)], content: 'meera' },
          picture
        ]),
        taken
      ],
      [
        '100,000 parts before the file',
        form([...Array.from({ length: 100_000 }, () => field('f', '')), user, picture]),
        invalid
      ],
      ['an unknown field of 2 MiB', form([user, field('junk', 'x'.repeat(2 * MIB)), picture]), taken],
      ['a field name of 70 KB', form([field('n'.repeat(70 * KIB), 'x'), user, picture]), taken],
      [
        'a Content-Disposition of 5,000 parameters',
        form([{ headers: [`${user.headers[0]}${'; a=b'.repeat(5000)}`], content: 'meera' }, picture]),
        taken
      ],
      ['a file name of 70 KB', form([user, file(gif, { filename: 'x'.repeat(70 * KIB) })]), taken]
    ],
    'fields in any order': [
      ['fields, then the file', whole, taken],
      ['the file, then fields', form([picture, user]), taken],
      ['an empty user_id, last', form([picture, field('user_id', '')]), noUser],
      ['a title of white space, last', form([picture, user, field('title', ' ')]), taken],
      ['3 MiB of HTML before the fields', form([file(' '.repeat(3 * MIB)), user]), unsupported],
      [
        'a category that is too long, last',
        form([picture, user, field('category', 'x'.repeat(256))]),
        wrong({ category: [length] })
      ],
      [
        'a fit that is none, last',
        form([picture, user, field('fit', 'crop')]),
        wrong({ fit: ['Must be one of: contain, cover, fill.'] })
      ],
      ['a fit, last', form([picture, user, field('fit', 'cover')]), taken],
      ['no user_id after a large file', form([file(gifOf(6 * MIB)), field('title', 'x')]), noUser],
      ['an empty title after a large file', form([file(gifOf(6 * MIB)), user, field('title', '')]), taken],
      ['a second file after a large file', form([user, file(gifOf(6 * MIB)), picture]), invalid]
    ],
    'fields, and parts that are none': [
      ['a NUL in a value', form([user, field('title', 'a\u0000b'), picture]), taken],
      ['broken UTF-8 in a value', form([user, field('title', Buffer.from([0x66, 0xff, 0x78])), picture]), taken],
      ['a user_id in JSON', form([field('user_id', '"meera"', 'Content-Type: application/json'), picture]), taken],
      ['a user_id given twice', form([field('user_id', 'first'), user, picture]), taken],
      [
        'a part without Content-Disposition',
        form([{ headers: ['Content-Type: text/plain'], content: 'x' }, user, picture]),
        invalid
      ],
      ['a part without headers', form([{ headers: [], content: 'x' }, user, picture]), invalid],
      [
        'a part that is an attachment',
        form([{ headers: ['Content-Disposition: attachment; name="x"'], content: 'x' }, user, picture]),
        invalid
      ],
      [
        'a header without colon',
        form([{ headers: ['Content-Disposition form-data', ...user.headers], content: 'meera' }, picture]),
        invalid
      ],
      [
        'a header of nothing but a colon',
        form([{ headers: [': x', ...user.headers], content: 'meera' }, picture]),
        invalid
      ],
      ['CR in a name', form([field('user\rid', 'x'), user, picture]), invalid],
      ['LF in a name', form([field('user\nid', 'x'), user, picture]), invalid],
      [
        'a name that is never closed',
        form([
          { headers: ['Content-Disposition: form-data; name="user'], content: 'x' },
          { headers: [], content: '' },
          picture
        ]),
        invalid
      ],
      ...['__proto__', 'constructor', 'toString', 'hasOwnProperty'].flatMap((name): Body[] => [
        [`a field called ${name}`, form([field(name, 'x'), user, picture]), taken],
        [`a file called ${name}`, form([user, file(gif, { name })]), noFile]
      ]),
      [
        'broken JSON in a JSON field',
        form([user, field('title', '{"a":', 'Content-Type: application/json'), picture]),
        invalid
      ],
      [
        'a prototype in a JSON field',
        form([user, field('title', '{"__proto__":{"admin":true}}', 'Content-Type: application/json'), picture]),
        invalid
      ],
      ['no user_id', form([picture]), noUser],
      ['an empty user_id', form([field('user_id', ''), picture]), noUser],
      ['a user_id of white space', form([field('user_id', ' \t\u00a0\u3000'), picture]), noUser],
      ['a user_id of 256 characters', form([field('user_id', 'é'.repeat(256)), picture]), noUser],
      ['a user_id of 2 MiB', form([field('user_id', 'x'.repeat(2 * MIB)), picture]), noUser],
      [
        'a user_id that is an operator',
        form([field('user_id', '{"$gt":""}', 'Content-Type: application/json'), picture]),
        noUser
      ],
      [
        'a user_id that is a JSON number',
        form([picture, field('user_id', '5', 'Content-Type: application/json')]),
        noUser
      ],
      ...['', ' ', '\t\u3000'].flatMap(blank =>
        ['type', 'category', 'title', 'fit'].map((name): Body =>
          [`a ${name} that is ${JSON.stringify(blank)}`, form([user, field(name, blank), picture]), taken])),
      [
        'every optional field empty, behind the file',
        form([user, picture, ...['type', 'category', 'title', 'fit'].map(name => field(name, ''))]),
        taken
      ],
      [
        'both too long',
        form([user, field('category', 'x'.repeat(256)), field('title', 'x'.repeat(70_000)), picture]),
        wrong({ category: [length], title: [length] })
      ],
      [
        'a category that is a JSON null',
        form([user, field('category', 'null', 'Content-Type: application/json'), picture]),
        wrong({ category: ['Not a valid string.'] })
      ]
    ],
    'files that are no picture': [
      ['HTML called .gif', unlike(html), unsupported],
      ['3 MiB of HTML', unlike(html + ' '.repeat(3 * MIB)), unsupported],
      [
        'SVG',
        form([
          user,
          file('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', {
            filename: 'x.svg',
            type: 'image/svg+xml'
          })
        ]),
        unsupported
      ],
      ['a script', unlike('#!/bin/sh\nid\n'), unsupported],
      ['PDF', unlike('%PDF-1.7\n'), unsupported],
      ['a program', unlike('MZ\u0090\u0000\u0003'), unsupported],
      ['BMP', unlike('BM\u0000\u0000\u0000\u0000'), unsupported],
      ['TIFF', unlike('II*\u0000\u0008\u0000'), unsupported],
      ['AVIF', unlike('\u0000\u0000\u0000 ftypavif'), unsupported],
      ['WAVE', unlike(Buffer.concat([Buffer.from('RIFF'), webp.subarray(4, 8), Buffer.from('WAVE')])), unsupported],
      ['a GIF version that never was', unlike('GIF88a\u0001\u0000\u0001\u0000'), unsupported],
      ['half a PNG signature', unlike(png.subarray(0, 6)), unsupported],
      ['half a WebP signature', unlike(webp.subarray(0, 10)), unsupported],
      ['a GIF after a space', unlike(Buffer.concat([Buffer.from(' '), gif])), unsupported],
      ['HTML as a PNG', unlike(html), unsupported],
      [
        'SVG with a script, called .png',
        form([
          user,
          file('<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', {
            filename: 'x.png',
            type: 'image/png'
          })
        ]),
        unsupported
      ],
      ['SVG in gzip', unlike(gzipSync('<svg xmlns="http://www.w3.org/2000/svg"/>')), unsupported],
      ['JavaScript that names GIF later', unlike('/*GIF89a*/alert(1)'), unsupported],
      [
        'XML',
        unlike('<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'),
        unsupported
      ],
      ['zip', unlike('PK\u0003\u0004\u0014\u0000\u0000\u0000'), unsupported],
      ['an icon', unlike(Buffer.from([0, 0, 1, 0, 1, 0, 16, 16, 0, 0, 1, 0])), unsupported],
      ['JPEG XL', unlike(Buffer.from([0xff, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])), unsupported],
      ['ELF', unlike('\u007fELF\u0002\u0001\u0001'), unsupported],
      ['a GIF in UTF-16', unlike(Buffer.from('GIF89a', 'utf16le')), unsupported],
      ['a GIF after a byte order mark', unlike(Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), gif])), unsupported],
      [
        'PNG with line breaks changed on the way',
        unlike(Buffer.from(png.toString('latin1').replace('\r\n', '\n'), 'latin1')),
        unsupported
      ]
    ]
  }
  const bodies = Object.values(rows).flat()
  t.ok(bodies.length >= 150, `${bodies.length} bodies`)
  t.equal(new Set(bodies.map(([name]) => name)).size, bodies.length, 'each has its name')

  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  for (const [row, bodies] of Object.entries(rows)) {
    t.test(`A form is answered as the table says: ${row}`, async t => {
      for (const [name, body, expected, type = FORM_TYPE] of bodies) {
        let { library } = await service.remains()
        for (const headers of [{ 'content-length': body.length }, {}]) {
          t.match(
            await send(service, token, [body], { agent, headers: { 'content-type': type, ...headers } }),
            expected,
            `${name}${'content-length' in headers ? '' : ', in chunks'}`
          )
          if (expected === taken) library++
        }
        t.match(
          await send(service, token, [], { agent, method: 'GET', path: '/library?per_page=1' }),
          { status: 200 },
          `${name}: the connection works on, or a new one does`
        )
        const remains = await service.remains()
        t.strictSame(
          { ...remains, objects: foldersOf(remains.objects).length },
          { objects: library, multipartUploads: [], uploads: 0, library },
          `${name}: nothing else stays`
        )
      }
    })
  }

  t.test('A file name has no say: not in the key, not in the type, not in what is stored', async t => {
    t.ok(new Set(FILE_NAMES).size >= 60, `${FILE_NAMES.length} names`)
    const keys = new Set<string>()
    for (const parameter of FILE_NAMES) {
      const name = Buffer.from(parameter).toString('latin1', 0, 50).replace(/[^ -~]/g, '.')
      const body = form([
        user,
        { headers: [Buffer.from(`Content-Disposition: form-data; name="file"; ${parameter}`)], content: gif }
      ])
      const answer = await send(service, token, [body], { agent, headers: { 'content-length': body.length } })
      t.match(answer, { status: 201, body: { content_type: 'image/gif' } }, name)
      t.match(new URL(answer.body.url).pathname, /\/library\/[0-9a-f-]{36}\/original\.gif$/, name)
      keys.add(answer.body.url)
      const stored = JSON.stringify(await service.app.collections.library.findOne({
        _id: new ObjectId(String(answer.body.id))
      }))
      t.notMatch(stored, /evil/, `${name} is stored nowhere`)
    }
    t.equal(keys.size, FILE_NAMES.length)
  })

  t.test('An uploaded item is one line in the log', async t => {
    const body = form([user, { headers: ['Content-Disposition: form-data; name="file"; filename="a.gif"'], content: gif }])
    const { status, body: { id } } = await send(service, token, [body], { headers: { 'content-length': body.length } })
    t.equal(status, 201)
    const lines = service.logs.filter(line => line.includes('"library.uploaded"') && line.includes(`"${id}"`))
    t.match(lines.map(line => JSON.parse(line)), [{ content_type: 'image/gif', size: gif.length }])
    t.equal(lines.length, 1)
  })

  t.test('Data beside the picture is not served', async t => {
    for (const [name, bytes, contentType] of POLYGLOTS) {
      for (const lie of [
        { filename: 'x.html', type: 'text/html' },
        { filename: 'x.js', type: 'application/javascript' },
        { filename: 'x.php.png', type: 'image/svg+xml' }
      ]) {
        const { status, body } = await send(service, token, [form([user, file(bytes, lie)])])
        t.equal(status, 201, name)
        t.match(body, { content_type: contentType, size: bytes.length }, name)
        const response = await fetch(body.original_url ?? body.url)
        t.equal(response.headers.get('content-type'), contentType, name)
        const served = Buffer.from(await response.arrayBuffer())
        t.equal(body.sha256, createHash('sha256').update(served).digest('hex'), name)
        t.notOk(PAYLOADS.some(payload => served.includes(payload)), `${name}: only the picture`)
      }
    }
  })

  t.strictSame(Object.keys(Object.prototype), [])

  t.test('64 KiB after the file are taken, one byte more is not', async t => {
    for (const before of [gif, gifOf(100_000)]) {
      const exactly = form([user, file(before)], { end: end + 'x'.repeat(64 * KIB - end.length) })
      t.equal((await send(service, token, [exactly])).status, 201)
      t.match(await send(service, token, [exactly, 'x']), invalid)
      for (const piece of [1, 7, 1000, 65_000]) {
        t.equal(
          (await send(service, token, pieces(form([user, file(gif)], { end }), piece))).status,
          201,
          `in pieces of ${piece}`
        )
      }
    }
  })

  t.test('No content type at all is 415, no good token 401, and the rest of the body does no harm', async t => {
    t.match(await send(service, token, [whole], { headers: { 'content-type': undefined } }), notMultipart)
    const big = form([user, file(gifOf(8 * MIB))])
    for (const authorization of [undefined, 'Bearer x.y.z']) {
      const { status, headers } = await send(service, '', [big], { agent, headers: { authorization } })
      t.equal(status, 401)
      t.match(headers['www-authenticate'], /^Bearer/)
      t.match(await send(service, token, [], { agent, method: 'GET', path: '/library?per_page=1' }), { status: 200 })
    }
  })

  t.test('A client that sends all before it reads gets the early refusal, also on a connection that ends', async t => {
    const body = form([user, file(gifOf(9 * MIB), { filename: '' })])
    for (const connection of ['keep-alive', 'close']) {
      t.match(
        await sendThenRead(service, token, body, connection),
        /^HTTP\/1\.1 400 .*\{"error":"No selected file"\}/s,
        connection
      )
    }
  })

  t.test('A form shorter or longer than its Content-Length is refused', async t => {
    const before = await service.remains()
    const short = await sendThenRead(service, token, whole, 'keep-alive', whole.length - 50)
    t.match(
      short,
      /^HTTP\/1\.1 400 .*\{"error":".*"\}/s,
      'too small: the form is unfinished, and what follows is no request'
    )
    t.strictSame(await eventually(() => quiet(service)), before, 'too small: nothing stays')
    const request = open(service, token, { 'content-length': whole.length + 50 })
    request.write(whole)
    await eventually(async () => (await service.app.collections.uploads.countDocuments()) === 1)
    await hangUp(service, request)
    t.strictSame(await eventually(() => quiet(service)), before, 'too large: nothing stays')
  })
})

t.test('POST /library/upload and its limit', async t => {
  const services = await startServices(t)
  for (const limit of [1000, 6 * MIB, 10 * MIB]) {
    t.test(`A file of ${limit} bytes passes, one more is 413`, async t => {
      const service = await startService(t, {
        services,
        env: limit === 10 * MIB ? {} : { UPLOAD_MAX_BYTES: String(limit) }
      })
      const { token } = await service.signIn()
      const before = await service.remains()
      for (const fileFirst of [false, true]) {
        const attempt = (size: number) => {
          const picture = file(gifOf(size))
          const body = form(fileFirst ? [picture, user] : [user, picture])
          return send(service, token, pieces(body, 64 * KIB), {
            headers: fileFirst ? {} : { 'content-length': body.length }
          })
        }
        t.match(await attempt(limit), { status: 201, body: { size: limit } })
        for (const over of [1, limit]) t.match(await attempt(limit + over), tooLarge(limit), `${over} more`)
      }
      const after = await eventually(() => quiet(service))
      t.strictSame({ ...after, objects: foldersOf(after.objects).length }, {
        objects: foldersOf(before.objects).length + 2,
        multipartUploads: [],
        uploads: 0,
        library: before.library + 2
      })
    })
  }

  t.test('An endless file is 413, and its connection ends', async t => {
    const service = await startService(t, { services, env: { UPLOAD_MAX_BYTES: '1000' } })
    const { token } = await service.signIn()
    const before = await service.remains()
    for (const parts of [[user, picture], [picture]]) {
      for (const connection of ['keep-alive', 'close']) {
        const socket = net.connect({ host: '127.0.0.1', port: Number(new URL(service.url).port) }).on('error', () => {})
        const closed = new Promise(resolve => socket.on('close', resolve))
        let text = ''
        socket.on('data', chunk => { text += chunk })
        socket.write(requestHead(token, { 'Transfer-Encoding': 'chunked', Connection: connection }))
        const write = (bytes: Buffer) => socket.write(Buffer.concat([
          Buffer.from(`${bytes.length.toString(16)}\r\n`),
          bytes,
          Buffer.from('\r\n')
        ]))
        const stream = () => { while (!socket.destroyed && write(zeros)) continue }
        socket.on('drain', stream)
        write(form(parts, { end: '' }))
        stream()
        await closed
        t.match(
          text,
          /^HTTP\/1\.1 413 .*\r\n\r\n\{"error":"File is larger than 1000 bytes"\}$/s,
          `${parts.length} parts, ${connection}`
        )
      }
    }
    t.strictSame(await eventually(() => quiet(service)), before)
  })

  t.test('The first of several faults in the order of the list is answered', async t => {
    const limit = 1000
    const service = await startService(t, { services, env: { UPLOAD_MAX_BYTES: String(limit) } })
    const { token } = await service.signIn()
    const before = await service.remains()
    const list: Array<[fault: string, answer: Answer]> = [
      ['malformed', invalid],
      ['no file part', noFile],
      ['no selection', noSelection],
      ['no user', noUser],
      ['bad field', wrong({ title: [length] })],
      ['unsupported', unsupported],
      ['too large', tooLarge(limit)]
    ]
    const clearAtStart = { fieldsFirst: ['no selection', 'no user', 'bad field'], fileFirst: ['no selection'] }
    for (const [i, [one]] of list.entries()) {
      for (const [another] of list.slice(i)) {
        for (const order of ['fieldsFirst', 'fileFirst'] as const) {
          const has = (fault: string) => fault === one || fault === another
          const size = has('too large') ? limit + 1 : gif.length
          const content = has('unsupported') ? Buffer.alloc(size, html) : gifOf(size)
          const fields = [
            has('no user') ? field('user_id', ' ') : user,
            ...(has('bad field') ? [field('title', 'x'.repeat(256))] : [])
          ]
          const sent = file(content, {
            name: has('no file part') ? 'other' : 'file',
            filename: has('no selection') ? '' : 'x.gif'
          })
          const body = form(
            order === 'fieldsFirst' ? [...fields, sent] : [sent, ...fields],
            has('malformed') ? { end: '' } : {}
          )
          const known = list.find(([fault]) =>
            has(fault) && !has('no file part') && clearAtStart[order].includes(fault))
          const [first, expected] = known ?? list.find(([fault]) => has(fault))!
          t.match(await send(service, token, [body]), expected, `${one}, ${another}, ${order}: ${first}`)
        }
      }
    }
    t.strictSame(await eventually(() => quiet(service)), before)
  })
})

/**
 * Writes a whole request before it reads a byte of the answer. Resolves with all bytes until the connection ends or the
 * answer is whole.
 */
async function sendThenRead (
  { url }: Service,
  token: string,
  body: Buffer,
  connection: string,
  contentLength = body.length
): Promise<string> {
  const socket = net.connect({ host: '127.0.0.1', port: Number(new URL(url).port) }).pause()
  let gone: Error | undefined
  socket.on('error', error => { gone = error })
  socket.write(requestHead(token, { 'Content-Length': contentLength, Connection: connection }))
  await new Promise<void>(resolve => { socket.write(body, () => resolve()) })
  let text = ''
  for await (const chunk of socket) {
    text += chunk
    if (/\r\n\r\n\{.*\}$/s.test(text)) break
  }
  if (gone) throw gone
  return text
}
