import t from 'tap'
import { PICTURES } from '../../cli/demo/content.js'
import { demoCommand } from '../../cli/demo/demo.js'
import { ok } from '../helpers/answers.js'
import { environment, startServices } from '../helpers/backends.js'
import { endOf } from '../helpers/command.js'
import { runProgram, signInTo, startProcess, temporaryFolder } from '../helpers/server-process.js'
import { startService } from '../helpers/service.js'

/** Of nobody before; made an admin by ADMIN_NUMBERS. */
const MODERATOR = '+12025550104'
const MAYA = '+12025550101'
const TOM = '+12025550102'
const PROGRAM = 'cli/demo/main.js'

interface Item {
  id: string
  title: string
  url: string
  type: string
  content_type: string
  frames: number
  user_id: string
  owner_id: string
  renditions: Record<string, { content_type: string, frames: number }>
}

t.test('npm run demo on an empty DATA_DIR, and npm start after it', async t => {
  const DATA_DIR = await temporaryFolder(t)

  await t.test('a demo that is killed is completed by the next one', async t => {
    const killed = await runProgram(PROGRAM, [], { DATA_DIR }, { killAfterLines: 5 })
    t.equal(killed.code, null)
    const { code, stdout } = await endOf(demoCommand, [], { DATA_DIR })
    t.equal(code, 0)
    t.notMatch(stdout, /^user: /m, 'the users were there')
    const lines = [...killed.stdout.split('\n').slice(0, 5), ...stdout.split('\n')]
    t.equal(new Set(lines.filter(line => /^(gif|image): /.test(line))).size, 12, 'each run made its part')
    t.match(stdout, /^Added 0 users, \d+ pictures and 4 reports\.$/m)
    for (const text of [MAYA, TOM, 'http://localhost:5000/', `ADMIN_NUMBERS=${MODERATOR} npm start`]) t.match(stdout, text)
  })

  const service = await startProcess(t, { DATA_DIR, ADMIN_NUMBERS: MODERATOR })
  const token = await signInTo(service, MAYA)
  const items = async (): Promise<Item[]> => (await ok(service.json('GET', '/library?per_page=100', { token }))).body.items
  const before = await items()

  await t.test('the service lists eight GIFs and four stills of three users, and serves their bytes', async t => {
    const gifs = before.filter(({ type }) => type === 'gif')
    const stills = before.filter(({ type }) => type === 'image')
    t.same([gifs.length, stills.length, before.length], [8, 4, 12])
    for (const { title, content_type: type, frames, renditions } of gifs) {
      t.equal(type, 'image/gif')
      t.ok(frames > 1, title)
      t.match(renditions['64x64'], { content_type: 'image/gif', frames }, `the panel shows every frame of ${title}`)
    }
    for (const still of stills) t.match(still, { content_type: 'image/png', frames: 1 })
    t.equal(new Set(before.map(({ title }) => title)).size, 12)
    const owners = new Map(before.map(({ owner_id: id, user_id: label }) => [id, label]))
    const names: string[] = []
    for (const [id, label] of owners) {
      const { body } = await ok(service.json('GET', `/users/${id}`, { token }))
      t.equal(body.username, label)
      names.push(body.username)
    }
    t.same(names.sort(), ['Lena', 'Maya', 'Tom'])
    for (const { url, content_type: type } of before) {
      const { status, headers } = await fetch(url)
      t.same([status, headers.get('content-type')], [200, type])
    }
  })

  await t.test('an admin finds the reports of two users about items of the third, which stay visible', async t => {
    const admin = await signInTo(service, MODERATOR)
    const { body: { reports } } = await ok(service.json('GET', '/library/reports', { token: admin }))
    t.same(reports.map(({ count }: { count: number }) => count), [2, 1, 1])
    t.match(reports[0], { item: { title: 'Smiley with sunglasses' }, reasons: { copyright: 1, spam: 1 } })
    for (const { item, comments } of reports) {
      t.equal(item.user_id, 'Maya')
      t.equal(item.hidden, undefined)
      t.equal(comments.length, 1)
    }
  })

  await t.test('beside the running service it adds what is missing, and the service shows that at once', async t => {
    const gone = before.find(({ user_id: label, type }) => label === 'Maya' && type === 'image')!
    t.equal((await service.json('DELETE', `/library/${gone.id}`, { token })).status, 204)
    const { code, stdout } = await endOf(demoCommand, [], { DATA_DIR })
    t.equal(code, 0)
    t.match(stdout, new RegExp(`^image: ${gone.title}, .*\n(report: .*\n)+Added 0 users, 1 picture and \\d reports?\\.\n`))
    const [newest, ...others] = await items()
    t.equal(newest!.title, gone.title)
    t.same(others, before.filter(({ id }) => id !== gone.id))
  })

  await t.test('once more it adds nothing, asks for no code, and says so', async t => {
    const [now, sessions] = [await items(), await service.json('GET', '/auth/sessions', { token })]
    for (let run = 0; run < 2; run++) {
      const { code, stdout, stderr } = await endOf(demoCommand, [], { DATA_DIR })
      t.same([code, stderr], [0, ''])
      t.match(stdout, /^The demo is there already: 3 users, 12 pictures and 4 reports\. Nothing was added\.\n/)
    }
    t.same(await items(), now)
    t.same(await service.json('GET', '/auth/sessions', { token }), sessions)
    t.equal(sessions.body.sessions.length, 2, 'only the session of the killed demo is left beside this one')
  })
})

t.test('npm run demo fills the database and the bucket that are configured, also when a code was just asked for', async t => {
  const services = await startServices(t)
  const service = await startService(t, { services })
  t.equal((await service.call('POST', '/auth/request-otp', { json: { phone: MAYA } })).status, 200)
  let passed = 0
  const { code, stdout } = await endOf(
    call => demoCommand(call, {
      now: () => service.clock.now,
      pictures: PICTURES.slice(0, 2),
      pass: async seconds => {
        passed += seconds
        service.clock.advance(seconds)
      }
    }),
    [],
    environment(services)
  )
  t.equal(code, 0)
  t.match(stdout, /^Added 3 users, 2 pictures and 0 reports\.$/m)
  t.ok(passed >= 14 && passed <= 16, `it waited ${passed} s for the next SMS`)
  const { token } = await service.signIn(TOM)
  t.equal((await ok(service.call('GET', '/library', { token }))).body.total, 2)
})

t.test('npm run demo leaves a blocked user alone, and names that user if a picture is missing', async t => {
  const services = await startServices(t)
  const service = await startService(t, { services })
  await service.signIn(TOM)
  await service.app.collections.users.updateOne({ number: TOM }, { $set: { blocked: true } })
  const { code, stderr } = await endOf(demoCommand, [], environment(services))
  t.equal(code, 1)
  t.equal(stderr, `Tom (${TOM}) is blocked: unblock that user, and run the command again\n`)
})

t.test('npm run demo refuses NODE_ENV=production with one sentence and exit code 1, and an argument with 2', async t => {
  const DATA_DIR = await temporaryFolder(t)
  const { code, stdout, stderr } = await runProgram(PROGRAM, [], { DATA_DIR, NODE_ENV: 'production' })
  t.same({ code, stdout, stderr }, {
    code: 1,
    stdout: '',
    stderr: 'The demo refuses to run with NODE_ENV=production: its users and pictures are for trying the service only\n'
  })
  t.match(await endOf(demoCommand, ['--fast'], { DATA_DIR }), { code: 2, stderr: /^Usage: npm run demo/ })
})
