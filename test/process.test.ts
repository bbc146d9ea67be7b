import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import t, { type Test } from 'tap'
import { buildApp } from '../app.js'
import { keepSecrets } from '../packages/emulators/secrets.js'
import { startEmbedded } from '../packages/emulators/start.js'
import { completeConfig, readConfig } from '../services/config.js'
import { sha256 } from './helpers/bytes.js'
import { ok } from './helpers/answers.js'
import { gif, jpeg, png, webp } from './helpers/small-pictures.js'
import { environment, startServices } from './helpers/backends.js'
import { tinyCheckout } from './helpers/checkout.js'
import { fillFrom030 } from './helpers/old-database.js'
import { tcpProxy } from './helpers/tcp-proxy.js'
import {
  runToEnd,
  signInTo,
  startInTerminal,
  startNpm,
  startProcess,
  temporaryFolder,
  type ServerProcess
} from './helpers/server-process.js'

t.test('npm start on its defaults, with a DATA_DIR of 0.3.0', async t => {
  const dataDir = await temporaryFolder(t)
  const embedded = await startEmbedded({ dataDir, mongo: true })
  const client = await new MongoClient(embedded.mongo!.uri).connect()
  await fillFrom030(client.db('hookaba'))
  await client.close()
  await embedded.close()
  const first = await startProcess(t, { DATA_DIR: dataDir })
  const phone = '+919876543210'
  const uploaded = new Map<string, { type: string, digest: string }>()
  let [token, id] = ['', '']

  t.test('it converts the data by itself, and people keep their data', async t => {
    await first.line(/rows converted/)
    const phone = '+919800000002'
    const token = await signInTo(first, phone)
    const { body: me } = await ok(first.json('GET', '/users/me', { token }))
    t.match(me, { username: 'Meera', number: phone })
    const { body: { items } } = await ok(first.json('GET', '/library?mine=true', { token }))
    t.same(items.map(({ owner_id: owner }: { owner_id: string }) => owner), [me._id, me._id])
  })

  t.test('it serves sign-in, upload, list and fetch', async t => {
    t.match(await first.json('POST', '/auth/request-otp', { json: { phone } }), {
      status: 200,
      body: { message: 'OTP sent' }
    })
    const sms = JSON.parse((await first.line(/^SMS .*\+919876543210"/)).slice(4))
    t.match(sms, { to: phone, body: /^<#> Your Hookaba code is: \d{6}\nFA\+9qCX9VSu$/ })
    const otp = /\d{6}/.exec(sms.body)![0]
    const verified = await first.json('POST', '/auth/verify-otp', { json: { phone: '09876543210', otp } })
    t.match(verified, {
      status: 200,
      body: { success: true, message: 'OTP verified', token_type: 'Bearer', expires_in: 31536000 }
    })
    token = verified.body.access_token
    t.match(await first.json('POST', '/auth/verify-otp', { json: { phone, otp } }), {
      status: 200,
      body: { success: false, message: 'Invalid OTP' }
    })
    const created = await first.json('POST', '/users', { token, json: { username: 'Lata', number: phone } })
    t.match(created, { status: 201, body: { message: 'User created', user_id: /^[0-9a-f]{24}$/ } })
    id = created.body.user_id

    const files = [
      { name: 'fox.gif', type: 'image/gif', bytes: gif },
      { name: 'photo.jpg', type: 'image/jpeg', bytes: jpeg },
      { name: 'drawing.png', type: 'image/png', bytes: png },
      { name: 'new.webp', type: 'image/webp', bytes: webp }
    ]
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
  })

  t.test('a second process on the same data refuses to start with one sentence, and harms nothing', async t => {
    const { code, stderr } = await runToEnd({ DATA_DIR: dataDir, PORT: '0' })
    t.equal(code, 1)
    t.equal(
      lastLine(stderr),
      `The data folder ${dataDir} is in use by process ${first.pid}: stop that one, or set DATA_DIR to another folder`
    )
    t.match(await first.json('GET', '/health/ready'), { status: 200 })
  })

  t.test('after SIGKILL the next process serves all of it again, also without a reader of its output', async t => {
    await first.kill('SIGKILL')
    const second = await startProcess(t, { DATA_DIR: dataDir })
    t.notOk(second.output().some(line => /accounts of this version/.test(line)), 'it converts once')
    await allThere(t, second, token, uploaded)
    t.match(await second.json('GET', '/users/me', { token }), {
      status: 200,
      body: { _id: id, username: 'Lata', number: phone, admin: false }
    })
    t.match(await second.json('POST', '/users', { token, json: { username: 'Lata', number: phone } }), {
      status: 201,
      body: { user_id: id }
    })
    second.closeOutput()
    t.match(await second.json('POST', '/auth/request-otp', { json: { phone: '+919876543211' } }), {
      status: 500,
      body: { error: 'Failed to send OTP' }
    }, 'without a reader of its output it answers 500 for an SMS')
    t.match(await second.json('GET', '/health/ready'), { status: 200 }, 'and still serves')
    t.equal(await second.kill('SIGTERM'), 0)
  })
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

t.test('a start without a database or a store fails with one sentence that names the variable', async t => {
  const services = await startServices(t)
  const silent = await tcpProxy({ port: 1 })
  t.teardown(silent.close)
  silent.blackhole()
  const [noDatabase, noStore] = [/^MongoDB cannot be reached at MONGO_URI/, /^The bucket S3_BUCKET cannot be reached/]
  const refused = { MONGO_URI: 'mongodb://user:hidden@127.0.0.1:1/hookaba' }
  const keys = { AWS_SECRET_ACCESS_KEY: 'hidden-key' }
  const cases: Array<{ env: Record<string, string>, sentence: RegExp }> = [
    { env: refused, sentence: noDatabase },
    { env: { MONGO_URI: `mongodb://user:hidden@127.0.0.1:${silent.port}/hookaba` }, sentence: noDatabase },
    { env: { ...keys, S3_ENDPOINT: 'http://127.0.0.1:1' }, sentence: noStore },
    { env: { ...keys, S3_ENDPOINT: `http://127.0.0.1:${silent.port}` }, sentence: noStore }
  ]
  await Promise.all(cases.map(async ({ env, sentence }) => {
    const lines: string[] = []
    const starting = buildApp({
      config: completeConfig(readConfig({ ...environment(services), ...env }), {}),
      logger: { level: 'info', stream: { write: (line: string) => { lines.push(line) } } }
    })
    const message: string = await starting.then(() => 'started', (error: Error) => error.message)
    t.match(message, sentence)
    t.notMatch(message + lines.join(''), /hidden/)
  }))
  const { code, stderr, stdout } = await runToEnd({ DATA_DIR: await temporaryFolder(t), PORT: '0', ...refused })
  t.equal(code, 1, 'the process does not wait for its store')
  t.match(lastLine(stderr), noDatabase)
  t.notMatch(stderr + stdout, /hidden/)
})

t.test(
  'a port in use or a foreign address gives exit code 1 and one sentence that names the variable',
  async t => {
    const services = await startServices(t)
    const other = createServer().listen(0, '127.0.0.1')
    t.teardown(() => { other.close() })
    await once(other, 'listening')
    for (const { env, sentence } of [
      {
        env: { PORT: String((other.address() as AddressInfo).port) },
        sentence: 'PORT is in use by another process: stop that one, or set PORT to a free port'
      },
      {
        env: { PORT: '0', HOST: '203.0.113.7' },
        sentence: 'HOST is no address of this machine: set HOST to one that is, or to 0.0.0.0 for all of them'
      }
    ]) {
      const { code, stderr } = await runToEnd({ ...environment(services), ...env })
      t.equal(code, 1)
      t.equal(lastLine(stderr), sentence)
    }
  }
)

t.test('on a terminal a request is one short line, and an SMS stands out', async t => {
  const terminal = await startInTerminal(t, { DATA_DIR: await temporaryFolder(t), TERM: 'xterm-256color' })
  const { status } = await fetch(`${terminal.url}/auth/request-otp`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"phone":"+919876543210"}'
  })
  t.equal(status, 200)
  const sms = await terminal.line('SMS {"to"')
  t.ok(sms.startsWith('\u001b['), 'it is coloured')
  t.match(sms, /SMS \{"to":"\+919876543210"/)
  t.match(await terminal.line('POST /auth/request-otp'), / 200, \d+ bytes, \d+ ms/)
  t.ok((await terminal.line('POST /auth/request-otp')).length < 120)
  t.match(await terminal.line('API documentation'), /INFO/)
})

t.test('on a terminal without colours no line has a control character', async t => {
  const terminal = await startInTerminal(t, {
    DATA_DIR: await temporaryFolder(t),
    TERM: 'xterm-256color',
    NO_COLOR: '1'
  })
  await fetch(`${terminal.url}/auth/request-otp`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"phone":"+919876543210"}'
  })
  for (const text of ['SMS {"to"', 'POST /auth/request-otp', 'API documentation']) {
    t.notMatch(await terminal.line(text), /\p{Cc}/u)
  }
})

t.test('a server whose terminal goes away exits with code 0, also when it prints', async t => {
  const dataDir = await temporaryFolder(t)
  for (const LOG_LEVEL of ['info', 'trace']) {
    const terminal = await startInTerminal(t, { DATA_DIR: dataDir, LOG_LEVEL })
    terminal.close()
    t.equal(await terminal.code(), 0, LOG_LEVEL)
  }
})

t.test('a signal to npm ends the server', async t => {
  const checkout = await tinyCheckout(t)
  await writeFile(join(checkout, 'server.ts'), "process.stdout.write('/docs\\n'); setInterval(() => {}, 1000)\n")
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    const npm = await startNpm(t, checkout)
    npm.kill(signal)
    await npm.ended()
    t.pass(signal)
  }
})

t.test('damaged secrets give exit code 1 and one sentence that names the file, not its content', async t => {
  const dataDir = await temporaryFolder(t)
  for (const text of ['', 'null', '{"otp":"HIDDEN"}', '{"jwt":"a","otp":""}', 'HIDDENHIDDENHIDDEN']) {
    await writeFile(join(dataDir, 'secrets.json'), text)
    const message: string = await keepSecrets(dataDir).then(() => 'taken', (error: Error) => error.message)
    t.match(message, /secrets\.json is damaged/)
    t.notMatch(message, /HIDDEN/)
  }
  const { code, stderr } = await runToEnd({ DATA_DIR: dataDir })
  t.equal(code, 1)
  t.match(lastLine(stderr), /secrets\.json is damaged/)
  t.notMatch(stderr, /HIDDEN/)
})

async function allThere (
  t: Test,
  service: ServerProcess,
  token: string,
  uploaded: Map<string, { type: string, digest: string }>
): Promise<void> {
  const pages = [
    await service.json('GET', '/library?mine=true&per_page=5', { token }),
    await service.json('GET', '/library?mine=true&per_page=5&page=2', { token })
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
