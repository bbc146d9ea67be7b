import { PutObjectCommand } from '@aws-sdk/client-s3'
import { MongoClient } from 'mongodb'
import t, { type Test } from 'tap'
import { checkLibraryCommand } from '../../cli/commands/check-library.js'
import { migrateCommand } from '../../cli/commands/migrate.js'
import { preflightCommand } from '../../cli/commands/preflight.js'
import { environment, publishTakeover, s3Client, startServices } from '../helpers/backends.js'
import { endOf, renditions } from '../helpers/command.js'
import { dump, oldId } from '../helpers/old-database.js'
import { gif } from '../helpers/small-pictures.js'

const READY = {
  JWT_LEGACY_SECRET: 'secret of the replaced system',
  ACCESS_TOKEN_TTL: '3650d',
  LIBRARY_URL_RENDITION: '64x64',
  ADMIN_NUMBERS: '+919876543210',
  TRUST_PROXY: 'true'
}

t.test('npm run preflight names everything that a takeover lacks, and changes nothing', async t => {
  const { db, env, run } = await oldSystem(t)
  const before = await dump(db)
  const { code, stdout } = await run(preflightCommand)
  t.equal(code, 3)
  t.same(stdout.replaceAll(/\. .*/g, '').split('\n'), [
    'open: database: not converted',
    'note: JWT_LEGACY_SECRET: not set',
    'open: ACCESS_TOKEN_TTL: 365d',
    'open: LIBRARY_URL_RENDITION: not set',
    'open: ADMIN_NUMBERS: not set',
    'note: TRUST_PROXY: off',
    'open: pictures of the replaced system: 0 of 2 that were tried are public',
    'ok: pictures of this service: none to try',
    'note: renditions: some items have none, or not every size',
    `library ${oldId(1)}: open: its address answers 403 to clients without credentials`,
    `library ${oldId(2)}: open: its address answers 403 to clients without credentials`,
    'Missing: 5.',
    ''
  ])
  t.same(await dump(db), before)
  t.match(await endOf(preflightCommand, [], { ...env, JWT_LEGACY_SECRET: 'jwt-secret' }), {
    stdout: /^open: JWT_LEGACY_SECRET: a known default\./m
  })
})

t.test('Two commands and the variables later nothing is missing', async t => {
  const { run, publish } = await oldSystem(t)
  t.match(await run(migrateCommand), {
    code: 0,
    stdout: new RegExp(`^library ${oldId(1)}: open: its address answers 403 to clients without credentials$`, 'm')
  })
  t.match(await run(checkLibraryCommand), { code: 3, stdout: /2 of its pictures that were tried are not public/ })
  await publish()
  t.match(await run(checkLibraryCommand), { code: 0 })
  t.match(await run(migrateCommand), { code: 0, stdout: 'Nothing to do.\n' })
  t.match(await run(renditions), { code: 0 })
  const { code, stdout } = await run(preflightCommand, READY)
  t.equal(code, 0, stdout)
  t.equal(stdout.split('\n').at(-2), 'Nothing is missing.')
})

t.test('npm run preflight asks nothing of the replaced system where it wrote nothing', async t => {
  const services = await startServices(t)
  const { ADMIN_NUMBERS, TRUST_PROXY } = READY
  t.match(await endOf(preflightCommand, [], { ...environment(services), ADMIN_NUMBERS, TRUST_PROXY }), {
    code: 0,
    stdout: [
      'ok: database: converted',
      'ok: ADMIN_NUMBERS: set',
      'ok: TRUST_PROXY: true',
      'ok: pictures of the replaced system: none to try',
      'ok: pictures of this service: none to try',
      'ok: renditions: complete',
      'Nothing is missing.\n'
    ].join('\n')
  })
  t.match(await endOf(preflightCommand, ['now'], {}), { code: 2, stderr: 'Usage: npm run preflight\n' })
  t.match(await endOf(preflightCommand, [], {}), { code: 1, stderr: /^MONGO_URI and S3_BUCKET must be set/ })
})

/** Two users and two pictures as the replaced system left them, in a bucket whose root nobody may read. */
async function oldSystem (t: Test) {
  const services = await startServices(t)
  const mongo = await new MongoClient(services.mongoUri).connect()
  const client = s3Client(services)
  t.teardown(async () => {
    await mongo.close()
    client.destroy()
  })
  const Bucket = services.s3.bucket
  for (const Key of ['cat.gif', 'dog.gif']) await client.send(new PutObjectCommand({ Bucket, Key, Body: gif }))
  const url = (name: string) => `${services.s3.endpoint}/${Bucket}/${name}`
  const db = mongo.db()
  await db.collection('library').insertMany(['cat.gif', 'dog.gif'].map((name, n) =>
    ({ _id: oldId(n + 1), url: url(name), user_id: 'meera', created_at: '2023-03-02T09:00:00' })))
  await db.collection('users').insertMany(['9876543210', '9876543211'].map((number, n) =>
    ({ _id: oldId(n + 1), username: `User ${n}`, number, admin: false })))
  const env = environment(services)
  return {
    db,
    env,
    run: (command: Parameters<typeof endOf>[0], more: Record<string, string> = {}) =>
      endOf(command, [], { ...env, ...more }),
    publish: () => publishTakeover(client, Bucket)
  }
}
