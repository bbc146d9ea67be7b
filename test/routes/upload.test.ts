import http from 'node:http'
import net from 'node:net'
import t from 'tap'
import { BOUNDARY, field, file, form, FORM_TYPE, gif, gifOf, png, webp } from '../fixtures.js'
import { eventually, startService, startServices, type Service } from '../helper.js'
import { hangUp, KIB, MIB, open, picture, pieces, quiet, requestHead, send, tooLarge, unhandled, user, zeros, type Answer } from '../uploads.js'

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

const html = '<!doctype html><script>alert(1)</script>'

t.test('POST /library/upload: bodies', async t => {
  const service = await startService(t)
  const { token } = await service.signIn()
  const many = (n: number) => Array.from({ length: n }, (_, i) => field(`f${i}`, 'x'))
  const named = (boundary: string, quote = '') => `multipart/form-data; boundary=${quote}${boundary}${quote}`
  const unlike = (content: string | Buffer) => form([user, file(content)])
  const end = `\r\n--${BOUNDARY}--\r\n`
  const whole = form([user, picture])

  const bodies: Array<[name: string, body: Buffer, expected: Answer, contentType?: string]> = [
    ['fields, then the file', whole, taken],
    ['the file, then fields', form([picture, user]), taken],
    ['a preamble', form([user, picture], { preamble: 'This is a multi-part message.\r\nIn MIME format.' }), taken],
    ['an epilogue', form([user, picture], { end: `${end}The end.` }), taken],
    ['no line break at the end', form([user, picture], { end: `\r\n--${BOUNDARY}--` }), taken],
    ['20 parts', form([...many(9), user, picture, ...many(9)]), taken],
    ['a boundary of 70 characters', form([user, picture], { boundary: 'x'.repeat(70) }), taken, named('x'.repeat(70))],
    ['a boundary in quotes', form([user, picture], { boundary: "a b:c=?/'()+_,-." }), taken, named("a b:c=?/'()+_,-.", '"')],
    ['a boundary after another parameter, in capitals', whole, taken, `Multipart/Form-Data; charset=utf-8; Boundary=${BOUNDARY}`],
    ['a file whose bytes nearly end it', form([user, file(Buffer.concat([gif, Buffer.from(`\r\n--${BOUNDARY.slice(0, -1)}\r\n--\r\n`)]))]), taken],
    ['a text field called file beside the file', form([field('file', 'text'), user, picture]), taken],
    ['an unknown field of 10 KB name', form([field('n'.repeat(10 * KIB), 'x'), user, picture]), taken],
    ['a field name nested 10,000 deep', form([field(`a${'[b]'.repeat(10_000)}`, 'x'), user, picture]), taken],
    ['a NUL in a value', form([user, field('title', 'a\u0000b'), picture]), taken],
    ['broken UTF-8 in a value', form([user, field('title', Buffer.from([0x66, 0xff, 0x78])), picture]), taken],
    ['a user_id in JSON', form([field('user_id', '"meera"', 'Content-Type: application/json'), picture]), taken],
    ['a user_id given twice', form([field('user_id', 'first'), user, picture]), taken],
    ['part headers of 30 KB', form([{ headers: [...user.headers, `X-Junk: ${'j'.repeat(30 * KIB)}`], content: 'meera' }, picture]), taken],

    ['CR and LF in a file name, which end it', form([user, file(gif, { filename: 'a\r\nX-Evil: 1\r\n.gif' })]), taken],

    ['nothing', Buffer.alloc(0), invalid],
    ['a line break', Buffer.from('\r\n'), invalid],
    ['text', Buffer.from('hello'), invalid],
    ['only a first boundary', Buffer.from(`--${BOUNDARY}\r\n`), invalid],
    ['no boundary in the header', whole, invalid, 'multipart/form-data'],
    ['an empty boundary', whole, invalid, 'multipart/form-data; boundary='],
    ['an empty boundary in quotes', whole, invalid, 'multipart/form-data; boundary=""'],
    ['another boundary', whole, invalid, named('another')],
    ['a boundary of 71 characters', form([user, picture], { boundary: 'x'.repeat(71) }), invalid, named('x'.repeat(71))],
    ['a boundary of 8 KB', form([user, picture], { boundary: 'x'.repeat(8 * KIB) }), invalid, named('x'.repeat(8 * KIB))],
    ['a boundary of characters that are none', form([user, picture], { boundary: 'a@b' }), invalid, named('a@b', '"')],
    ['no last boundary', form([user, picture], { end: '' }), invalid],
    ['half a last boundary', form([user, picture], { end: `\r\n--${BOUNDARY.slice(0, 10)}` }), invalid],
    ['a boundary that is not the last one, at the end', form([user, picture], { end: `\r\n--${BOUNDARY}\r\n` }), invalid],
    ['a cut in the headers of a part', whole.subarray(0, 40), invalid],
    ['a cut in the file', whole.subarray(0, -60), invalid],
    ['line feeds for line breaks', Buffer.from(whole.toString('latin1').replaceAll('\r\n', '\n'), 'latin1'), invalid],
    ['21 parts', form([...many(10), user, picture, ...many(9)]), invalid],
    ['1,000 fields', form([user, ...many(1000), picture]), invalid],
    ['100,000 fields after the file', form([picture, user, ...many(100_000)]), invalid],
    ['two files', form([user, picture, file(png)]), invalid],
    ['two files, the first under another name', form([user, file(png, { name: 'other' }), picture]), invalid],
    ['two files, the second under another name', form([user, picture, file(png, { name: 'other' })]), invalid],
    ['two files under other names', form([user, file(png, { name: 'a' }), file(png, { name: 'b' })]), invalid],
    ['user_id as a file', form([file('meera', { name: 'user_id' }), picture]), invalid],
    ['a part without Content-Disposition', form([{ headers: ['Content-Type: text/plain'], content: 'x' }, user, picture]), invalid],
    ['a part without headers', form([{ headers: [], content: 'x' }, user, picture]), invalid],
    ['a part that is an attachment', form([{ headers: ['Content-Disposition: attachment; name="x"'], content: 'x' }, user, picture]), invalid],
    ['a header without colon', form([{ headers: ['Content-Disposition form-data', ...user.headers], content: 'meera' }, picture]), invalid],
    ['a header of nothing but a colon', form([{ headers: [': x', ...user.headers], content: 'meera' }, picture]), invalid],
    ['part headers of 100 KB before what counts', form([{ headers: [`X-Junk: ${'j'.repeat(100 * KIB)}`, ...user.headers], content: 'meera' }, picture]), invalid],
    ['3,000 part headers before what counts', form([{ headers: [...Array.from({ length: 3000 }, (_, i) => `X-${i}: x`), ...user.headers], content: 'meera' }, picture]), invalid],
    ['CR in a name', form([field('user\rid', 'x'), user, picture]), invalid],
    ['LF in a name', form([field('user\nid', 'x'), user, picture]), invalid],
    ['a name that is never closed', form([{ headers: ['Content-Disposition: form-data; name="user'], content: 'x' }, { headers: [], content: '' }, picture]), invalid],
    ...['__proto__', 'constructor', 'toString', 'hasOwnProperty'].flatMap((name): typeof bodies => [
      [`a field called ${name}`, form([field(name, 'x'), user, picture]), invalid],
      [`a file called ${name}`, form([user, file(gif, { name })]), invalid]
    ]),
    ['broken JSON in a JSON field', form([user, field('title', '{"a":', 'Content-Type: application/json'), picture]), invalid],
    ['a prototype in a JSON field', form([user, field('title', '{"__proto__":{"admin":true}}', 'Content-Type: application/json'), picture]), invalid],
    ['a field of 64 KiB after the file', form([user, picture, field('title', 'x'.repeat(64 * KIB))]), invalid],
    ['an epilogue of 1 MiB', form([user, picture], { end: end + 'x'.repeat(MIB) }), invalid],
    ['a last boundary, and the form once more', Buffer.concat([whole, whole]), invalid],

    ['no part at all', Buffer.from(`--${BOUNDARY}--\r\n`), noFile],
    ['no file', form([user]), noFile],
    ['a text field called file', form([user, field('file', gif)]), noFile],
    ['a text field called file of an image type', form([user, field('file', gif, 'Content-Type: image/gif')]), noFile],
    ['a file under another name', form([user, file(gif, { name: 'picture' })]), noFile],
    ['a file called File', form([user, file(gif, { name: 'File' })]), noFile],
    ['a file without a name', form([user, { headers: ['Content-Disposition: form-data; filename="fox.gif"'], content: gif }]), noFile],
    ['a file under another name, far beyond the limit', form([user, file(gifOf(13 * MIB), { name: 'picture' })]), noFile],
    ['an empty file name', form([user, file(gif, { filename: '' })]), noSelection],
    ['an empty file name and nothing else', form([file('', { filename: '' })]), noSelection],
    ['no user_id', form([picture]), noUser],
    ['an empty user_id', form([field('user_id', ''), picture]), noUser],
    ['an empty user_id, last', form([picture, field('user_id', '')]), noUser],
    ['a user_id of white space', form([field('user_id', ' \t\u00a0\u3000'), picture]), noUser],
    ['a user_id of 256 characters', form([field('user_id', 'é'.repeat(256)), picture]), noUser],
    ['a user_id of 2 MiB', form([field('user_id', 'x'.repeat(2 * MIB)), picture]), noUser],
    ['a user_id that is an operator', form([field('user_id', '{"$gt":""}', 'Content-Type: application/json'), picture]), noUser],
    ['a user_id that is a JSON number', form([picture, field('user_id', '5', 'Content-Type: application/json')]), noUser],
    ['an empty category', form([user, field('category', ''), picture]), wrong({ category: [length] })],
    ['a title of white space, last', form([picture, user, field('title', ' ')]), wrong({ title: [length] })],
    ['both too long', form([user, field('category', 'x'.repeat(256)), field('title', 'x'.repeat(70_000)), picture]), wrong({ category: [length], title: [length] })],
    ['a category that is a JSON null', form([user, field('category', 'null', 'Content-Type: application/json'), picture]), wrong({ category: ['Not a valid string.'] })],

    ['an empty file', unlike(''), unsupported],
    ['HTML called .gif', unlike(html), unsupported],
    ['3 MiB of HTML', unlike(html + ' '.repeat(3 * MIB)), unsupported],
    ['3 MiB of HTML before the fields', form([file(' '.repeat(3 * MIB)), user]), unsupported],
    ['SVG', form([user, file('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', { filename: 'x.svg', type: 'image/svg+xml' })]), unsupported],
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

    ...['application/json', 'text/plain', 'multipart/mixed; boundary=x', 'multipart/form-datax; boundary=x', 'application/x-www-form-urlencoded', 'image/gif', 'x', '/'].map((type): typeof bodies[number] => [`the type ${type}`, whole, notMultipart, type])
  ]
  t.ok(bodies.length >= 100, `${bodies.length} bodies`)

  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  let { library } = await service.remains()
  for (const [name, body, expected, type = FORM_TYPE] of bodies) {
    for (const headers of [{ 'content-length': body.length }, {}]) {
      t.match(await send(service, token, [body], { agent, headers: { 'content-type': type, ...headers } }), expected, `${name}${'content-length' in headers ? '' : ', in chunks'}`)
      if (expected === taken) library++
    }
    t.match(await send(service, token, [], { agent, method: 'GET', path: '/library?per_page=1' }), { status: 200 }, `${name}: the connection works on, or a new one does`)
    const remains = await service.remains()
    t.strictSame({ ...remains, objects: remains.objects.length }, { objects: library, multipartUploads: [], uploads: 0, library }, `${name}: nothing else stays`)
  }
  t.strictSame(Object.keys(Object.prototype), [])

  t.test('64 KiB after the file are taken, one byte more is not', async t => {
    for (const before of [gif, gifOf(100_000)]) {
      const exactly = form([user, file(before)], { end: end + 'x'.repeat(64 * KIB - end.length) })
      t.equal((await send(service, token, [exactly])).status, 201)
      t.match(await send(service, token, [exactly, 'x']), invalid)
      for (const piece of [1, 7, 1000, 65_000]) t.equal((await send(service, token, pieces(form([user, file(gif)], { end }), piece))).status, 201, `in pieces of ${piece}`)
    }
  })

  t.test('no content type at all is 415, no good token 401, and the rest of the body does no harm', async t => {
    t.match(await send(service, token, [whole], { headers: { 'content-type': undefined } }), notMultipart)
    const big = form([user, file(gifOf(8 * MIB))])
    for (const authorization of [undefined, 'Bearer x.y.z']) {
      const { status, headers } = await send(service, '', [big], { agent, headers: { authorization } })
      t.equal(status, 401)
      t.match(headers['www-authenticate'], /^Bearer/)
      t.match(await send(service, token, [], { agent, method: 'GET', path: '/library?per_page=1' }), { status: 200 })
    }
  })

  t.test('a client that sends all before it reads gets the refusal that was clear at the start, also on a connection that ends', async t => {
    const body = form([user, file(gifOf(9 * MIB), { filename: '' })])
    for (const connection of ['keep-alive', 'close']) {
      t.match(await sendThenRead(service, token, body, connection), /^HTTP\/1\.1 400 .*\{"error":"No selected file"\}/s, connection)
    }
  })

  t.test('a length that lies', async t => {
    const before = await service.remains()
    const short = await sendThenRead(service, token, whole, 'keep-alive', whole.length - 50)
    t.match(short, /^HTTP\/1\.1 400 .*\{"error":".*"\}/s, 'too small: the form is unfinished, and what follows is no request')
    t.strictSame(await eventually(() => quiet(service)), before, 'too small: nothing stays')
    const request = open(service, token, { 'content-length': whole.length + 50 })
    request.write(whole)
    await eventually(async () => (await service.app.collections.uploads.countDocuments()) === 1)
    await hangUp(service, request)
    t.strictSame(await eventually(() => quiet(service)), before, 'too large: nothing stays')
  })
})

t.test('POST /library/upload: the limit', async t => {
  const services = await startServices(t)
  for (const limit of [1000, 6 * MIB, 10 * MIB]) {
    t.test(`${limit} bytes pass, one more is 413`, async t => {
      const service = await startService(t, { services, env: limit === 10 * MIB ? {} : { UPLOAD_MAX_BYTES: String(limit) } })
      const { token } = await service.signIn()
      const before = await service.remains()
      for (const fileFirst of [false, true]) {
        const attempt = (size: number) => {
          const picture = file(gifOf(size))
          const body = form(fileFirst ? [picture, user] : [user, picture])
          return send(service, token, pieces(body, 64 * KIB), { headers: fileFirst ? {} : { 'content-length': body.length } })
        }
        t.match(await attempt(limit), { status: 201, body: { size: limit } })
        for (const over of [1, limit]) t.match(await attempt(limit + over), tooLarge(limit), `${over} more`)
      }
      const after = await eventually(() => quiet(service))
      t.strictSame({ ...after, objects: after.objects.length }, { objects: before.objects.length + 2, multipartUploads: [], uploads: 0, library: before.library + 2 })
    })
  }

  t.test('an endless file is 413, and its connection ends', async t => {
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
        const write = (bytes: Buffer) => socket.write(Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]))
        const stream = () => { while (!socket.destroyed && write(zeros)) continue }
        socket.on('drain', stream)
        write(form(parts, { end: '' }))
        stream()
        await closed
        t.match(text, /^HTTP\/1\.1 413 .*\r\n\r\n\{"error":"File is larger than 1000 bytes"\}$/s, `${parts.length} parts, ${connection}`)
        t.ok(socket.bytesWritten < 256 * MIB, `${socket.bytesWritten} bytes were sent`)
      }
    }
    t.strictSame(await eventually(() => quiet(service)), before)
  })

  t.test('of several faults the first of the list is answered', async t => {
    const limit = 1000
    const service = await startService(t, { services, env: { UPLOAD_MAX_BYTES: String(limit) } })
    const { token } = await service.signIn()
    const before = await service.remains()
    const list: Array<[fault: string, answer: Answer]> = [['malformed', invalid], ['no file part', noFile], ['no selection', noSelection], ['no user', noUser], ['bad field', wrong({ title: [length] })], ['unsupported', unsupported], ['too large', tooLarge(limit)]]
    const clearAtStart = { fieldsFirst: ['no selection', 'no user', 'bad field'], fileFirst: ['no selection'] }
    for (const [i, [one]] of list.entries()) {
      for (const [another] of list.slice(i)) {
        for (const order of ['fieldsFirst', 'fileFirst'] as const) {
          const has = (fault: string) => fault === one || fault === another
          const size = has('too large') ? limit + 1 : gif.length
          const content = has('unsupported') ? Buffer.alloc(size, html) : gifOf(size)
          const fields = [has('no user') ? field('user_id', ' ') : user, ...(has('bad field') ? [field('title', '')] : [])]
          const sent = file(content, { name: has('no file part') ? 'other' : 'file', filename: has('no selection') ? '' : 'x.gif' })
          const body = form(order === 'fieldsFirst' ? [...fields, sent] : [sent, ...fields], has('malformed') ? { end: '' } : {})
          const known = list.find(([fault]) => has(fault) && !has('no file part') && clearAtStart[order].includes(fault))
          const [first, expected] = known ?? list.find(([fault]) => has(fault))!
          t.match(await send(service, token, [body]), expected, `${one}, ${another}, ${order}: ${first}`)
        }
      }
    }
    t.strictSame(await eventually(() => quiet(service)), before)
  })
})

t.test('nothing was rejected that nobody handled', async t => t.strictSame(unhandled, []))

/** Writes a whole request before it reads a byte of the answer; gives all that came until the connection ended or the answer was whole. */
async function sendThenRead ({ url }: Service, token: string, body: Buffer, connection: string, contentLength = body.length): Promise<string> {
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
