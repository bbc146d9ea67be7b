import { MongoClient, type Db } from 'mongodb'
import t from 'tap'
import { boundedCollection } from '../../services/bounded-collection.js'
import { timedDatabase } from '../../services/timed-commands.js'
import { startServices } from '../helpers/backends.js'

const ROWS = 150 // more than a first batch

t.test('The commands that are timed are those that the driver sends', async t => {
  const { mongoUri } = await startServices(t)
  const client = await new MongoClient(mongoUri, { monitorCommands: true }).connect()
  t.teardown(() => client.close())
  const sent: string[] = []
  client.on('commandStarted', ({ commandName }) => sent.push(commandName))
  const { timed, database, rows } = observed(client.db())

  await rows.insertOne({ _id: 0, n: 0 })
  await t.rejects(rows.insertOne({ _id: 0, n: 1 }), { code: 11000 })
  await rows.insertMany(Array.from({ length: ROWS }, (_, i) => ({ _id: i + 1, n: i })))
  await rows.findOne({ _id: 1 })
  await rows.find().toArray()
  await rows.find().sort({ _id: 1 }).next()
  let read = 0
  for await (const row of rows.find()) read += row ? 1 : 0
  t.equal(read, ROWS + 1)
  await rows.aggregate([{ $match: { n: 3 } }]).toArray()
  await rows.countDocuments({ n: 3 })
  await rows.updateOne({ _id: 1 }, { $set: { n: 9 } })
  await rows.updateMany({ n: 9 }, { $set: { n: 8 } })
  await rows.replaceOne({ _id: 1 }, { n: 7 })
  await rows.findOneAndUpdate({ _id: 1 }, { $set: { n: 6 } })
  await rows.findOneAndReplace({ _id: 1 }, { n: 5 })
  await rows.bulkWrite([{ updateOne: { filter: { _id: 2 }, update: { $set: { n: 4 } } } }])
  await rows.bulkWrite([{ deleteOne: { filter: { _id: 2 } } }])
  await rows.deleteOne({ _id: 3 })
  await rows.deleteMany({ n: 4 })
  await database.command({ ping: 1 })

  t.strictSame(namesOf(timed), withOneForArrays(sent))
  t.strictSame(timed.filter(({ outcome }) => outcome !== 'ok'), [], 'a taken value is no failure')
  t.ok(timed.every(({ ms }) => ms > 0))
  await t.rejects(rows.updateOne({}, { $nonsense: 1 }))
  await t.rejects(database.command({ nonsense: 1 }))
  t.match(timed.slice(-2), [{ command: 'update', outcome: 'failed' }, { command: 'nonsense', outcome: 'failed' }])
})

t.test('A command that finds no connection is counted as failed', async t => {
  const client = new MongoClient('mongodb://127.0.0.1:9', { serverSelectionTimeoutMS: 50 })
  t.teardown(() => client.close())
  const { timed, rows } = observed(client.db())
  await t.rejects(rows.insertOne({ _id: 0, n: 0 }))
  await t.rejects(rows.find().next())
  t.match(timed, [{ command: 'insert', outcome: 'failed' }, { command: 'find', outcome: 'failed' }])
})

function observed (db: Db) {
  const timed: Array<{ command: string, outcome: string, ms: number }> = []
  const database = timedDatabase(db, (command, outcome, ms) => { timed.push({ command, outcome, ms }) })
  return { timed, database, rows: boundedCollection<{ _id: number, n: number }>(database, 'rows', {}) }
}

const namesOf = (timed: Array<{ command: string }>) => timed.map(({ command }) => command)

/** `toArray` is timed as one `find`. The first cursor of the test is read so. */
function withOneForArrays (sent: string[]): string[] {
  const commands = sent.filter(command => command !== 'killCursors')
  const first = commands.indexOf('getMore')
  return commands.filter((_, i) => i !== first)
}
