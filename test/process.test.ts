import { once } from 'node:events'
import { readdir, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import t, { type Test } from 'tap'
import { startMongo } from '../packages/mongo-emulator/server.js'
import { sha256 } from './helpers/bytes.js'
import { ok } from './helpers/answers.js'
import { field, file, form, uploadForm } from './helpers/multipart.js'
import { gif, gifOf, jpeg, png, webp } from './helpers/small-pictures.js'
import { environment, startServices } from './helpers/backends.js'
import { eventually } from './helpers/wait.js'
import { freshPhone } from './helpers/accounts.js'
import { startService } from './helpers/service.js'
import { fillFrom030 } from './helpers/old-database.js'
import { tcpProxy } from './helpers/tcp-proxy.js'
import {
  freePort,
  runToEnd,
  startInTerminal,
  startNpm,
  startProcess,
  temporaryFolder,
  type ServerProcess
} from './helpers/server-process.js'
import { open } from './helpers/upload-requests.js'

t.test(
  'the process on its defaults serves sign-in, upload, list and fetch, and all of it again after SIGKILL',
  async t => {
    const dataDir = await temporaryFolder(t)
    const first = await startProcess(t, { DATA_DIR: dataDir })
    const phone = '+919876543210'
    t.match(await first.json('POST', '/auth/request-otp', { json: { phone } }), {
      status: 200,
      body: { message: 'OTP sent' }
    })
    const sms = JSON.parse((await first.line(/^SMS \{/)).slice(4))
    t.match(sms, { to: phone, body: /^<#> Your Hookaba code is: \d{6}\nFA\+9qCX9VSu$/ })
    const otp = /\d{6}/.exec(sms.body)![0]
    const verified = await first.json('POST', '/auth/verify-otp', { json: { phone: '09876543210', otp } })
    t.match(verified, {
      status: 200,
      body: { success: true, message: 'OTP verified', token_type: 'Bearer', expires_in: 31536000 }
    })
    const token = verified.body.access_token
    t.match(await first.json('POST', '/auth/verify-otp', { json: { phone, otp } }), {
      status: 200,
      body: { success: false, message: 'Invalid OTP' }
    })
    const created = await first.json('POST', '/users', { token, json: { username: 'Meera', number: phone } })
    t.match(created, { status: 201, body: { message: 'User created', user_id: /^[0-9a-f]{24}$/ } })

    const files = [
      { name: 'fox.gif', type: 'image/gif', bytes: gif },
      { name: 'photo.jpg', type: 'image/jpeg', bytes: jpeg },
      { name: 'drawing.png', type: 'image/png', bytes: png },
      { name: 'new.webp', type: 'image/webp', bytes: webp }
    ]
    const uploaded = new Map<string, { type: string, digest: string }>()
    for (const { name, type, bytes } of files) {
      for (const fileFirst of [true, false]) {
        const form = new FormData()
        if (!fileFirst) form.append('user_id', 'meera')
        form.append('file', new Blob([bytes]), name)
        if (fileFirst) form.append('user_id', 'meera')
        const { status, body } = await first.json('POST', '/library/upload', { token, body: form })
        t.equal(status, 201)
        uploaded.set(body.url, { type, digest: sha256(bytes) })
      }
    }
    t.equal(uploaded.size, 8)
    await allThere(t, first, token, uploaded)
    t.notMatch(
      first.output().filter(line => !line.startsWith('SMS ')).join('\n'),
      new RegExp(`${otp}|${phone.slice(1)}|${token}`),
      'no code, number or token in the log'
    )

    await first.kill('SIGKILL')
    const second = await startProcess(t, { DATA_DIR: dataDir })
    await allThere(t, second, token, uploaded)
    t.match(await second.json('GET', '/users/me', { token }), {
      status: 200,
      body: { _id: created.body.user_id, username: 'Meera', number: phone, admin: false }
    })
    t.match(await second.json('POST', '/users', { token, json: { username: 'Meera', number: phone } }), {
      status: 201,
      body: { user_id: created.body.user_id }
    })
    t.equal(await second.kill('SIGTERM'), 0)
  }
)

t.test('a second process on the same data refuses to start with one sentence, and harms nothing', async t => {
  const dataDir = await temporaryFolder(t)
  const first = await startProcess(t, { DATA_DIR: dataDir })
  const { code, stderr } = await runToEnd({ DATA_DIR: dataDir, PORT: String(await freePort()) })
  t.equal(code, 1)
  t.equal(
    lastLine(stderr),
    `The data folder ${dataDir} is in use by process ${first.pid}: stop that one, or set DATA_DIR to another folder`
  )
  t.match(await first.json('GET', '/health/ready'), { status: 200 })
})

t.test('npm start converts a DATA_DIR of 0.3.0 by itself, and people keep their data', async t => {
  const dataDir = await temporaryFolder(t)
  t.equal(await (await startProcess(t, { DATA_DIR: dataDir })).kill('SIGTERM'), 0)
  const mongo = await startMongo({ path: join(dataDir, 'mongo') })
  const client = await new MongoClient(mongo.uri).connect()
  await fillFrom030(client.db('hookaba'))
  await client.close()
  await mongo.close()

  const service = await startProcess(t, { DATA_DIR: dataDir })
  await service.line(/accounts of this version/)
  const phone = '+919800000002'
  await ok(service.json('POST', '/auth/request-otp', { json: { phone } }))
  const otp = /\d{6}/.exec(JSON.parse((await service.line(/^SMS \{/)).slice(4)).body)![0]
  const { body: { access_token: token } } = await ok(service.json('POST', '/auth/verify-otp', { json: { phone, otp } }))
  const { body: me } = await ok(service.json('GET', '/users/me', { token }))
  t.match(me, { username: 'Meera', number: phone })
  const { body: { items } } = await ok(service.json('GET', '/library?mine=true', { token }))
  t.same(items.map(({ owner_id: owner }: { owner_id: string }) => owner), [me._id, me._id])
  t.equal(await service.kill('SIGTERM'), 0)
  const again = await startProcess(t, { DATA_DIR: dataDir })
  t.match(await again.json('GET', '/users/me', { token }), { status: 200, body: me })
  t.notOk(again.output().some(line => /accounts of this version/.test(line)), 'once')
})

t.test('production without its variables refuses to start, and names each variable and no value', async t => {
  const { code, stderr, stdout } = await runToEnd({
    NODE_ENV: 'production',
    OTP_SECRET: 'dev-secret-value',
    PORT: 'many'
  })
  t.equal(code, 1)
  for (const name of ['PORT', 'MONGO_URI', 'S3_BUCKET', 'JWT_SECRET_KEY', 'OTP_SECRET', 'SMS_PROVIDER']) {
    t.match(stderr, `${name} `)
  }
  t.notMatch(stderr + stdout, /dev-secret-value|many/)
})

t.test(
  'a start without a database or a store exits with code 1 and one sentence that names the variable',
  async t => {
    const dataDir = await temporaryFolder(t)
    const store = {
      S3_BUCKET: 'hookaba',
      S3_ENDPOINT: 'http://127.0.0.1:1',
      AWS_ACCESS_KEY_ID: 'a',
      AWS_SECRET_ACCESS_KEY: 'hidden-key'
    }
    const silent = await tcpProxy({ port: 1 })
    t.teardown(silent.close)
    silent.blackhole()
    const [noDatabase, noStore] = [/^MongoDB cannot be reached at MONGO_URI/, /^The bucket S3_BUCKET cannot be reached/]
    const cases: Array<{ env: Record<string, string>, sentence: RegExp }> = [
      { env: { MONGO_URI: 'mongodb://user:hidden@127.0.0.1:1/hookaba' }, sentence: noDatabase },
      { env: { MONGO_URI: `mongodb://user:hidden@127.0.0.1:${silent.port}/hookaba` }, sentence: noDatabase },
      { env: store, sentence: noStore },
      { env: { ...store, S3_ENDPOINT: `http://127.0.0.1:${silent.port}` }, sentence: noStore }
    ]
    for (const { env, sentence } of cases) {
      const { code, stderr, stdout } = await runToEnd(
        { DATA_DIR: dataDir, PORT: String(await freePort()), ...env },
        AbortSignal.timeout(30_000)
      )
      t.equal(code, 1)
      t.match(lastLine(stderr), sentence)
      t.notMatch(stderr + stdout, /hidden/)
    }
  }
)

t.test(
  'a port in use or a foreign address gives exit code 1 and one sentence that names the variable',
  async t => {
    const services = await startServices(t)
    const { url } = await startService(t, { services })
    for (const { env, sentence } of [
      {
        env: { PORT: new URL(url).port },
        sentence: 'PORT is in use by another process: stop that one, or set PORT to a free port'
      },
      { env: { PORT: '0', HOST: '203.0.113.7' }, sentence: 'HOST is no address of this machine: set HOST to one that is, or to 0.0.0.0 for all of them' }
    ]) {
      const { code, stderr } = await runToEnd({ ...environment(services), ...env })
      t.equal(code, 1)
      t.equal(lastLine(stderr), sentence)
    }
  }
)

t.test(
  'a process whose output is closed answers 500 for an SMS, still serves, and exits with code 0',
  async t => {
    const dataDir = await temporaryFolder(t)
    const first = await startProcess(t, { DATA_DIR: dataDir })
    first.closeOutput()
    t.match(await first.json('POST', '/auth/request-otp', { json: { phone: '+919876543210' } }), {
      status: 500,
      body: { error: 'Failed to send OTP' }
    })
    t.match(await first.json('GET', '/health/ready'), { status: 200 })
    t.equal(await first.kill('SIGTERM'), 0)
  }
)

t.test('a server whose terminal goes away exits with code 0, also when it prints', async t => {
  const dataDir = await temporaryFolder(t)
  for (const LOG_LEVEL of ['info', 'trace']) {
    const terminal = await startInTerminal(t, { DATA_DIR: dataDir, LOG_LEVEL })
    terminal.close()
    t.equal(await terminal.code(), 0, LOG_LEVEL)
  }
})

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  t.test(`${signal} to npm ends the server`, async t => {
    const npm = await startNpm(t, { DATA_DIR: await temporaryFolder(t) })
    npm.kill(signal)
    await npm.ended()
    t.pass()
  })
}

t.test('an upload of any size leaves no file of its own on the disk', async t => {
  const services = await startServices(t)
  const folder = await temporaryFolder(t)
  const service = await startProcess(t, { ...environment(services), DATA_DIR: join(folder, 'data'), TMPDIR: folder })
  const token = await (await startService(t, { services, now: () => new Date() })).tokenFor(freshPhone())
  const before = await readdir(folder, { recursive: true })
  const body = form([field('user_id', 'meera'), file(gifOf(6 * 1024 * 1024))])
  const request = open(service, token)
  const answered = once(request, 'response')
  await new Promise(resolve => request.write(body.subarray(0, -100), resolve))
  t.strictSame(await readdir(folder, { recursive: true }), before, 'while it runs')
  request.end(body.subarray(-100))
  t.equal((await answered)[0].statusCode, 201)
  t.strictSame(await readdir(folder, { recursive: true }), before)
})

t.test('a process without file descriptors refuses, lives on, and recovers once there are some', async t => {
  const services = await startServices(t)
  const token = await (await startService(t, { services, now: () => new Date() })).tokenFor(freshPhone())
  const service = await startProcess(t, environment(services), { files: 250 })
  const sockets = Array.from({ length: 300 }, () =>
    connect(Number(new URL(service.url).port), '127.0.0.1').on('error', () => {}))
  await Promise.all(sockets.map(socket =>
    new Promise(resolve =>
      socket.once('connect', () => socket.write('GET /health/live HTTP/1.1\r\n', resolve)).once('close', resolve))))
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

t.test('damaged secrets give exit code 1 and one sentence that names the file, not its content', async t => {
  const dataDir = await temporaryFolder(t)
  for (const text of ['', 'HIDDENHIDDENHIDDEN', 'null', '{"otp":"HIDDEN"}', '{"jwt":"a","otp":""}']) {
    await writeFile(join(dataDir, 'secrets.json'), text)
    const { code, stderr } = await runToEnd({ DATA_DIR: dataDir })
    t.equal(code, 1)
    t.match(lastLine(stderr), /secrets\.json is damaged/)
    t.notMatch(stderr, /HIDDEN/)
  }
})

async function allThere (
  t: Test,
  service: ServerProcess,
  token: string,
  uploaded: Map<string, { type: string, digest: string }>
): Promise<void> {
  const pages = [
    await service.json('GET', '/library?per_page=5', { token }),
    await service.json('GET', '/library?per_page=5&page=2', { token })
  ]
  t.match(pages, [
    { status: 200, body: { page: 1, per_page: 5, total: 8, total_pages: 2 } },
    { status: 200, body: { page: 2 } }
  ])
  const items = pages.flatMap(({ body }) => body.items as Array<{ url: string, sha256: string, user_id: string }>)
  t.same(items.map(({ url }) => url).sort(), [...uploaded.keys()].sort())
  for (const { url, user_id: label } of items) {
    const response = await fetch(url)
    const { type, digest } = uploaded.get(url)!
    t.match({ status: response.status, type: response.headers.get('content-type'), label }, {
      status: 200,
      type,
      label: 'meera'
    })
    t.equal(sha256(Buffer.from(await response.arrayBuffer())), digest)
  }
}

const lastLine = (text: string) => text.trimEnd().split('\n').at(-1) ?? ''
