import { MongoClient, MongoServerError, type CommandStartedEvent, type Document } from 'mongodb'
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
  const many = db.collection<{ _id: number }>('many')
  await many.insertMany(Array.from({ length: 2000 }, (_value, _id) => ({ _id })))
  const slow = {
    $expr: {
      $lt: [{ $reduce: { input: { $range: [0, 2000] }, initialValue: 0, in: { $add: ['$$value', '$$this'] } } }, 0]
    }
  }
  t.equal(await codeOf(many.find(slow, { maxTimeMS: 5 }).toArray()), 50)
  t.equal(await codeOf(many.countDocuments(slow, { maxTimeMS: 5 })), 50)
  t.equal(await codeOf(many.updateMany(slow, { $set: { a: 1 } }, { maxTimeMS: 5 })), 50)
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

t.test('cursors of listings belong to their session like others', async t => {
  const { client, db } = await start(t)
  const names = ['a', 'b', 'c']
  for (const name of names) await db.createCollection(name)
  await db.collection('a').createIndexes([{ key: { x: 1 } }, { key: { y: 1 } }])
  await client.withSession(async session => {
    for (const options of [{ session, batchSize: 1 }, { batchSize: 1 }]) {
      t.strictSame((await db.listCollections({}, options).toArray()).map(({ name }) => name).sort(), names)
      t.equal((await db.collection('a').listIndexes(options).toArray()).length, 3)
    }
  })
})

t.test('fail points of retryable writes', async t => {
  const { client, db } = await start(t)
  const fail = async (name: string, mode: unknown, data: Document = {}): Promise<Document> => await client
    .db('admin')
    .command(
      { configureFailPoint: name, mode, data }
    )
  const numbers = db.collection<{ _id: number }>('numbers')

  await fail('failCommand', { times: 1 }, {
    failCommands: ['insert'],
    writeConcernError: { code: 91, errmsg: 'Replication is being shut down' }
  })
  await numbers.insertOne({ _id: 1 })
  t.strictSame(await numbers.find().toArray(), [{ _id: 1 }], 'a write concern error to be retried says so')

  await fail('onPrimaryTransactionalWrite', { times: 1 })
  await numbers.insertOne({ _id: 2 })
  t.equal(await numbers.countDocuments(), 2, 'an answer that is lost is asked for again')
  await fail('onPrimaryTransactionalWrite', { times: 1 }, { failBeforeCommitExceptionCode: 1 })
  await numbers.insertOne({ _id: 3 })
  t.equal(await numbers.countDocuments(), 3)
  await fail('onPrimaryTransactionalWrite', { times: 2 }, { failBeforeCommitExceptionCode: 1 })
  await t.rejects(numbers.insertOne({ _id: 4 }))
  t.equal(await numbers.countDocuments(), 3, 'lost twice, nothing was done')
  await fail('onPrimaryTransactionalWrite', { times: 3 })
  await numbers.bulkWrite([
    { insertOne: { document: { _id: 5 } } },
    { insertOne: { document: { _id: 6 } } },
    { deleteOne: { filter: { _id: 1 } } }
  ])
  t.equal(await numbers.countDocuments(), 4, 'every statement is lost once, what was done before is not')
  t.match(await fail('onPrimaryTransactionalWrite', 'off'), { count: 1 + 1 + 2 + 3 }, 'it tells how often it was hit')

  await fail('failCommand', { times: 1 }, { failCommands: ['find'], namespace: 'test.others', errorCode: 8 })
  t.equal((await numbers.find().toArray()).length, 4, 'another namespace is not meant')
  t.equal(await codeOf(db.collection('others').find().toArray()), 8)
  await fail('failCommand', { times: 1 }, { failCommands: ['isMaster'], errorCode: 8 })
  t.equal(await codeOf(db.command({ ismaster: 1 })), 8, 'whichever way a name is written')
  await fail('maxTimeAlwaysTimeOut', 'alwaysOn')
  t.equal(await codeOf(numbers.find({}, { maxTimeMS: 60_000 }).toArray()), 50)
  t.equal((await numbers.find().toArray()).length, 4)
  await fail('maxTimeAlwaysTimeOut', 'off')
  t.equal(await codeOf(fail('anotherOne', 'off')), 9)
})

t.test('unsupported commands are refused with a message', async t => {
  const { server, client, db } = await start(t)
  const a = db.collection('a')
  await a.insertOne({})
  await t.rejects(a.watch().next(), { code: 40573, message: 'change streams are not supported by this server' })
  await t.rejects(client.watch().next(), { code: 40573 })
  await t.rejects(client.withSession({ snapshot: true }, async session => await a.findOne({}, { session })), {
    code: 72,
    message: /snapshot/
  })
  t.equal(await codeOf(db.command({ find: 'a', readConcern: { level: 'none' } })), 2)
  for (const level of ['local', 'available', 'majority', 'linearizable'] as const) {
    t.ok(await a.findOne({}, { readConcern: { level } }), level)
  }
  const stranger = new MongoClient(server.uri.replace('//', '//name:secret@'), { serverSelectionTimeoutMS: 5000 })
  t.teardown(() => stranger.close())
  await t.rejects(stranger.connect(), { code: 18, codeName: 'AuthenticationFailed' })
})

t.test('collections can be renamed', async t => {
  const { client, db } = await start(t)
  const [a, b] = [db.collection<{ n: number }>('a'), db.collection<{ n: number }>('b')]
  await a.insertMany([{ n: 1 }, { n: 2 }])
  await a.createIndex({ n: 1 }, { unique: true })
  await b.insertOne({ n: 9 })
  t.equal(await codeOf(a.rename('b')), 48)
  t.equal(await codeOf(client.db('admin').command({ renameCollection: 'test.a', to: 'test.a' })), 20)
  t.equal(await codeOf(db.collection('none').rename('c')), 26)
  t.equal(await codeOf(a.rename('b', { dropTarget: true })), 'none')
  t.strictSame((await b.find().sort({ n: 1 }).toArray()).map(({ n }) => n), [1, 2])
  t.equal(await codeOf(b.insertOne({ n: 1 })), 11000, 'indexes go with it')
  t.equal(await a.countDocuments(), 0)
  await client.db('admin').command({ renameCollection: 'test.b', to: 'other.b' })
  t.equal(await client.db('other').collection('b').countDocuments(), 2)
  t.match(await client.db('other').command({ validate: 'b' }), {
    valid: true,
    nrecords: 2,
    nIndexes: 2,
    keysPerIndex: { _id_: 2, n_1: 2 }
  })
  t.match(await client.db('other').command({ dataSize: 'other.b' }), { numObjects: 2 })
})

t.test('commands that tools send are answered', async t => {
  const { server, client, db } = await start(t)
  const admin = client.db('admin')
  t.match(await admin.command({ replSetGetStatus: 1 }), {
    set: 'embedded',
    myState: 1,
    members: [{ name: `127.0.0.1:${server.port}`, stateStr: 'PRIMARY' }]
  })
  t.strictSame(
    (await admin.admin().listDatabases({ nameOnly: true })).databases.map(({ name }) => name),
    ['admin', 'config', 'local']
  )
  t.strictSame(
    await db.aggregate([{ $documents: [{ a: 1 }, { a: { $add: [1, 1] } }] }, { $match: { a: 2 } }]).toArray(),
    [{ a: 2 }]
  )
  t.equal(await codeOf(db.aggregate([{ $match: {} }]).toArray()), 73)
  t.equal(
    (await admin
      .aggregate([{ $listLocalSessions: {} }, { $limit: 1 }, { $project: { _id: 0, dummy: 'x' } }])
      .toArray()).length,
    1
  )
  t.match(await admin.aggregate([{ $currentOp: {} }]).toArray(), [{ active: true }])
  await db.collection('a').createIndex({ n: 1 }, { background: true })
  t.match(await db.collection('a').indexes(), [{ name: '_id_' }, { name: 'n_1', background: true }])
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
