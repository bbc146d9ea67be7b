import { spawn } from 'node:child_process'
import { createHash, createHmac } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { crc32 } from 'node:zlib'
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import t, { type Test } from 'tap'
import { startS3, type S3Options } from '../server.js'

const credentials = { accessKeyId: 'AKWIRE', secretAccessKey: 'secret of the wire' }
const UNSIGNED = 'UNSIGNED-PAYLOAD'
const EMPTY = createHash('sha256').digest('hex')

async function start (t: Test, options: Partial<S3Options> = {}) {
  const path = options.path ?? t.testdir()
  const server = await startS3({ path, credentials, ...options })
  const client = new S3Client({
    endpoint: server.endpoint,
    region: 'us-east-1',
    credentials,
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED'
  })
  t.teardown(async () => {
    client.destroy()
    await server.close()
  })
  return { ...server, path, client, blobs: () => readdirSync(join(path, 'blobs')) }
}

async function until (holds: () => boolean): Promise<void> {
  while (!holds()) await setImmediate()
}

const sha256 = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex')
const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest()

interface Ask {
  method?: string
  path: string
  headers?: Record<string, string>
  body?: string | Buffer
  hash?: string
  at?: Date
  secret?: string
  sign?: string[]
}

/**
 * Signs a request without the server's code, so that the server does not judge itself. `path` is sent as it is and must
 * be canonical.
 */
function sign (
  {
    method = 'PUT',
    path,
    headers = {},
    body = '',
    hash = sha256(body),
    at = new Date(),
    secret = credentials.secretAccessKey,
    sign
  }: Ask,
  port: number
) {
  const stamp = at.toISOString().replace(/[-:]|\.\d+/g, '')
  const scope = `${stamp.slice(0, 8)}/us-east-1/s3/aws4_request`
  const all: Record<string, string> = {
    host: `127.0.0.1:${port}`,
    'x-amz-content-sha256': hash,
    'x-amz-date': stamp,
    ...headers
  }
  const names = sign ?? Object.keys(all).map(name => name.toLowerCase()).sort()
  const [bare = '', query = ''] = path.split('?')
  const canonical = [method, bare, query, ...names.map(name => `${name}:${all[name]}`), '', names.join(';'), hash].join(
    '\n'
  )
  const text = ['AWS4-HMAC-SHA256', stamp, scope, sha256(canonical)].join('\n')
  const key = hmac(hmac(hmac(hmac(`AWS4${secret}`, stamp.slice(0, 8)), 'us-east-1'), 's3'), 'aws4_request')
  const signature = hmac(key, text).toString('hex')
  return {
    headers: {
      ...all,
      authorization: `AWS4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope}, SignedHeaders=${names.join(';')}, Signature=${signature}`
    },
    signature,
    key,
    stamp,
    scope
  }
}

interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  text: string
  code: string | undefined
}

async function send (
  port: number,
  ask: Ask & { signed?: ReturnType<typeof sign> | null, wire?: Buffer | string }
): Promise<Answer> {
  const { method = 'PUT', path, body = '', wire = body } = ask
  const headers = ask.signed === null ? { ...ask.headers } : (ask.signed ?? sign(ask, port)).headers
  const outgoing = request({
    port,
    host: '127.0.0.1',
    method,
    path,
    headers: { 'content-length': Buffer.byteLength(wire), ...headers },
    agent: false
  })
  outgoing.end(wire)
  const [response] = await once(outgoing, 'response')
  let text = ''
  for await (const chunk of response) text += chunk
  return { status: response.statusCode, headers: response.headers, text, code: /<Code>(\w+)/.exec(text)?.[1] }
}

/** Sends these bytes and reads until the server hangs up or the answer has come. */
async function raw (port: number, bytes: string, ends = (text: string) => /\r\n\r\n/.test(text)): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  socket.on('data', chunk => { text += chunk })
  socket.on('error', () => {})
  socket.write(bytes)
  while (!ends(text) && !socket.closed) await Promise.race([once(socket, 'data'), once(socket, 'close')])
  socket.destroy()
  return text
}

t.test('signatures in headers', async t => {
  let clock = new Date()
  const { port } = await start(t, { now: () => clock })
  const put = { path: '/hookaba/key', body: 'payload', at: clock }
  t.equal((await send(port, put)).status, 200)
  for (const path of [
    '/hookaba/a%20b%2Bc%25d', '/hookaba/x//y', '/hookaba/a/../b', '/hookaba/./c',
    '/hookaba/%C3%A9~_-.%2A%27%28%29%21'
  ]) {
    t.equal((await send(port, { ...put, path })).status, 200, path)
    t.equal((await send(port, { ...put, path, method: 'GET', body: '' })).text, 'payload', path)
  }
  t.equal(
    (await send(port, {
      ...put,
      method: 'GET',
      body: '',
      path: '/hookaba?list-type=2&max-keys=1&prefix=a%20b%2B'
    })).status,
    200
  )
  const refused = async (ask: Partial<Parameters<typeof send>[1]>) => {
    const { status, code } = await send(port, { ...put, ...ask })
    return [status, code]
  }
  t.same(await refused({ secret: 'another' }), [403, 'SignatureDoesNotMatch'])
  t.same(await refused({ signed: sign({ ...put, path: '/hookaba/other' }, port) }), [403, 'SignatureDoesNotMatch'])
  t.same(await refused({ signed: sign({ ...put, method: 'POST' }, port) }), [403, 'SignatureDoesNotMatch'])
  t.same(await refused({ wire: 'tampered' }), [400, 'XAmzContentSHA256Mismatch'])
  t.same(await refused({ hash: EMPTY.slice(1) }), [400, 'InvalidArgument'])
  t.same(
    await refused({ headers: { 'x-amz-meta-a': 'b' }, sign: ['host', 'x-amz-content-sha256', 'x-amz-date'] }),
    [403, 'AccessDenied']
  )
  t.same(
    await refused({
      signed: {
        ...sign(put, port),
        headers: { ...sign(put, port).headers, authorization: 'AWS4-HMAC-SHA256 nonsense' }
      }
    }),
    [400, 'AuthorizationHeaderMalformed']
  )
  t.same(await refused({ signed: null, headers: { authorization: 'AWS AK:sig' } }), [400, 'InvalidRequest'])
  t.same(await refused({ signed: null, headers: { authorization: 'Bearer x' } }), [400, 'InvalidArgument'])
  t.same(await refused({ signed: null }), [403, 'AccessDenied'])
  t.same(await refused({ headers: { 'x-amz-security-token': 'x' } }), [400, 'InvalidToken'])
  t.same(await refused({ at: new Date(clock.getTime() - 15 * 60_000 - 2000) }), [403, 'RequestTimeTooSkewed'])
  t.same(await refused({ at: new Date(clock.getTime() + 15 * 60_000 + 2000) }), [403, 'RequestTimeTooSkewed'])
  t.equal((await send(port, { ...put, at: new Date(clock.getTime() - 14 * 60_000) })).status, 200)
  t.equal((await send(port, { ...put, hash: UNSIGNED, wire: 'anything' })).status, 200)
  clock = new Date(clock.getTime() + 3600_000)
  t.match((await send(port, put)).headers.date, clock.toUTCString(), 'the answer tells its clock')
})

t.test('presigned URLs live as long as they say', async t => {
  let clock = new Date()
  const { client } = await start(t, { now: () => clock })
  await client.send(new PutObjectCommand({ Bucket: 'hookaba', Key: 'k', Body: 'x' }))
  const url = await getSignedUrl(client, new GetObjectCommand({ Bucket: 'hookaba', Key: 'k' }), {
    expiresIn: 60,
    signingDate: clock
  })
  const status = async (from = url) => {
    const response = await fetch(from)
    return [response.status, /<Message>([^<]*)/.exec(await response.text())?.[1]]
  }
  clock = new Date(clock.getTime() + 58_000)
  t.same(await status(), [200, undefined])
  clock = new Date(clock.getTime() + 3000)
  t.same(await status(), [403, 'Request has expired'])
  clock = new Date(clock.getTime() - 3600_000)
  t.same(await status(), [403, 'Request is not valid yet'])
  t.match(await status(url.replace('X-Amz-Expires=60', 'X-Amz-Expires=604801')), [400, /less than a week/])
  t.match(await status(url.replace(/X-Amz-Date=[^&]*&/, '')), [400, /requires/])
})

t.test('presigned URLs with Signature Version 2, the default of boto3', async t => {
  let clock = new Date()
  const { endpoint, client } = await start(t, { now: () => clock })
  const Expires = Math.floor(clock.getTime() / 1000) + 60
  const signed = (text: string) => createHmac('sha1', credentials.secretAccessKey).update(text).digest('base64')
  const ask = async (
    method: string,
    path: string,
    {
      headers = {},
      amz = '',
      resource = path,
      query = '',
      body
    }: { headers?: Record<string, string>, amz?: string, resource?: string, query?: string, body?: string } = {}
  ) => {
    const signature = signed(`${method}\n\n${headers['content-type'] ?? ''}\n${Expires}\n${amz}${resource}`)
    const url = `${endpoint}${path}?AWSAccessKeyId=${credentials.accessKeyId}&Signature=${encodeURIComponent(signature)}&Expires=${Expires}${query}`
    const response = await fetch(url, { method, headers, ...(body !== undefined && { body }) })
    const text = await response.text()
    return { status: response.status, code: /<Code>(\w+)/.exec(text)?.[1], text, headers: response.headers }
  }
  const path = '/hookaba/a%20b/%C3%A9%2B'
  t.match(
    await ask('PUT', path, {
      headers: { 'content-type': 'x/y', 'x-amz-meta-b': 'two', 'x-amz-meta-a': 'one' },
      amz: 'x-amz-meta-a:one\nx-amz-meta-b:two\n',
      body: 'bytes'
    }),
    { status: 200 }
  )
  t.match(
    await ask('PUT', '/hookaba/hoisted', {
      amz: 'x-amz-meta-a:one\n',
      query: '&x-amz-meta-a=one',
      headers: { 'content-type': 'x/y' },
      body: ''
    }),
    { status: 200 }
  )
  t.match(await client.send(new GetObjectCommand({ Bucket: 'hookaba', Key: 'hoisted' })), { Metadata: { a: 'one' } })
  const got = await ask('GET', path, {
    resource: `${path}?response-content-type=text/z`,
    query: '&response-content-type=text%2Fz&x-id=GetObject'
  })
  t.match(
    [got.status, got.text, got.headers.get('content-type'), got.headers.get('x-amz-meta-b')],
    [200, 'bytes', 'text/z', 'two']
  )
  for (const resource of ['/hookaba', '/hookaba/']) {
    t.match(
      await ask('GET', '/hookaba', { resource, query: '&list-type=2' }),
      { status: 200, text: /<KeyCount>2</ },
      resource
    )
  }

  t.match(await ask('DELETE', path, { resource: '/hookaba/other' }), { status: 403, code: 'SignatureDoesNotMatch' })
  t.match(
    await ask('GET', path, { query: '&response-content-type=text%2Fz' }),
    { status: 403, code: 'SignatureDoesNotMatch' },
    'an override that was not signed'
  )
  t.match(await ask('PUT', path, { headers: { 'x-amz-meta-c': 'unsigned' }, body: 'x' }), {
    status: 403,
    code: 'SignatureDoesNotMatch'
  })
  t.match(
    await (await fetch(`${endpoint}${path}?AWSAccessKeyId=a&Signature=b&Expires=9999999999`)).text(),
    /InvalidAccessKeyId/
  )
  t.match(
    await (await fetch(`${endpoint}${path}?AWSAccessKeyId=${credentials.accessKeyId}&Signature=b`)).text(),
    /AccessDenied/
  )
  clock = new Date(clock.getTime() + 62_000)
  t.match(await ask('GET', path), { status: 403, code: 'AccessDenied', text: /Request has expired/ })

  const post = async (change: Record<string, string> = {}) => {
    const policy = Buffer
      .from(JSON.stringify({
        expiration: new Date(clock.getTime() + 60_000),
        conditions: [{ bucket: 'hookaba' }, { key: 'form' }]
      }))
      .toString(
        'base64'
      )
    const form = new FormData()
    for (const [name, value] of Object.entries({
      key: 'form',
      AWSAccessKeyId: credentials.accessKeyId,
      policy,
      signature: signed(policy),
      ...change
    })) {
      form.append(name, value)
    }
    form.append('file', new Blob(['content']))
    const response = await fetch(`${endpoint}/hookaba`, { method: 'POST', body: form })
    return [response.status, /<Code>(\w+)/.exec(await response.text())?.[1]]
  }
  t.same(await post(), [204, undefined])
  t.same(await post({ signature: signed('another') }), [403, 'SignatureDoesNotMatch'])
  t.same(await post({ signature: '' }), [400, 'InvalidArgument'])
  t.same(await post({ AWSAccessKeyId: 'another' }), [403, 'InvalidAccessKeyId'])
  t.same(await post({ acl: 'private' }), [403, 'AccessDenied'])
})

t.test('aws-chunked bodies', async t => {
  const { port, client, blobs } = await start(t)
  const path = '/hookaba/chunked'
  const data = [Buffer.alloc(65_536, 'a'), Buffer.alloc(1024, 'b')]
  const length = data.reduce((sum, { length }) => sum + length, 0)

  function signedChunks (hash: string, extra: Record<string, string> = {}) {
    const signed = sign(
      {
        path,
        hash,
        headers: { 'content-encoding': 'aws-chunked', 'x-amz-decoded-content-length': `${length}`, ...extra }
      },
      port
    )
    let previous = signed.signature
    const chunk = (bytes: Buffer) => {
      previous = hmac(
        signed.key,
        ['AWS4-HMAC-SHA256-PAYLOAD', signed.stamp, signed.scope, previous, EMPTY, sha256(bytes)].join('\n')
      ).toString(
        'hex'
      )
      return Buffer.concat([
        Buffer.from(`${bytes.length.toString(16)};chunk-signature=${previous}\r\n`),
        bytes,
        Buffer.from(bytes.length > 0 ? '\r\n' : '')
      ])
    }
    const trailer = (line: string) => {
      const signature = hmac(
        signed.key,
        ['AWS4-HMAC-SHA256-TRAILER', signed.stamp, signed.scope, previous, sha256(`${line}\n`)].join('\n')
      ).toString(
        'hex'
      )
      return Buffer.from(`${line}\r\nx-amz-trailer-signature:${signature}\r\n\r\n`)
    }
    return { signed, chunk, trailer }
  }
  const stored = async () => (await send(port, { method: 'GET', path }))
  const whole = Buffer.concat(data).toString()

  const plain = signedChunks('STREAMING-AWS4-HMAC-SHA256-PAYLOAD')
  const wire = Buffer.concat([...data.map(plain.chunk), plain.chunk(Buffer.alloc(0)), Buffer.from('\r\n')])
  t.equal((await send(port, { path, signed: plain.signed, wire })).status, 200)
  t.ok((await stored()).text === whole)
  t.equal((await stored()).headers['content-encoding'], undefined)
  await client.send(new PutObjectCommand({ Bucket: 'hookaba', Key: 'chunked', Body: 'earlier' }))

  const flipped = Buffer.from(wire)
  flipped[200] = 0x7A
  t.match(await send(port, { path, signed: plain.signed, wire: flipped }), {
    status: 403,
    code: 'SignatureDoesNotMatch'
  })
  t.match(await send(port, { path, signed: plain.signed, wire: wire.subarray(0, 66_000) }), {
    status: 400,
    code: 'IncompleteBody'
  })
  const many = signedChunks('STREAMING-AWS4-HMAC-SHA256-PAYLOAD')
  t.match(
    await send(port, {
      path,
      signed: many.signed,
      wire: Buffer.concat([
        many.chunk(Buffer.alloc(1024)),
        many.chunk(Buffer.alloc(65_536)),
        many.chunk(Buffer.alloc(0)),
        Buffer.from('\r\n')
      ])
    }),
    { status: 403, code: 'InvalidChunkSizeError' }
  )

  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(whole))
  const good = `x-amz-checksum-crc32:${sum.toString('base64')}`
  for (const [line, expected] of [
    [good, { status: 200 }],
    ['x-amz-checksum-crc32:AAAAAA==', { status: 400, code: 'BadDigest' }],
    ['x-amz-checksum-sha1:x', { status: 400, code: 'MalformedTrailerError' }]
  ] as const) {
    const trailing = signedChunks('STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', {
      'x-amz-trailer': 'x-amz-checksum-crc32'
    })
    const bytes = Buffer.concat([...data.map(trailing.chunk), trailing.chunk(Buffer.alloc(0)), trailing.trailer(line)])
    t.match(await send(port, { path, signed: trailing.signed, wire: bytes }), expected, line)
    const unsigned = sign(
      {
        path,
        hash: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
        headers: {
          'content-encoding': 'gzip,aws-chunked',
          'x-amz-decoded-content-length': `${length}`,
          'x-amz-trailer': 'x-amz-checksum-crc32'
        }
      },
      port
    )
    const loose = Buffer.concat([
      ...data.flatMap(bytes => [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]),
      Buffer.from(`0\r\n${line}\r\n\r\n`)
    ])
    t.match(await send(port, { path, signed: unsigned, wire: loose }), expected, `${line}, unsigned`)
  }
  t.equal((await stored()).headers['content-encoding'], 'gzip')
  const tampered = signedChunks('STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', {
    'x-amz-trailer': 'x-amz-checksum-crc32'
  })
  const bytes = Buffer.concat([
    ...data.map(tampered.chunk),
    tampered.chunk(Buffer.alloc(0)),
    Buffer.from(`${good}\r\nx-amz-trailer-signature:${'0'.repeat(64)}\r\n\r\n`)
  ])
  t.match(await send(port, { path, signed: tampered.signed, wire: bytes }), {
    status: 403,
    code: 'SignatureDoesNotMatch'
  })
  t.match(await send(port, { path, hash: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER' }), {
    status: 411,
    code: 'MissingContentLength'
  })
  await until(() => blobs().length === 1)
})

t.test('an invalid request is refused, and the next one is answered', async t => {
  const { port, client } = await start(t)
  t.match(await raw(port, 'NONSENSE\r\n\r\n'), /^HTTP\/1\.1 400/)
  t.match(await raw(port, 'GET / HTTP/1.1\r\n\r\n'), /^HTTP\/1\.1 400/, 'no Host')
  t.match(await raw(port, `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`), /^HTTP\/1\.1 431/)
  t.match(
    await raw(port, 'PUT /hookaba/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'),
    /^HTTP\/1\.1 400/
  )
  for (const path of ['/hookaba/%', '/hookaba/%zz', '/hookaba/%ff', 'http://x/', '*', '/?%=1']) {
    t.match(
      await raw(port, `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`),
      /^HTTP\/1\.1 400[^]*InvalidURI|^HTTP\/1\.1 400/,
      path
    )
  }
  t.match(await raw(port, 'PATCH /hookaba/x HTTP/1.1\r\nHost: x\r\n\r\n'), /^HTTP\/1\.1 405[^]*MethodNotAllowed/)
  t.match(
    await raw(port, 'OPTIONS /hookaba/x HTTP/1.1\r\nHost: x\r\nOrigin: http://y\r\n\r\n'),
    /^HTTP\/1\.1 403[^]*AccessForbidden/
  )
  t.match(await raw(port, 'OPTIONS /hookaba/x HTTP/1.1\r\nHost: x\r\n\r\n'), /^HTTP\/1\.1 400[^]*BadRequest/)
  t.match(
    await raw(port, 'HEAD /hookaba/missing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', () => false),
    /^HTTP\/1\.1 403[^]*\r\n\r\n$/,
    'no body'
  )
  const headers = sign({ path: '/hookaba/x', hash: UNSIGNED }, port).headers
  const head =
    `PUT /hookaba/x HTTP/1.1\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')}`
  t.match(await raw(port, `${head}\r\n`), /^HTTP\/1\.1 411[^]*MissingContentLength/)
  t.match(
    await raw(port, `${head}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n`),
    /^HTTP\/1\.1 501[^]*NotImplemented/
  )
  t.match(await raw(port, `${head}Content-Length: 6000000000\r\n\r\n`), /^HTTP\/1\.1 400[^]*EntityTooLarge/)
  t.match(await raw(port, `${head}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n`), /^HTTP\/1\.1 100 Continue/)
  t.match(
    await raw(port, 'PUT /hookaba/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n', () =>
      false),
    /^HTTP\/1\.1 403[^]*Connection: close/i,
    'refused before the body is sent'
  )
  t.match(
    await raw(port, `${head}Content-Length: 0\r\nExpect: the unexpected\r\n\r\n`),
    /^HTTP\/1\.1 200/,
    'S3 overlooks it'
  )
  const keepAlive = await raw(
    port,
    'PUT /hookaba/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nbytesGET /hookaba/y HTTP/1.1\r\nHost: x\r\n\r\n',
    text => text.split('HTTP/1.1 403').length === 3
  )
  t.equal(keepAlive.split('HTTP/1.1 403').length, 3, 'a refused body is read away')
  t.match(
    await send(port, { path: '/hookaba/x?partNumber=1', body: 'x' }),
    { status: 400, code: 'InvalidArgument' },
    'a part of nothing'
  )
  t.match(await send(port, { path: '/hookaba/x?uploadId=1', body: 'x' }), { status: 501, code: 'NotImplemented' })
  t.match(await send(port, { method: 'DELETE', path: '/hookaba/x?tagging=' }), { status: 501, code: 'NotImplemented' })
  t.match(await send(port, { method: 'POST', path: '/hookaba?delete=', body: '<Delete/>' }), {
    status: 400,
    code: 'InvalidRequest'
  })
  for (const body of [
    '<Delete>',
    '<Delete/>',
    '<!DOCTYPE x [<!ENTITY a "b">]><Delete/>',
    '<Delete><Object><Key>&a;</Key></Object></Delete>',
    'x',
    ''
  ]) {
    t.match(
      await send(port, {
        method: 'POST',
        path: '/hookaba?delete=',
        body,
        headers: { 'content-md5': createHash('md5').update(body).digest('base64') }
      }),
      { status: 400, code: 'MalformedXML' },
      body
    )
  }
  t.equal((await client.send(new ListObjectsV2Command({ Bucket: 'hookaba' }))).KeyCount, 1)
})

t.test('virtual-hosted addresses', async t => {
  const { port, client } = await start(t)
  await client.send(new PutObjectCommand({ Bucket: 'hookaba', Key: 'library/b', Body: 'by host' }))
  t.match(
    await send(port, {
      method: 'GET',
      path: '/library/b',
      signed: null,
      headers: { host: `hookaba.localhost:${port}` }
    }),
    { status: 200, text: 'by host' }
  )
  t.match(
    await send(port, {
      method: 'GET',
      path: '/library/b',
      signed: null,
      headers: { host: 'hookaba.s3.us-east-1.amazonaws.com' }
    }),
    { status: 200 }
  )
})

t.test('an object appears whole or not at all', async t => {
  t.test('a client cut in the middle leaves nothing, and the earlier object stays', async t => {
    const { port, client, blobs } = await start(t)
    await client.send(new PutObjectCommand({ Bucket: 'hookaba', Key: 'x', Body: 'earlier' }))
    const { headers } = sign({ path: '/hookaba/x', hash: UNSIGNED }, port)
    const sockets: Socket[] = []
    for (const end of ['destroy', 'end', 'resetAndDestroy'] as const) {
      const socket = connect(port, '127.0.0.1')
      sockets.push(socket)
      socket.on('error', () => {})
      socket.write(
        `PUT /hookaba/x HTTP/1.1\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')}Content-Length: 1000000\r\n\r\n`
      )
      socket.write(Buffer.alloc(400_000))
      await until(() => blobs().length === 2)
      socket[end]()
      await until(() => blobs().length === 1)
    }
    t.equal(
      await (await client.send(new GetObjectCommand({ Bucket: 'hookaba', Key: 'x' }))).Body?.transformToString(),
      'earlier'
    )
    for (const socket of sockets) socket.destroy()
  })

  t.test('a reader gets the whole object it began to read, however often it is replaced', async t => {
    const { client, endpoint, blobs } = await start(t)
    const put = async (byte: number) => await client.send(new PutObjectCommand({
      Bucket: 'hookaba',
      Key: 'x',
      Body: Buffer.alloc(8_000_000, byte)
    }))
    await put(1)
    const response = await fetch(`${endpoint}/hookaba/x`)
    const [old] = blobs()
    await put(2)
    await put(3)
    await until(() => blobs().length === 2)
    t.ok(blobs().includes(old ?? ''), 'the file in reading is kept')
    t.ok(Buffer.alloc(8_000_000, 1).equals(Buffer.from(await response.arrayBuffer())))
    await until(() => blobs().length === 1)
    t.equal((await fetch(`${endpoint}/hookaba/x`, { headers: { range: 'bytes=0-0' } })).status, 206)
  })

  t.test('acknowledged objects survive kill -9, and the rest leaves no trace', async t => {
    const path = t.testdir()
    const script = join(path, 'serve.mjs')
    const module = pathToFileURL(join(import.meta.dirname, '../server.ts')).href
    writeFileSync(script, `const { startS3 } = await import(${JSON.stringify(module)})
      console.log((await startS3({ path: ${JSON.stringify(join(path, 'data'))}, credentials: ${JSON.stringify(credentials)} })).endpoint)`)
    const child = spawn(process.execPath, [...process.execArgv, script], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    const [line] = await once(child.stdout, 'data')
    const client = new S3Client({
      endpoint: String(line).trim(),
      region: 'us-east-1',
      credentials,
      maxAttempts: 1,
      requestChecksumCalculation: 'WHEN_REQUIRED'
    })
    const acknowledged = new Map<string, string>()
    const exited = once(child, 'exit')
    async function writer (id: number): Promise<void> {
      for (let n = 0; ; n++) {
        const [Key, Body] = [`${id}/${n % 5}`, `${id} wrote ${n} `.repeat(5000)]
        await client.send(new PutObjectCommand({ Bucket: 'hookaba', Key, Body }))
        acknowledged.set(Key, Body)
        if (acknowledged.size === 20 && n > 12) child.kill('SIGKILL')
      }
    }
    await Promise.allSettled([...Array.from({ length: 4 }, async (_, id) => { await writer(id) }),
      new Upload({
        client,
        params: { Bucket: 'hookaba', Key: 'unfinished', Body: Buffer.alloc(40_000_000) },
        queueSize: 1
      }).done()])
    t.same(await exited, [null, 'SIGKILL'])
    client.destroy()

    const again = await start(t, { path: join(path, 'data') })
    t.ok(acknowledged.size === 20)
    for (const [Key, Body] of acknowledged) {
      const text = await (await again.client.send(new GetObjectCommand({
        Bucket: 'hookaba',
        Key
      }))).Body?.transformToString()
      const number = (of = '') => Number(/wrote (\d+)/.exec(of)?.[1])
      t.ok(
        text === Body ||
          (number(text) > number(Body) && text === text?.slice(0, text.indexOf(' ', 8) + 1).repeat(5000)),
        `${Key} is the acknowledged bytes or the whole of a later write`
      )
    }
    const listed = await again.client.send(new ListObjectsV2Command({ Bucket: 'hookaba' }))
    const bytes = (listed.Contents ?? []).filter(({ Key }) => Key !== 'unfinished').length
    t.equal(bytes, 20)
    const stray = join(path, 'data', 'blobs', 'stray')
    await again.close()
    writeFileSync(stray, 'without a name')
    const third = await start(t, { path: join(path, 'data') })
    t.notOk(existsSync(stray))
    t.equal((await third.client.send(new ListObjectsV2Command({ Bucket: 'hookaba' }))).KeyCount, listed.KeyCount)
  })
})

t.test('faults on demand', async t => {
  const { client, port, endpoint, fault, clearFaults } = await start(t)
  const put = async (Key = 'x', Body: string | Buffer = 'x') => await client.send(new PutObjectCommand({
    Bucket: 'hookaba',
    Key,
    Body
  }))
  const outcome = async (promise: Promise<unknown>) => await promise.then(() => 'fine', error =>
    error.code ?? error.name)
  fault({ action: 'slow-down', times: 1 })
  t.same([await outcome(put()), await outcome(put())], ['SlowDown', 'fine'])
  const clear = fault({ match: { operation: 'PutObject', key: 'only/*' }, action: 'internal-error' })
  t.same(
    [await outcome(put('only/x')), await outcome(put('x')), await outcome(put('only/y'))],
    ['InternalError', 'fine', 'InternalError']
  )
  clear()
  t.equal(await outcome(put('only/x')), 'fine')
  fault({ match: { method: 'PUT' }, action: 'forbidden', times: 1 })
  t.equal(await outcome(put()), 'AccessDenied')
  fault({ action: 'error', code: 'NoSuchBucket', status: 404, times: 1 })
  t.equal(await outcome(put()), 'NoSuchBucket')
  fault({ action: 'reset', bytes: 100_000, times: 1 })
  t.equal(await outcome(put('reset', Buffer.alloc(900_000))), 'ECONNRESET')
  t.equal((await fetch(`${endpoint}/hookaba/reset`)).status, 403, 'nothing was stored')
  fault({ action: 'lost-reply', times: 1 })
  t.equal(await outcome(put('lost', 'done')), 'ECONNRESET')
  t.equal(await (await fetch(`${endpoint}/hookaba/lost`)).text(), 'done')
  fault({ match: { operation: 'GetObject' }, action: 'reset', bytes: 2, times: 1 })
  await t.rejects(fetch(`${endpoint}/hookaba/lost`).then(async response => await response.text()))
  fault({ match: { operation: 'ListObjectsV2' }, action: 'broken-xml', times: 1 })
  await t.rejects(client.send(new ListObjectsV2Command({ Bucket: 'hookaba' })))
  fault({ match: { operation: 'CompleteMultipartUpload' }, action: 'error-in-200', times: 1 })
  const upload = new Upload({ client, params: { Bucket: 'hookaba', Key: 'big', Body: Buffer.alloc(6_000_000) } })
  t.equal(await outcome(upload.done()), 'InternalError')
  fault({ action: 'delay', ms: 1, times: 1 })
  t.equal(await outcome(put()), 'fine')
  fault({ match: { key: 'silent' }, action: 'silence', times: 1 })
  const impatient = new AbortController()
  const silent = client.send(new PutObjectCommand({ Bucket: 'hookaba', Key: 'silent', Body: 'x' }), {
    abortSignal: impatient.signal
  })
  const others = await put('others')
  impatient.abort()
  t.equal(await outcome(silent), 'AbortError')
  t.ok(others.ETag)

  const authorization =
    `Basic ${Buffer.from(`${credentials.accessKeyId}:${credentials.secretAccessKey}`).toString('base64')}`
  const admin = async (
    method: string,
    body?: string,
    headers: Record<string, string> = { authorization }
  ) => (await send(
    port,
    { method, path: '/_faults', signed: null, headers, wire: body ?? '' }
  )).status
  t.equal(await admin('PUT', '{"action":"slow-down"}', {}), 403)
  t.equal(await admin('PUT', '{"action":"slow-down"}', { authorization: 'Basic eDp5' }), 400)
  t.equal(await admin('PUT', '{"action":"unheard"}'), 400)
  t.equal(await admin('PUT', '{"action":"slow-down","match":{"key":"told"}}'), 204)
  t.equal(
    (await send(port, {
      method: 'PUT',
      path: '/_faults',
      body: '{"action":"forbidden","match":{"key":"signed"}}'
    })).status,
    204
  )
  t.same(
    [await outcome(put('told')), await outcome(put('signed')), await outcome(put('untold'))],
    ['SlowDown', 'AccessDenied', 'fine']
  )
  t.equal(await admin('DELETE'), 204)
  t.equal(await outcome(put('told')), 'fine')
  fault({ action: 'slow-down' })
  clearFaults()
  t.equal(await outcome(put('told')), 'fine')
})

t.test('an object whose read ended with a cut connection is removed like any other when it is replaced', async t => {
  const { client, fault, blobs } = await start(t)
  const put = async (Body: string) => await client.send(new PutObjectCommand({ Bucket: 'hookaba', Key: 'x', Body }))
  await put('one')
  fault({ action: 'lost-reply', match: { method: 'GET' }, times: 1 })
  await t.rejects(client.send(new GetObjectCommand({ Bucket: 'hookaba', Key: 'x' })))
  const [read] = blobs()
  await put('two')
  await until(() => !blobs().includes(read ?? ''))
})

t.test('clients that leave before their answers do not keep the server from closing', async t => {
  const { port, client, close } = await start(t)
  const { host, pathname, search } = new URL(await getSignedUrl(
    client,
    new PutObjectCommand({ Bucket: 'hookaba', Key: 'x' })
  ))
  for (let n = 0; n < 20; n++) {
    const impatient = connect(port, '127.0.0.1')
    impatient.on('error', () => {}).resume()
    await once(impatient, 'connect')
    impatient.end(`PUT ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 7\r\n\r\ncontent`)
    await once(impatient, 'close')
  }
  await close()
})

t.test('starting and closing', async t => {
  const { port, fault, close, client } = await start(t)
  const untouched = join(t.testdir(), 'untouched')
  await t.rejects(startS3({ path: untouched, port, credentials }), {
    code: 'EADDRINUSE',
    message: new RegExp(`port ${port} .*taken`)
  })
  t.notOk(existsSync(untouched))
  await t.rejects(startS3({ path: join(t.testdir({ file: '' }), 'file'), credentials }))

  fault({ action: 'silence' })
  const silent = client.send(new PutObjectCommand({ Bucket: 'hookaba', Key: 'x', Body: 'x' }))
  const idle = connect(port, '127.0.0.1')
  idle.on('error', () => {})
  await once(idle, 'connect')
  const hungUp = once(idle, 'close')
  await Promise.all([close(), t.rejects(silent), hungUp])
  await close()
})
