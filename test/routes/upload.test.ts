import http from 'node:http'
import net from 'node:net'
import { gzipSync } from 'node:zlib'
import { ObjectId } from 'mongodb'
import t, { type Test } from 'tap'
import { sha256 } from '../helpers/bytes.js'
import { BOUNDARY, field, file, form } from '../helpers/multipart.js'
import { gif, gifOf, jpeg, png, webp } from '../helpers/small-pictures.js'
import { eventually } from '../helpers/wait.js'
import { foldersOf, startService, type Service } from '../helpers/service.js'
import { startServices } from '../helpers/backends.js'
import { scale } from '../helpers/test-length.js'
import {
  hangUp,
  KIB,
  MIB,
  open,
  picture,
  pieces,
  refusal,
  requestHead,
  send,
  tooLarge,
  user,
  zeros,
  type Answer
} from '../helpers/upload-requests.js'
import { quiet } from '../helpers/faulty-setup.js'

const invalid = refusal(400, 'Invalid multipart body')
const noSelection = refusal(400, 'No selected file')
const unsupported = refusal(400, 'Unsupported file type')
const notMultipart = refusal(415, 'Unsupported media type')
const length = 'Length must be between 1 and 255.'

const PAYLOADS = ['<script>', 'alert(1)', 'PK\u0003\u0004', '<?php']
const script = Buffer.from('<script>alert(1)</script>')
const withJpegSegment = (marker: number, content: Buffer) => Buffer.concat([
  jpeg.subarray(0, 2),
  Buffer.from([0xff, marker, 0, content.length + 2]),
  content,
  jpeg.subarray(2)
])
/** Pictures that are another format too, by bytes after their end or in their comments. */
const POLYGLOTS: Array<{ name: string, bytes: Buffer, type: string }> = [
  { name: 'GIF and JavaScript', bytes: Buffer.concat([gif, Buffer.from('/*\n*/=1;alert(1)//')]), type: 'image/gif' },
  {
    name: 'GIF with a script as its comment',
    bytes: Buffer.concat([
      gif.subarray(0, -1),
      Buffer.from([0x21, 0xfe, script.length]),
      script,
      Buffer.from([0, 0x3b])
    ]),
    type: 'image/gif'
  },
  { name: 'GIF and PHP', bytes: Buffer.concat([gif, Buffer.from('<?php system($_GET[0]); ?>')]), type: 'image/gif' },
  {
    name: 'PNG and zip',
    bytes: Buffer.concat([png, Buffer.from('PK\u0003\u0004\u0014\u0000\u0000\u0000evil'), Buffer.alloc(100)]),
    type: 'image/png'
  },
  {
    name: 'PNG with a script as its text',
    bytes: Buffer.concat([
      png.subarray(0, -12),
      Buffer.from('0000002174455874436f6d6d656e74003c7363726970743e616c6572742831293c2f7363726970743e03002880', 'hex'),
      png.subarray(-12)
    ]),
    type: 'image/png'
  },
  { name: 'PNG and HTML', bytes: Buffer.concat([png, script]), type: 'image/png' },
  { name: 'JPEG and HTML', bytes: Buffer.concat([jpeg, script]), type: 'image/jpeg' },
  { name: 'JPEG with a script as its comment', bytes: withJpegSegment(0xfe, script), type: 'image/jpeg' },
  {
    name: 'JPEG with a script in its APP1',
    bytes: withJpegSegment(0xe1, Buffer.concat([Buffer.from('http://ns.adobe.com/xap/1.0/\0'), script])),
    type: 'image/jpeg'
  },
  { name: 'JPEG and zip', bytes: Buffer.concat([jpeg, Buffer.from('PK\u0003\u0004evil')]), type: 'image/jpeg' },
  { name: 'WebP and a script', bytes: Buffer.concat([webp, script]), type: 'image/webp' }
]

const quoted = (...names: string[]) => names.map(name => `filename="${name}"`)
/** The parameters that make a part a file, by kind. The short run tries the first of each kind. */
const FILE_NAMES: Record<string, string[]> = {
  plain: quoted('evil.gif', 'evil', 'evil.GIF', 'original.gif', 'library/evil'),
  'a path': quoted('../../evil', '../'.repeat(3000), '/etc/evil', '%2e%2e%2fevil', '..%c0%afevil'),
  'a Windows path': quoted('..\\\\evil', 'C:\\\\evil.gif', '\\\\\\\\evil\\\\share', 'evil.gif:$DATA'),
  'a NUL': quoted('evil\u0000.gif', 'evil.php\u0000.gif', 'evil%00.gif', '%00evil.php'),
  'an invisible character': quoted('\u202Efig.live', 'evil\u200b', '\ufeffevil', 'evil\u2028x'),
  'a control character': quoted('evil\u001b[31m', 'evil\u007f'),
  'other than ASCII': quoted('😀'.repeat(50), '日本', 'e\u0301vil', 'İevil', 'ﬀevil', '\ud7ffevil'),
  long: quoted('x'.repeat(10_000), 'x'.repeat(255), 'x'.repeat(256), 'evil.'.repeat(2000)),
  'a device': quoted('con', 'CON.gif', 'nul', 'aux.gif', 'com1', 'lpt1.gif', 'prn'),
  dots: quoted('..', '.', '...', '.htaccess', '.evil.gif', 'evil.', 'evil.gif.'),
  spaces: quoted(' ', '  evil  ', '\tevil', 'evil.gif '),
  'for a shell': quoted('$(evil)', '~', '-rf', '*', '?', 'evil|id', '`evil`', ';evil', '&evil'),
  'for a page': quoted('<script>evil</script>', '<evil>'),
  'for a database': quoted('{"$gt":""}', "' OR evil --", '$where'),
  'for JavaScript': quoted('__proto__', 'constructor', 'undefined', 'null'),
  'another type': quoted('evil.gif.exe', 'evil.svg', 'evil.html', 'evil.php5', 'evil.gif;.jpg'),
  'an address': quoted('data:text/html,evil', 'http://evil.example/x.gif', 'file:///evil'),
  'a header': quoted('%0d%0aX-Evil: 1'),
  'quotes in it': quoted('evil\\"quoted\\".gif'),
  'no double quotes': ['filename=evil.gif', "filename='evil.gif'", 'filename = "evil.gif"'],
  encoded: [
    "filename*=utf-8'en'..%2Fevil.gif",
    "filename*=UTF-8''evil%C3%B6.gif",
    "filename=\"evil.gif\"; filename*=UTF-8''x%00.gif",
    "filename*=iso-8859-1''%e9vil"
  ],
  'in capitals': ['FileName="evil.gif"'],
  'with more after it': [
    'filename="evil.gif"; filename="other.gif"',
    'filename="evil.gif"; size=99',
    'filename="evil.gif";'
  ]
}

const html = '<!doctype html><script>alert(1)</script>'

const NO_PICTURES: Array<{ name: string, content: string | Buffer, filename?: string, type?: string }> = [
  { name: 'HTML called .gif', content: html },
  { name: '3 MiB of HTML', content: html + ' '.repeat(3 * MIB) },
  {
    name: 'SVG',
    content: '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    filename: 'x.svg',
    type: 'image/svg+xml'
  },
  { name: 'a script', content: '#!/bin/sh\nid\n' },
  { name: 'PDF', content: '%PDF-1.7\n' },
  { name: 'a program', content: 'MZ\u0090\u0000\u0003' },
  { name: 'BMP', content: 'BM\u0000\u0000\u0000\u0000' },
  { name: 'TIFF', content: 'II*\u0000\u0008\u0000' },
  { name: 'AVIF', content: '\u0000\u0000\u0000 ftypavif' },
  { name: 'WAVE', content: Buffer.concat([Buffer.from('RIFF'), webp.subarray(4, 8), Buffer.from('WAVE')]) },
  { name: 'a GIF version that never was', content: 'GIF88a\u0001\u0000\u0001\u0000' },
  { name: 'half a PNG signature', content: png.subarray(0, 6) },
  { name: 'half a WebP signature', content: webp.subarray(0, 10) },
  { name: 'a GIF after a space', content: Buffer.concat([Buffer.from(' '), gif]) },
  { name: 'HTML as a PNG', content: html, filename: 'x.png', type: 'image/png' },
  {
    name: 'SVG with a script, called .png',
    content: '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    filename: 'x.png',
    type: 'image/png'
  },
  { name: 'SVG in gzip', content: gzipSync('<svg xmlns="http://www.w3.org/2000/svg"/>') },
  { name: 'JavaScript that names GIF later', content: '/*GIF89a*/alert(1)' },
  {
    name: 'XML',
    content: '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'
  },
  { name: 'zip', content: 'PK\u0003\u0004\u0014\u0000\u0000\u0000' },
  { name: 'an icon', content: Buffer.from([0, 0, 1, 0, 1, 0, 16, 16, 0, 0, 1, 0]) },
  { name: 'JPEG XL', content: Buffer.from([0xff, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) },
  { name: 'ELF', content: '\u007fELF\u0002\u0001\u0001' },
  { name: 'a GIF in UTF-16', content: Buffer.from('GIF89a', 'utf16le') },
  { name: 'a GIF after a byte order mark', content: Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), gif]) },
  {
    name: 'PNG with line breaks changed on the way',
    content: Buffer.from(png.toString('latin1').replace('\r\n', '\n'), 'latin1')
  }
]

t.test('POST /library/upload: files', async t => {
  const service = await startService(t)
  const { token } = await service.signIn()
  const end = `\r\n--${BOUNDARY}--\r\n`
  const whole = form([user, picture])
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())

  t.test('A file that is no picture is refused, and leaves nothing', async t => {
    t.ok(NO_PICTURES.length >= 26)
    for (const { name, content, ...named } of NO_PICTURES) {
      const body = form([user, file(content, named)])
      for (const headers of [{ 'content-length': body.length }, {}]) {
        t.match(await send(service, token, [body], { agent, headers }), unsupported, name)
      }
      t.match(await send(service, token, [], { agent, method: 'GET', path: '/library?per_page=1' }), { status: 200 })
    }
    t.strictSame(await service.remains(), { objects: [], multipartUploads: [], uploads: 0, library: 0 })
  })

  t.test('A file name has no say: not in the key, not in the type, not in what is stored', async t => {
    const all = Object.values(FILE_NAMES)
    t.ok(new Set(all.flat()).size >= 90, `${all.flat().length} names`)
    const parameters = all.flatMap(names => names.slice(0, scale({ short: 1, long: 10 })))
    const keys = new Set<string>()
    for (const parameter of parameters) {
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
    t.equal(keys.size, parameters.length)
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
    const lies = [
      { filename: 'x.html', type: 'text/html' },
      { filename: 'x.js', type: 'application/javascript' },
      { filename: 'x.php.png', type: 'image/svg+xml' }
    ]
    for (const [i, { name, bytes, type }] of POLYGLOTS.entries()) {
      for (let k = 0; k < scale({ short: 1, long: lies.length }); k++) {
        const { status, body } = await send(service, token, [form([user, file(bytes, lies[(i + k) % lies.length])])])
        t.equal(status, 201, name)
        t.match(body, { content_type: type, size: bytes.length }, name)
        const response = await fetch(body.original_url ?? body.url)
        t.equal(response.headers.get('content-type'), type, name)
        const served = Buffer.from(await response.arrayBuffer())
        t.equal(body.sha256, sha256(served), name)
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

  t.test('A file of 10 MiB passes, one more byte is 413', t => passesUpTo(t, service, token, 10 * MIB))

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
  const limit = 1000
  const service = await startService(t, { services, env: { UPLOAD_MAX_BYTES: String(limit) } })
  const { token } = await service.signIn()

  t.test(`A file of ${limit} bytes passes, one more is 413`, t => passesUpTo(t, service, token, limit))

  if (scale({ short: 0, long: 1 })) {
    t.test('A file of 6 MiB passes where that is the limit, one more byte is 413', async t => {
      const service = await startService(t, { services, env: { UPLOAD_MAX_BYTES: String(6 * MIB) } })
      await passesUpTo(t, service, await service.tokenFor('+919876543210'), 6 * MIB)
    })
  }

  t.test('An endless file is 413, and its connection ends', async t => {
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
    const before = await service.remains()
    const list: Array<{ fault: string, answer: Answer }> = [
      { fault: 'malformed', answer: invalid },
      { fault: 'no file part', answer: refusal(400, 'No file part') },
      { fault: 'no selection', answer: noSelection },
      { fault: 'no user', answer: refusal(400, 'Missing user_id') },
      { fault: 'bad field', answer: { status: 400, body: { errors: { title: [length] } } } },
      { fault: 'unsupported', answer: unsupported },
      { fault: 'too large', answer: tooLarge(limit) }
    ]
    const clearAtStart = { fieldsFirst: ['no selection', 'no user', 'bad field'], fileFirst: ['no selection'] }
    for (const [i, { fault: one }] of list.entries()) {
      for (const { fault: another } of list.slice(i)) {
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
          const known = list.find(({ fault }) =>
            has(fault) && !has('no file part') && clearAtStart[order].includes(fault))
          const { fault, answer } = known ?? list.find(({ fault }) => has(fault))!
          t.match(await send(service, token, [body]), answer, `${one}, ${another}, ${order}: ${fault}`)
        }
      }
    }
    t.strictSame(await eventually(() => quiet(service)), before)
  })
})

/** Asserts that files of up to `limit` bytes pass, and that larger ones are 413 and leave nothing. */
async function passesUpTo (t: Test, service: Service, token: string, limit: number): Promise<void> {
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
}

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
