import { MongoClient } from 'mongodb'
import t, { type Test } from 'tap'
import { migrateCommand } from '../cli/commands/migrate.js'
import { preflightCommand } from '../cli/commands/preflight.js'
import { ok } from './helpers/answers.js'
import { environment, publishTakeover, s3Client, startServices } from './helpers/backends.js'
import { endOf, renditions } from './helpers/command.js'
import { oldId } from './helpers/old-database.js'
import { fillOldSystem, oldPeople, oldTokens } from './helpers/old-system.js'
import { startService } from './helpers/service.js'

const SECRET = 'the secret of the replaced system'
/** The variables of docs/taking-over.md. */
const VARIABLES = {
  JWT_LEGACY_SECRET: SECRET,
  ACCESS_TOKEN_TTL: '3650d',
  LIBRARY_URL_RENDITION: '64x64',
  ADMIN_NUMBERS: '+919876500001',
  TRUST_PROXY: 'true'
}

t.test('After a takeover every token, every name and every picture of the replaced system works', async t => {
  const { services, env, pictures } = await oldSystem(t)
  t.match(await endOf(migrateCommand, [], env), { code: 0 })
  t.match(await endOf(renditions, [], env), { code: 0 })
  t.match(await endOf(preflightCommand, [], env), { code: 0, stdout: /Nothing is missing\.\n$/ })
  const service = await startService(t, { services, env: VARIABLES })
  const people = oldPeople()
  t.same([people.length, people.flatMap(({ rows }) => rows).length], [27, 40])

  for (const { phone, rows } of people) {
    const account = String(oldId(rows[0]!.n))
    const answers = new Set<string>()
    for (const { n, username, number } of rows) {
      for (const token of oldTokens(number, SECRET)) {
        const { status, body } = await service.call('GET', '/users/me', { token })
        const admin = phone === VARIABLES.ADMIN_NUMBERS
        t.match({ status, body }, { status: 200, body: { _id: account, number: phone, admin } }, number)
        answers.add(body.username)
      }
      const [token] = oldTokens(number, SECRET)
      t.match(
        await service.call('POST', '/users', { token, json: { username, number } }),
        { status: 201, body: { message: 'User created', user_id: account } },
        `${JSON.stringify(username)} signs in`
      )
      t.match(await service.call('GET', `/users/${oldId(n)}`, { token }), { status: 200, body: { _id: account } })
    }
    t.same([...answers], [rows[0]!.username], 'the name that the oldest row was shown with')
  }

  // a person without an old token signs in by a code, in another form of the number
  const again = await service.signIn('+919876500017')
  t.match(await service.call('GET', '/users/me', { token: again.token }), {
    status: 200,
    body: { _id: String(oldId(people[17]!.rows[0]!.n)) }
  })

  const { body: { items } } = await ok(service.call('GET', '/library?per_page=100', { token: again.token }))
  t.equal(items.length, 20)
  for (const item of items) {
    const { bytes, row } = pictures.find(({ row }) => String(row._id) === item.id)!
    t.equal(item.original_url, row.url, 'its address stays')
    t.match(item, { user_id: row.user_id, type: /^(gif|image)$/, category: /^(GIF|Images)$/, created_at: /^2023-03-02T/ })
    const original = await fetch(item.original_url)
    t.same([original.status, Buffer.from(await original.arrayBuffer())], [200, bytes], item.original_url)
    const served = await fetch(item.url)
    const first = Buffer.from(await served.arrayBuffer()).toString('latin1', 0, 4)
    t.match([served.status, first], [200, /^(GIF8|\x89PNG)$/], item.url)
  }

  const admin = (await service.signIn(VARIABLES.ADMIN_NUMBERS)).token
  t.match(await service.call('GET', '/users/me', { token: admin }), { status: 200, body: { admin: true } })
  t.equal((await service.call('DELETE', `/library/${oldId(100)}`, { token: admin })).status, 204)
  t.equal((await fetch(pictures[10]!.row.url)).status, 200, 'another row names the same object')
})

/** The replaced system's database and bucket, and an operator who sets what docs/taking-over.md says. */
async function oldSystem (t: Test) {
  const services = await startServices(t)
  const mongo = await new MongoClient(services.mongoUri).connect()
  const client = s3Client(services)
  t.teardown(async () => {
    await mongo.close()
    client.destroy()
  })
  const { bucket, endpoint } = services.s3
  const pictures = await fillOldSystem(mongo.db(), { client, bucket, address: `${endpoint}/${bucket}` })
  await publishTakeover(client, bucket)
  return { services, pictures, env: { ...environment(services), ...VARIABLES } }
}
