import { MongoClient, type Db } from 'mongodb'
import t, { type Test } from 'tap'
import { migrate } from '../../services/migration/migration.js'
import { withUriOption } from '../helpers/backends.js'
import { failCommands } from '../helpers/fail-commands.js'
import { databaseOf030, oldDatabase, run, runProcess } from '../helpers/migrate-command.js'
import { database030, dump, fillFrom030, fillOldDatabase } from '../helpers/old-database.js'
import { scale } from '../helpers/test-length.js'

/** The fail points of this file are for clients of this name. */
const APP_NAME = 'migrate-test'

t.test(
  'another npm run migrate after a kill or a failed write reaches the same end',
  async t => {
    const { uri, db } = await oldDatabase(t)
    await migrate({ db, region: 'IN', dryRun: false, print: () => {} })
    const end = await dump(db)

    for (const killAfterLines of [20, 4, 1, 12, 30].slice(0, scale({ short: 1, long: 5 }))) {
      let code
      for (let tries = 0; tries < 10 && code !== null; tries++) { // on a busy machine the kill may come after the end
        await refill(db)
        code = (await runProcess(uri, { killAfterLines })).code
      }
      t.equal(code, null, `killed after ${killAfterLines} lines`)
      t.equal((await run(uri)).code, 0)
      t.same(await dump(db), end)
    }

    const client = failingClient(t, uri)
    const kinds = [1, 3, 8, 9, 36, 37, 38, 46]
    let stopped = 0
    for (const stop of stops(kinds)) {
      await refill(db)
      const heal = await failCommands(uri, {
        commands: ['update', 'delete', 'createIndexes', 'dropIndexes'],
        appName: APP_NAME,
        errorCode: 8000,
        skip: stop
      })
      const run = migrate({ db: client.db(db.databaseName), region: 'IN', dryRun: false, print: () => {} })
      const isWhole = await run.then(() => true, () => false)
      await heal()
      if (isWhole) break
      stopped++
      await migrate({ db, region: 'IN', dryRun: false, print: () => {} })
      t.same(await dump(db), end, `stopped after ${stop} writes`)
    }
    t.ok(stopped >= kinds.length, `${stopped} runs were stopped`)
  }
)

t.test('npm run migrate with a failing write exits with 1 and one sentence without a number', async t => {
  const { uri } = await oldDatabase(t)
  const heal = await failCommands(uri, { commands: ['update'], appName: APP_NAME, errorCode: 11601 })
  const { code, stderr } = await runProcess(withUriOption(uri, 'appName', APP_NAME))
  await heal()
  t.equal(code, 1)
  t.match(
    stderr,
    /^The migration stopped; what is done stays done, and another run does the rest: MongoServerError[^\n]*\n$/
  )
})

t.test('npm run migrate on a database of 0.3.0', async t => {
  t.test('when a run stops at any of its writes, another run reaches the same end', async t => {
    const { services, db } = await databaseOf030(t)
    const client = failingClient(t, services.mongoUri)
    const now = () => new Date('2026-11-29T00:00:00Z')
    const options = { region: 'IN', dryRun: false, now, print: () => {} }
    await migrate({ db, ...options })
    const old = JSON.stringify(database030)
    const normal = async () => JSON.stringify(await dump(db))
      .replaceAll(/\\"\$date\\":\\"20[^"]*"/g, '')
      .replaceAll(/[0-9a-f]{24}/g, id => old.includes(id) ? id : 'new')
    const end = await normal()
    const kinds = [1, 2, 11, 28, 29, 30, 31, 34, 37, 41, 42]
    let stopped = 0
    for (const stop of stops(kinds)) {
      await db.dropDatabase()
      await fillFrom030(db)
      const heal = await failCommands(services.mongoUri, {
        commands: ['update', 'delete', 'findAndModify', 'drop', 'dropIndexes', 'createIndexes'],
        appName: APP_NAME,
        errorCode: 8000,
        skip: stop
      })
      const isWhole = await migrate({ db: client.db(db.databaseName), ...options }).then(() => true, () => false)
      await heal()
      if (isWhole) break
      stopped++
      await migrate({ db, ...options })
      t.equal(await normal(), end, `stopped after ${stop} writes`)
    }
    t.ok(stopped >= kinds.length, `${stopped} runs were stopped`)
  })
})

/**
 * After how many of its writes a migration stops: at each kind of write, or in the long run at all of them. More than
 * there are end the test.
 */
const stops = (kinds: number[]) => scale({ short: 0, long: 1 }) ? Array.from({ length: 200 }, (_, n) => n) : kinds

async function refill (db: Db): Promise<void> {
  await db.dropDatabase()
  await fillOldDatabase(db)
}

/** A client that the fail points of this file apply to. */
function failingClient (t: Test, uri: string): MongoClient {
  const client = new MongoClient(withUriOption(uri, 'appName', APP_NAME))
  t.teardown(() => client.close())
  return client
}
