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
function crc32Of (data: string): string {
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(data))
  return sum.toString('base64')
}

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
    await refused({
      signed: {
        ...sign(put, port),
        headers: { ...sign(put, port).headers, authorization: 'AWS4-HMAC-SHA256 nonsense' }
      }
    }),
    [400, 'AuthorizationHeaderMalformed']
  )
  t.same(await refused({ signed: null, headers: { authorization: 'AWS AK:sig' } }), [400, 'InvalidArgument'])
  t.same(
    await refused({ signed: null, path: '/hookaba/key?AWSAccessKeyId=AKWIRE&Signature=x&Expires=9999999999' }),
    [501, 'NotImplemented'],
    'version 2 in a query'
  )
  t.same(await refused({ signed: null, headers: { authorization: 'Bearer x' } }), [400, 'InvalidArgument'])
  t.same(await refused({ signed: null }), [403, 'AccessDenied'])
  t.same(await refused({ headers: { 'x-amz-security-token': 'x' } }), [501, 'NotImplemented'])
  t.same(await refused({ hash: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' }), [501, 'NotImplemented'])
  t.same(await refused({ hash: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER' }), [501, 'NotImplemented'])
  t.same(await refused({ at: new Date(clock.getTime() - 15 * 60_000 - 2000) }), [403, 'RequestTimeTooSkewed'])
  t.same(await refused({ at: new Date(clock.getTime() + 15 * 60_000 + 2000) }), [403, 'RequestTimeTooSkewed'])
  t.equal((await send(port, { ...put, at: new Date(clock.getTime() - 14 * 60_000) })).status, 200)
  t.equal((await send(port, { ...put, hash: UNSIGNED, wire: 'anything' })).status, 200)
  clock = new Date(clock.getTime() + 3600_000)
  t.match((await send(port, put)).headers.date, clock.toUTCString(), 'the answer tells its clock')
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
    { status: 501, code: 'NotImplemented' },
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
        headers: { 'x-amz-checksum-crc32': crc32Of(body) }
      }),
      { status: 400, code: 'MalformedXML' },
      body
    )
  }
  t.equal((await client.send(new ListObjectsV2Command({ Bucket: 'hookaba' }))).KeyCount, 1)
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
    const module = pathToFileURL(join(import.meta.dirname, '../server.js')).href
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

t.test('an object whose read ended with a cut connection is removed like any other when it is replaced', async t => {
  const { client, endpoint, blobs } = await start(t)
  const Key = 'library/x'
  const put = async (Body: Buffer) => await client.send(new PutObjectCommand({ Bucket: 'hookaba', Key, Body }))
  await put(Buffer.alloc(32 << 20))
  const [read] = blobs()
  const { body } = await fetch(`${endpoint}/hookaba/${Key}`)
  await body?.cancel()
  await put(Buffer.from('two'))
  await until(() => !blobs().includes(read ?? ''))
})

t.test('clients that leave before their answers do not keep the server from closing', async t => {
  const { port, close } = await start(t)
  const { headers } = sign({ path: '/hookaba/x', hash: UNSIGNED }, port)
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  for (let n = 0; n < 20; n++) {
    const impatient = connect(port, '127.0.0.1')
    impatient.on('error', () => {}).resume()
    await once(impatient, 'connect')
    impatient.end(`PUT /hookaba/x HTTP/1.1\r\n${head}Content-Length: 7\r\n\r\ncontent`)
    await once(impatient, 'close')
  }
  await close()
})

t.test('starting and closing', async t => {
  const { port, close, blobs } = await start(t)
  const { headers } = sign({ path: '/hookaba/x', hash: UNSIGNED }, port)
  const unfinished = request({
    port,
    host: '127.0.0.1',
    method: 'PUT',
    path: '/hookaba/x',
    headers: { ...headers, 'content-length': 9 }
  })
  const cut = once(unfinished, 'response')
  unfinished.write('x')
  await until(() => blobs().length === 1)

  const untouched = join(t.testdir(), 'untouched')
  await t.rejects(startS3({ path: untouched, port, credentials }), {
    code: 'EADDRINUSE',
    message: new RegExp(`port ${port} .*taken`)
  })
  t.notOk(existsSync(untouched))
  await t.rejects(startS3({ path: join(t.testdir({ file: '' }), 'file'), credentials }))

  const idle = connect(port, '127.0.0.1')
  idle.on('error', () => {})
  await once(idle, 'connect')
  const hungUp = once(idle, 'close')
  await Promise.all([close(), t.rejects(cut), hungUp])
  await close()
})
