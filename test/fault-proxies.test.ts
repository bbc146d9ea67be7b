import { CompleteMultipartUploadCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { once } from 'node:events'
import http from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { eventually } from './helpers/wait.js'
import { operationOf, s3Proxy } from './helpers/s3-proxy.js'
import { mongoProxy, tcpProxy } from './helpers/tcp-proxy.js'

async function echoServer (t: Test) {
  const sockets = new Set<Socket>()
  let received = 0
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('data', (chunk) => { received += chunk.length }).pipe(socket)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, received: () => received }
}

async function connect (t: Test, port: number) {
  const socket = net.connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  const ended = new Promise<string>((resolve) => {
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message)).on('close', () =>
      resolve('closed'))
  })
  let got = 0
  socket.on('data', (chunk) => { got += chunk.length })
  return {
    socket,
    ended,
    got: () => got,
    send: (bytes: number | string) => socket.write(typeof bytes === 'string' ? bytes : Buffer.alloc(bytes)),
    async received (bytes: number) {
      await eventually(() => got >= bytes)
      return got
    }
  }
}

async function tcp (t: Test) {
  const server = await echoServer(t)
  const proxy = await tcpProxy(server)
  t.teardown(() => proxy.close())
  return { server, proxy, client: () => connect(t, proxy.port) }
}

t.test('tcpProxy', async (t) => {
  t.test('a TCP proxy passes bytes and ends both ways', async (t) => {
    const { proxy, client } = await tcp(t)
    const one = await client()
    one.send('hello')
    t.equal(await one.received(5), 5)
    t.equal(proxy.connections(), 1)
    one.socket.end()
    t.equal(await one.ended, 'closed')
  })

  t.test('`down` resets what there is and refuses what comes, `up` heals on the same port', async (t) => {
    const { proxy, client } = await tcp(t)
    const one = await client()
    one.send(1)
    await one.received(1)
    await proxy.down()
    t.equal(await one.ended, 'ECONNRESET')
    t.equal(await (await client()).ended, 'ECONNREFUSED')
    await proxy.up()
    const two = await client()
    two.send(3)
    t.equal(await two.received(3), 3)
  })

  t.test('a client of a TCP proxy without a server is reset', async (t) => {
    const { port } = await echoServer(t)
    const gone = await tcpProxy({ port })
    await gone.down()
    const proxy = await tcpProxy({ port: gone.port })
    t.teardown(() => proxy.close())
    t.equal(await (await connect(t, proxy.port)).ended, 'ECONNRESET')
  })

  t.test('`blackhole` swallows both ways, and `up` resets only connections that lost bytes', async (t) => {
    const { proxy, server, client } = await tcp(t)
    const [loser, idle] = [await client(), await client()]
    for (const each of [loser, idle]) { each.send(1); await each.received(1) }
    proxy.blackhole()
    loser.send(1000)
    const late = await client()
    late.send('x')
    await eventually(() => proxy.swallowed() === 1001)
    await proxy.up()
    t.equal(await loser.ended, 'ECONNRESET')
    t.equal(await late.ended, 'ECONNRESET')
    t.equal(server.received(), 2)
    idle.send(4)
    t.equal(await idle.received(5), 5)
  })

  t.test('`reset` resets once', async (t) => {
    const { proxy, client } = await tcp(t)
    const one = await client()
    one.send(1)
    await one.received(1)
    proxy.reset()
    t.equal(await one.ended, 'ECONNRESET')
    const two = await client()
    two.send(1)
    t.equal(await two.received(1), 1)
  })

  t.test('cutAfter resets after this many bytes and passes none beyond, on `times` connections', async (t) => {
    const { proxy, server, client } = await tcp(t)
    proxy.cutAfter(70_000, 'up', 1)
    const one = await client()
    one.send(100_000)
    t.equal(await one.ended, 'ECONNRESET')
    t.ok(server.received() <= 70_000)
    const two = await client()
    two.send(100_000)
    t.equal(await two.received(100_000), 100_000)

    proxy.cutAfter(0, 'down')
    two.send(1)
    t.equal(await two.ended, 'ECONNRESET')
    t.equal(two.got(), 100_000)
  })

  t.test('throttle 0 holds everything by back-pressure, and up lets all of it go', async (t) => {
    const { proxy, server, client } = await tcp(t)
    proxy.throttle(0, 'up')
    const size = 64 << 20
    const one = await client()
    one.send(size)
    await eventually(() => proxy.connections() === 1)
    for (let turn = 0; turn < 200; turn++) await new Promise(setImmediate)
    t.equal(server.received(), 0)
    t.ok(one.socket.writableLength > size / 2, 'the client still holds most of it')
    await proxy.up()
    t.equal(await one.received(size), size)
  })

  t.test('throttle lets bytes through in small pieces', async (t) => {
    const { proxy, client } = await tcp(t)
    proxy.throttle(20_000, 'down')
    const one = await client()
    one.send(5000)
    t.equal(await one.received(1), 1000, 'a twentieth of a second at a time')
    proxy.throttle(Infinity, 'down')
    t.equal(await one.received(5000), 5000)
  })

  t.test('latency holds back, and a change ends the wait', async (t) => {
    const { proxy, server, client } = await tcp(t)
    proxy.latency(3_600_000)
    const one = await client()
    one.send(1)
    await eventually(() => server.received() > 0)
    t.equal(one.got(), 0)
    proxy.latency(0)
    t.equal(await one.received(1), 1)
  })

  t.test('mongoProxy rewrites the address', async (t) => {
    const proxy = await mongoProxy(
      'mongodb://user:p%40ss@127.0.0.1:27017,127.0.0.1:27018?replicaSet=rs0&retryWrites=true'
    )
    t.teardown(() => proxy.close())
    t.equal(proxy.uri, `mongodb://user:p%40ss@127.0.0.1:${proxy.port}/?retryWrites=true&directConnection=true`)
  })
})

async function s3 (t: Test) {
  const heard: Array<{ request: http.IncomingMessage, body: string, whole: boolean }> = []
  const server = http.createServer({ keepAliveTimeout: 1 }, async (request, response) => {
    const one = { request, body: '', whole: false }
    heard.push(one)
    try {
      for await (const chunk of request as AsyncIterable<Buffer>) one.body += chunk.toString('latin1')
      one.whole = request.complete
    } catch { return }
    response.writeHead(
      201,
      'Made',
      ['ETag', '"e"', 'X-Twice', 'a', 'X-Twice', 'b', ...(request.method === 'HEAD' ? [] : ['Trailer', 'X-End'])]
    )
    response.write('answer to ')
    if (request.method !== 'HEAD') response.addTrailers({ 'x-end': 'there' })
    response.end(request.method)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const proxy = await s3Proxy({ endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
  t.teardown(async () => {
    await proxy.close()
    server.closeAllConnections()
    server.close()
  })
  const client = new S3Client({
    endpoint: proxy.endpoint,
    forcePathStyle: true,
    region: 'us-east-1',
    credentials: { accessKeyId: 'id', secretAccessKey: 'secret' },
    requestChecksumCalculation: 'WHEN_REQUIRED',
    maxAttempts: 1
  })
  t.teardown(() => client.destroy())
  const put = (Body: string | Buffer = 'body', Key = 'library/ä b.gif') => client.send(new PutObjectCommand({
    Bucket: 'bucket',
    Key,
    Body
  }))
  const outcome = (sent: Promise<unknown>) => sent.then(() => 'ok', (error: Error & { code?: string }) =>
    error.code ?? error.name)
  return { proxy, heard, client, put, outcome }
}

function ask (url: string, options: http.RequestOptions = {}, body?: string) {
  const request = http.request(url, { agent: false, ...options })
  const answer = once(request, 'response').then(async ([response]: http.IncomingMessage[]) => ({
    response: response!,
    body: await text(response!)
  }))
  answer.catch(() => {})
  request.on('error', () => {})
  if (body !== undefined) request.end(body)
  return { request, answer }
}

t.test('s3Proxy', async (t) => {
  t.test('an S3 proxy passes request and answer unchanged', async (t) => {
    const { proxy, heard } = await s3(t)
    const headers = [
      'Host', 'signed.example:9', 'X-Amz-Date', 'd', 'x-twice', '1', 'X-Twice', '2', 'Content-Length', '4',
      'Connection', 'close'
    ]
    const { response, body } = await ask(
      `${proxy.endpoint}/b/a%2Fb//c%20+?x-id=PutObject&e=%C3%A4`,
      { method: 'PUT', headers: headers as unknown as http.OutgoingHttpHeaders },
      'body'
    ).answer
    t.equal(heard[0]?.request.url, '/b/a%2Fb//c%20+?x-id=PutObject&e=%C3%A4')
    t.strictSame(heard[0]?.request.rawHeaders, headers)
    t.equal(heard[0]?.body, 'body')
    t.equal(response.statusCode, 201)
    t.equal(response.statusMessage, 'Made')
    t.equal(response.headers['x-twice'], 'a, b')
    t.equal(response.trailers['x-end'], 'there')
    t.equal(body, 'answer to PUT')
    t.match(
      proxy.requests,
      [
        {
          method: 'PUT',
          path: '/b/a%2Fb//c%20+',
          operation: 'PutObject',
          bucket: 'b',
          key: 'a/b//c +',
          bytes: 4,
          status: 201
        }
      ]
    )
  })

  t.test('an S3 proxy passes 100 Continue, chunked bodies, trailers, HEAD, and posts without a body', async (t) => {
    const { proxy, heard } = await s3(t)
    const put = ask(`${proxy.endpoint}/b/k`, {
      method: 'PUT',
      headers: { expect: '100-continue', 'transfer-encoding': 'chunked', trailer: 'x-sum' }
    })
    put.request.flushHeaders()
    await once(put.request, 'continue')
    put.request.write('one ')
    put.request.addTrailers({ 'x-sum': '1' })
    put.request.end('two')
    await put.answer
    t.equal(heard[0]?.body, 'one two')
    t.equal(heard[0]?.request.trailers['x-sum'], '1')
    t.equal((await ask(`${proxy.endpoint}/b/k`, { method: 'HEAD' }, '').answer).response.headers.etag, '"e"')
    await ask(`${proxy.endpoint}/b/k?uploads`, { method: 'POST' }, '').answer
    t.equal(heard[2]?.request.headers['content-length'], '0')
    t.strictSame(proxy.requests.map(({ operation, status }) => [operation, status]),
      [['PutObject', 201], ['HeadObject', 201], ['CreateMultipartUpload', 201]])
  })

  t.test('answers `times` times with the error that the official client reads', async (t) => {
    const { proxy, heard, put, outcome } = await s3(t)
    const fault = proxy.fault({
      operation: 'PutObject',
      action: { do: 'answer', status: 503, code: 'SlowDown' },
      times: 2
    })
    t.equal(await outcome(put()), 'SlowDown')
    t.equal(await outcome(put(Buffer.alloc(4 << 20))), 'SlowDown')
    t.equal(heard.length, 0)
    t.equal(await outcome(put()), 'ok')
    t.equal(fault.hits, 2)
    t.equal((await fault.hit).key, 'library/ä b.gif')
    t.strictSame(proxy.requests.map(({ status }) => status), [503, 503, 201])
  })

  t.test('matches by operation and by function, the first fault first', async (t) => {
    const { proxy, put, outcome } = await s3(t)
    proxy.fault({
      operation: ['DeleteObject', 'UploadPart'],
      action: { do: 'answer', status: 500, code: 'InternalError' }
    })
    proxy.fault({
      match: ({ key }) => key === 'two',
      action: { do: 'answer', status: 403, code: 'AccessDenied', after: 3 }
    })
    proxy.fault({ match: ({ key }) => key === 'two', action: { do: 'answer', status: 500, code: 'InternalError' } })
    t.equal(await outcome(put('body', 'one')), 'ok')
    t.equal(await outcome(put('body', 'two')), 'AccessDenied')
    proxy.clear()
    t.equal(await outcome(put('body', 'two')), 'ok')
  })

  t.test('resets after this many bytes of the body', async (t) => {
    const { proxy, heard, put, outcome } = await s3(t)
    proxy.fault({ operation: 'PutObject', action: { do: 'reset', after: 100_000 } })
    t.equal(await outcome(put(Buffer.alloc(200_000))), 'ECONNRESET')
    await eventually(() => heard[0]?.request.destroyed === true)
    t.equal(heard[0]?.whole, false)
    t.equal(heard[0]?.body.length, 100_000)
    t.match(proxy.requests, [{ bytes: 100_000, status: undefined }])
    t.equal(await outcome(put('short')), 'ok', 'a shorter body passes')
  })

  t.test('loses the answer after the server has acted', async (t) => {
    const { proxy, heard, put, outcome } = await s3(t)
    proxy.fault({ action: { do: 'lose' }, times: 1 })
    t.equal(await outcome(put()), 'ECONNRESET')
    t.equal(heard[0]?.whole, true)
  })

  t.test('a silenced S3 proxy is silent until it is cleared', async (t) => {
    const { proxy, heard, put, outcome } = await s3(t)
    const fault = proxy.fault({ action: { do: 'silence' } })
    const sent = outcome(put())
    await fault.hit
    proxy.clear()
    t.equal(await sent, 'ECONNRESET')
    t.equal(heard.length, 0)
  })

  t.test('an S3 proxy delays until it is cleared', async (t) => {
    const { proxy, put, outcome } = await s3(t)
    const fault = proxy.fault({ action: { do: 'delay', ms: 3_600_000 } })
    const sent = outcome(put())
    await fault.hit
    proxy.clear()
    t.equal(await sent, 'ok')
  })

  t.test('throttles the body by back-pressure until cleared', async (t) => {
    const { proxy, heard } = await s3(t)
    const fault = proxy.fault({ action: { do: 'throttle', bytesPerSecond: 0 } })
    const size = 32 << 20
    const { request, answer } = ask(`${proxy.endpoint}/b/k`, { method: 'PUT', headers: { 'content-length': size } })
    request.write(Buffer.alloc(size))
    await fault.hit
    await eventually(() => heard.length > 0)
    t.ok(request.writableLength > 16 << 20, 'the client still holds most of it')
    t.match(proxy.requests, [{ bytes: 0 }])
    request.end()
    proxy.clear()
    await answer
    t.equal(heard[0]?.body.length, size)
  })

  t.test('breaks the XML, and answers 200 with an error', async (t) => {
    const { proxy, heard, client, outcome } = await s3(t)
    const complete = () => client.send(new CompleteMultipartUploadCommand({
      Bucket: 'b',
      Key: 'k',
      UploadId: 'u',
      MultipartUpload: { Parts: [{ ETag: 'e', PartNumber: 1 }] }
    }))
    proxy.fault({ operation: 'CompleteMultipartUpload', action: { do: 'error200', code: 'InternalError' }, times: 1 })
    t.equal(await outcome(complete()), 'InternalError')
    proxy.fault({ operation: 'CompleteMultipartUpload', action: { do: 'broken' }, times: 1 })
    t.not(await outcome(complete()), 'ok')
    t.equal(heard.length, 0)
    t.strictSame(proxy.requests.map(({ status }) => status), [200, 200])
  })

  t.test('a client that goes away takes its request to the server with it', async (t) => {
    const { proxy, heard } = await s3(t)
    const { request } = ask(`${proxy.endpoint}/b/k`, { method: 'PUT', headers: { 'content-length': 10 } })
    request.write('half')
    await eventually(() => heard[0]?.body === 'half')
    request.destroy()
    await eventually(() => heard[0]?.request.destroyed === true)
    t.equal(heard[0]?.whole, false)
  })
})

t.test('operationOf names what the S3 reference names', async (t) => {
  for (const [request, operation] of Object.entries({
    'GET /': 'ListBuckets',
    'HEAD /b': 'HeadBucket',
    'PUT /b/': 'CreateBucket',
    'PUT /b?policy': 'PutBucketPolicy',
    'GET /b?list-type=2&prefix=x%2F': 'ListObjectsV2',
    'GET /b?uploads=&prefix=': 'ListMultipartUploads',
    'GET /b?lifecycle': 'Other',
    'POST /b?delete=': 'DeleteObjects',
    'POST /b': 'PostObject',
    'PUT /b/k/l.gif?x-id=PutObject': 'PutObject',
    'POST /b/k?uploads': 'CreateMultipartUpload',
    'PUT /b/k?partNumber=1&uploadId=u': 'UploadPart',
    'POST /b/k?uploadId=u': 'CompleteMultipartUpload',
    'DELETE /b/k?uploadId=u': 'AbortMultipartUpload',
    'GET /b/k?uploadId=u': 'ListParts',
    'DELETE /b/k': 'DeleteObject',
    'HEAD /b/k': 'HeadObject',
    'GET /b/k': 'GetObject',
    'PATCH /b/k': 'Other'
  })) {
    const [method, target] = request.split(' ') as [string, string]
    t.equal(operationOf(method, target), operation, request)
  }
  t.equal(operationOf('PUT', '/b/k', { 'x-amz-copy-source': 'b/l' }), 'CopyObject')
})
