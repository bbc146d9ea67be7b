import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import http from 'node:http'
import { connect, type Socket } from 'node:net'
import t from 'tap'
import { field, file, form, FORM_TYPE, uploadForm } from './helpers/multipart.js'
import { gif, gifOf, jpeg } from './helpers/small-pictures.js'
import { environment, startServices } from './helpers/backends.js'
import { eventually } from './helpers/wait.js'
import { freshPhone } from './helpers/accounts.js'
import { signInTo, startProcess, temporaryFolder } from './helpers/server-process.js'
import { json, MIB, open } from './helpers/upload-requests.js'

/** How many files the process may open. */
const FILES = 250

t.setTimeout(1_200_000)
const services = await startServices(t)
const folder = await temporaryFolder(t)
const service = await startProcess(t, { ...environment(services), TMPDIR: folder }, { files: FILES })
const token = await signInTo(service, freshPhone())
const agent = new http.Agent({ keepAlive: true, maxSockets: 2 })
t.teardown(() => agent.destroy())

t.test(
  'without descriptors for a picture thread an upload is answered 503, the process lives, and the next picture works',
  async t => {
    const broken = gif.subarray(0, -100)
    for (const answer of await Promise.all([upload(broken), upload(broken.subarray(0, -1))])) {
      t.equal(
        answer.status,
        400,
        'connections to the database and the store are open now, and there is no picture thread'
      )
    }
    const sockets = await openSockets(FILES)
    // it needs more than two for a thread
    const descriptors = async () => (await readdir(`/proc/${service.pid}/fd`)).length
    if (process.platform === 'linux') await eventually(async () => await descriptors() >= FILES - 2)
    for (const answer of await Promise.all([upload(gif), upload(jpeg)])) {
      t.match(answer, { status: 503, retryAfter: '5', body: { error: 'Service is out of resources' } })
    }
    t.ok(
      await eventually(async () =>
        service.output().some(line => line.includes('request refused') && line.includes('EMFILE'))),
      'the log names the cause'
    )

    for (const socket of sockets) socket.destroy()
    await eventually(async () => (await upload(jpeg)).status === 201)
    t.equal((await upload(gif)).status, 201, 'nor was the 503 remembered')
  }
)

t.test('an upload of any size leaves no file of its own on the disk', async t => {
  const before = await readdir(folder, { recursive: true })
  const body = form([field('user_id', 'meera'), file(gifOf(6 * MIB))])
  const request = open(service, token)
  const answered = once(request, 'response')
  await new Promise(resolve => request.write(body.subarray(0, -100), resolve))
  t.strictSame(await readdir(folder, { recursive: true }), before, 'while it runs')
  request.end(body.subarray(-100))
  t.equal((await answered)[0].statusCode, 201)
  t.strictSame(await readdir(folder, { recursive: true }), before)
})

t.test('a process without file descriptors refuses, lives on, and recovers once there are some', async t => {
  const sockets = await openSockets(FILES + 50)
  await t.rejects(
    Promise.all(Array.from({ length: 20 }, () =>
      fetch(`${service.url}/library`, {
        headers: { authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(3000)
      }))),
    'there is no place for more'
  )
  for (const socket of sockets) socket.destroy()
  await eventually(async () => (await service.json('GET', '/health/ready').catch(() => undefined))?.status === 200)
  t.equal((await service.json('POST', '/library/upload', { token, body: uploadForm(gif) })).status, 201)
  t.equal(await service.kill('SIGTERM'), 0)
})

async function upload (bytes: Buffer) {
  const body = form([field('user_id', 'meera'), file(bytes)])
  const request = http.request(`${service.url}/library/upload`, {
    agent,
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': FORM_TYPE,
      'content-length': body.length,
      'idempotency-key': bytes.length
    }
  })
  request.end(body)
  const [response] = await once(request, 'response') as [http.IncomingMessage]
  return { status: response.statusCode, retryAfter: response.headers['retry-after'], body: await json(response) }
}

/** Opens this many connections with the beginning of a request. Resolves when each is open or refused. */
async function openSockets (count: number): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () =>
    connect(Number(new URL(service.url).port), '127.0.0.1').on('error', () => {}))
  await Promise.all(sockets.map(socket =>
    new Promise(resolve =>
      socket.once('connect', () => socket.write('GET /health/live HTTP/1.1\r\n', resolve)).once('close', resolve))))
  return sockets
}
