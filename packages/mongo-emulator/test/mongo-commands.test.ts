import { MongoServerError, type CommandStartedEvent } from 'mongodb'
import t from 'tap'
import { connect, start } from './mongo-helper.js'

const codeOf = async (promise: Promise<unknown>): Promise<unknown> => {
  try {
    await promise
    return 'none'
  } catch (error) {
    return error instanceof MongoServerError ? error.code : error
  }
}

t.test('maxTimeMS ends longer operations, cursors and index builds included', async t => {
  const { db } = await start(t)
  const many = db.collection<{ _id: number, text: string }>('many')
  await many.insertMany(Array.from({ length: 2000 }, (_value, _id) => ({ _id, text: 'x'.repeat(16) })))
  const slow = { text: { $regex: '^(x+x+)+y' } }
  t.equal(await codeOf(many.find(slow, { maxTimeMS: 5 }).toArray()), 50)
  t.equal(await codeOf(many.countDocuments(slow, { maxTimeMS: 5 })), 50)
  t.equal(await codeOf(many.updateMany(slow, { $set: { text: 'y' } }, { maxTimeMS: 5 })), 50)
  t.equal(
    await codeOf(many.find({ $or: [{ _id: { $lt: 3 } }, slow] }, { maxTimeMS: 20, batchSize: 1 }).toArray()),
    50,
    'all batches together have that time'
  )
  t.equal(await codeOf(many.createIndex({ a: 1, b: 1, c: 1, d: 1 }, { maxTimeMS: 1 })), 50)
  t.equal((await many.indexes()).length, 1, 'nothing stays of the index')
  t.equal((await many.find({}, { maxTimeMS: 60_000, batchSize: 100 }).toArray()).length, 2000)
  t.equal(await codeOf(db.command({ find: 'many', maxTimeMS: -1 })), 2)
  t.equal(await codeOf(db.command({ find: 'many', maxTimeMS: 'soon' })), 2)
})

t.test('listings have cursors like others', async t => {
  const { client, db } = await start(t)
  const names = ['a', 'b', 'c']
  for (const name of names) await db.collection(name).insertOne({})
  await db.collection('a').createIndexes([{ key: { x: 1 } }, { key: { y: 1 } }])
  await client.withSession(async session => {
    for (const options of [{ session, batchSize: 1 }, { batchSize: 1 }]) {
      t.strictSame((await db.listCollections({}, options).toArray()).map(({ name }) => name).sort(), names)
      t.equal((await db.collection('a').listIndexes(options).toArray()).length, 3)
    }
  })
})

t.test('unacknowledged writes are done, and do not mix up the answers of their connection', async t => {
  const { server } = await start(t)
  const client = await connect(t, server.uri, { maxPoolSize: 1, monitorCommands: true })
  const started: CommandStartedEvent[] = []
  client.on('commandStarted', event => started.push(event))
  const silent = client.db('test').collection<{ _id: number }>('silent', { writeConcern: { w: 0 } })
  for (const _id of [1, 1, 2]) await silent.insertOne({ _id })
  t.equal(await silent.countDocuments(), 2)
  t.ok(started.filter(({ commandName }) => commandName === 'insert').every(({ command }) =>
    command.txnNumber === undefined))
})
