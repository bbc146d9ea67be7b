import { once } from 'node:events'
import { connect as dial, type Socket } from 'node:net'
import {
  BSON,
  Long,
  MongoNetworkError,
  MongoServerError,
  UUID,
  type CommandStartedEvent,
  type Document
} from 'mongodb'
import t, { type Test } from 'tap'
import { startMongo } from '../server.js'
import { connect, scratch, start } from './mongo-helper.js'

const codeOf = async (promise: Promise<unknown>): Promise<unknown> => {
  try {
    await promise
    return 'none'
  } catch (error) {
    return error instanceof MongoServerError ? error.code : error
  }
}

/** An OP_MSG with a body, and document sequences after it. */
function message (
  body: Document,
  {
    flags = 0,
    sequences = {},
    opCode = 2013
  }: { flags?: number, sequences?: { [name: string]: Document[] }, opCode?: number } = {}
): Buffer {
  const parts: Buffer[] = [Buffer.alloc(20), Buffer.of(0), Buffer.from(BSON.serialize(body))]
  for (const [name, documents] of Object.entries(sequences)) {
    const content = Buffer.concat([
      Buffer.from(`${name}\0`),
      ...documents.map(document => Buffer.from(BSON.serialize(document)))
    ])
    const size = Buffer.alloc(4)
    size.writeInt32LE(content.length + 4)
    parts.push(Buffer.of(1), size, content)
  }
  const bytes = Buffer.concat(parts)
  bytes.writeInt32LE(bytes.length, 0)
  bytes.writeInt32LE(42, 4)
  bytes.writeInt32LE(opCode, 12)
  bytes.writeUInt32LE(flags, 16)
  return bytes
}

async function raw (t: Test, port: number): Promise<{
  socket: Socket
  reply: () => Promise<Document>
  closed: Promise<unknown>
}> {
  const socket = dial(port, '127.0.0.1')
  t.teardown(() => { socket.destroy() })
  socket.on('error', () => {})
  const closed = once(socket, 'close')
  await once(socket, 'connect')
  let buffer = Buffer.alloc(0)
  const reply = async (): Promise<Document> => {
    while (buffer.length < 4 ||
      buffer.length < buffer.readInt32LE(
        0
      )) buffer = Buffer.concat([buffer, (await once(socket, 'data') as [Buffer])[0]])
    const bytes = buffer.subarray(0, buffer.readInt32LE(0))
    buffer = buffer.subarray(bytes.length)
    t.equal(bytes.readInt32LE(8), 42, 'the reply names its request')
    return BSON.deserialize(bytes.subarray(bytes.readInt32LE(12) === 1 ? 36 : 21))
  }
  return { socket, reply, closed }
}

t.test('frames', async t => {
  const { server, db } = await start(t)

  t.test('split to bytes, and joined', async t => {
    const { socket, reply } = await raw(t, server.port)
    const ping = message({ ping: 1, $db: 'admin' })
    for (const byte of ping) socket.write(Buffer.of(byte))
    t.equal((await reply()).ok, 1)
    socket.write(Buffer.concat([ping, ping, ping]))
    for (let count = 0; count < 3; count++) t.equal((await reply()).ok, 1)
  })

  t.test('document sequences, and requests that want no answer', async t => {
    const { socket, reply } = await raw(t, server.port)
    socket.write(message({ insert: 'sequence', $db: 'test' }, { sequences: { documents: [{ _id: 1 }, { _id: 2 }] } }))
    t.match(await reply(), { n: 2, ok: 1 })
    socket.write(message({ insert: 'sequence', $db: 'test', documents: [{ _id: 3 }] }, { flags: 2 }))
    socket.write(message({ find: 'sequence', $db: 'test' }))
    t.match(
      await reply(),
      { cursor: { firstBatch: [{ _id: 1 }, { _id: 2 }, { _id: 3 }] } },
      'the next answer is that of the next request'
    )
    socket.write(message({ ping: 1, $db: 'admin' }, { flags: 1 << 16 }))
    t.equal((await reply()).ok, 1, 'exhaustAllowed may be ignored')
  })

  t.test('the first hello as OP_QUERY', async t => {
    const { socket, reply } = await raw(t, server.port)
    const body = Buffer.concat([
      Buffer.alloc(20),
      Buffer.from('admin.$cmd\0'),
      Buffer.alloc(4),
      Buffer.from([255, 255, 255, 255]),
      BSON.serialize({ ismaster: 1, helloOk: true })
    ])
    body.writeInt32LE(body.length, 0)
    body.writeInt32LE(42, 4)
    body.writeInt32LE(2004, 12)
    socket.write(body)
    t.match(await reply(), {
      ismaster: true,
      helloOk: true,
      setName: /./,
      hosts: [`127.0.0.1:${server.port}`],
      minWireVersion: 0,
      logicalSessionTimeoutMinutes: 30,
      ok: 1
    })
  })

  t.test('a malformed message ends only its own connection', async t => {
    const good = message({ ping: 1, $db: 'admin' })
    const broken = (change: (bytes: Buffer) => void): Buffer => {
      const bytes = Buffer.from(good)
      change(bytes)
      return bytes
    }
    const wrong: { [what: string]: Buffer } = {
      'length below the header': broken(bytes => bytes.writeInt32LE(3, 0)),
      'negative length': broken(bytes => bytes.writeInt32LE(-1, 0)),
      'length beyond the limit': broken(bytes => bytes.writeInt32LE(48_000_001, 0)),
      'unknown opcode': broken(bytes => bytes.writeInt32LE(9999, 12)),
      'compressed message': broken(bytes => bytes.writeInt32LE(2012, 12)),
      'unknown flag': broken(bytes => bytes.writeUInt32LE(4, 16)),
      'unknown section': broken(bytes => { bytes[20] = 7 }),
      'document longer than its message': broken(bytes => bytes.writeInt32LE(10_000, 21)),
      'negative document length': broken(bytes => bytes.writeInt32LE(-5, 21)),
      'unterminated document': broken(bytes => { bytes[bytes.length - 1] = 1 }),
      'a checksum': message({ ping: 1, $db: 'admin' }, { flags: 1 }),
      'no sections': (() => {
        const bytes = Buffer.from(good.subarray(0, 20))
        bytes.writeInt32LE(20, 0)
        return bytes
      })(),
      'OP_QUERY without a name': broken(bytes => { bytes.writeInt32LE(2004, 12); bytes.fill(1, 20) }),
      HTTP: Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
    }
    for (const [what, bytes] of Object.entries(wrong)) {
      const { socket, closed } = await raw(t, server.port)
      socket.write(bytes)
      await closed
      t.equal((await db.command({ ping: 1 })).ok, 1, what)
    }
    const { socket } = await raw(t, server.port)
    socket.write(good.subarray(0, 10))
    socket.destroy()
    t.equal((await db.command({ ping: 1 })).ok, 1)
  })
})

t.test('drivers find a replica set of one, with and without directConnection', async t => {
  const { server } = await start(t)
  for (const uri of [
    server.uri,
    `mongodb://127.0.0.1:${server.port}/hookaba`,
    `mongodb://127.0.0.1:${server.port}/?replicaSet=embedded`
  ]) {
    const started: CommandStartedEvent[] = []
    const client = await connect(t, uri, { monitorCommands: true })
    client.on('commandStarted', event => started.push(event))
    await client.db('test').collection('a').insertOne({})
    t.ok(
      started.some(({ command }) => command.insert === 'a' && command.txnNumber !== undefined),
      'writes are sent as retryable ones'
    )
    await client.close()
  }
})

t.test('a retryable write acts once', async t => {
  const path = scratch(t)
  let server = await startMongo({ path })
  const dialled = async (): Promise<Awaited<ReturnType<typeof raw>>> => await raw(t, server.port)
  const ask = async (connection: Awaited<ReturnType<typeof raw>>, body: Document): Promise<Document> => {
    connection.socket.write(message({ ...body, $db: 'test' }))
    return await connection.reply()
  }
  let connection = await dialled()
  const lsid = { id: new UUID() }
  const txn = (txnNumber: number): Document => ({ lsid, txnNumber: Long.fromNumber(txnNumber) })
  const insert = { insert: 'once', documents: [{ _id: 1 }, { _id: 2 }], ...txn(1) }
  t.match(await ask(connection, insert), { n: 2, ok: 1 })
  t.match(await ask(connection, insert), { n: 2, ok: 1, retriedStmtIds: [0, 1], writeErrors: undefined })
  const increment = { findAndModify: 'once', query: { _id: 1 }, update: { $inc: { n: 1 } }, new: true, ...txn(2) }
  t.match(await ask(connection, increment), { value: { _id: 1, n: 1 } })

  await server.close()
  server = await startMongo({ path })
  t.teardown(() => server.close())
  connection = await dialled()
  t.match(
    await ask(connection, increment),
    { value: { _id: 1, n: 1 }, lastErrorObject: { n: 1, updatedExisting: true } },
    'also after a restart'
  )
  t.match(await ask(connection, { find: 'once', filter: { _id: 1 } }), { cursor: { firstBatch: [{ _id: 1, n: 1 }] } })
  t.match(await ask(connection, insert), { ok: 0, code: 225, codeName: 'TransactionTooOld' })
  t.match(
    await ask(connection, {
      update: 'once',
      updates: [{ q: { _id: 1 }, u: { $inc: { n: 1 } } }, { q: { _id: 2 }, u: { $inc: { n: 1 } } }],
      ...txn(3)
    }),
    { n: 2, nModified: 2 }
  )
  t.match(
    await ask(connection, {
      update: 'once',
      updates: [{ q: { _id: 1 }, u: { $inc: { n: 1 } } }, { q: { _id: 2 }, u: { $inc: { n: 1 } } }],
      ...txn(3)
    }),
    { n: 2, nModified: 2 }
  )
  t.match(await ask(connection, { find: 'once', sort: { _id: 1 } }), { cursor: { firstBatch: [{ n: 2 }, { n: 1 }] } })
  t.match(
    await ask(connection, {
      insert: 'once',
      documents: [{ _id: 9 }],
      ...txn(4),
      startTransaction: true,
      autocommit: false
    }),
    { ok: 0, code: 40415 }
  )
  t.match(
    await ask(connection, { find: 'once', filter: { _id: 9 } }),
    { cursor: { firstBatch: [] } },
    'a transaction that is refused leaves nothing'
  )
  t.match(await ask(connection, { commitTransaction: 1, ...txn(4), autocommit: false }), { ok: 0, code: 59 })
})

t.test('fail points', async t => {
  const { client, db } = await start(t, {}, { appName: 'tested' })
  const fail = async (data: Document, mode: unknown = { times: 1 }) => await client.db('admin').command({
    configureFailPoint: 'failCommand',
    mode,
    data
  })
  const numbers = db.collection('numbers')

  await fail({ failCommands: ['insert'], errorCode: 91 })
  await numbers.insertOne({ n: 1 })
  t.equal(await numbers.countDocuments(), 1, 'a retryable error once is hidden by the driver\'s retry')
  await fail({ failCommands: ['insert'], closeConnection: true })
  await numbers.insertOne({ n: 2 })
  t.equal(await numbers.countDocuments(), 2, 'so is a connection that breaks')
  await fail({ failCommands: ['find'], errorCode: 8 })
  t.equal(await codeOf(numbers.find().toArray()), 8)
  t.equal((await numbers.find().toArray()).length, 2)
  await fail({ failCommands: ['find'], errorCode: 8 }, { skip: 1 })
  t.equal((await numbers.find().toArray()).length, 2)
  t.equal(await codeOf(numbers.find().toArray()), 8)
  await fail({ failCommands: ['ping'], errorCode: 8, appName: 'another' }, 'alwaysOn')
  t.equal((await db.command({ ping: 1 })).ok, 1)
  await fail({ failCommands: ['ping'], errorCode: 8, appName: 'tested' }, 'alwaysOn')
  t.equal(await codeOf(db.command({ ping: 1 })), 8)
  await fail({ failCommands: ['find'], blockConnection: true, blockTimeMS: 60_000 })
  const blocked = codeOf(numbers.findOne({}, { maxTimeMS: 500 }))
  t.equal(await numbers.countDocuments(), 2, 'other connections are not blocked')
  t.equal(await blocked, 50, 'a command is not held longer than its maxTimeMS')
  await fail({}, 'off')
  t.equal(await codeOf(client.db('admin').command({ configureFailPoint: 'anotherOne', mode: 'off' })), 9)
})

t.test('starting and closing', async t => {
  const path = scratch(t)
  const first = await startMongo({ path })
  await t.rejects(startMongo({ path: scratch(t), port: first.port }), {
    message: `Embedded MongoDB cannot listen on 127.0.0.1:${first.port}: the port is already in use`
  })
  const client = await connect(t, first.uri, { serverSelectionTimeoutMS: 2000 })
  await client.db('test').collection('kept').insertOne({ a: 1 })
  await client.db('test').collection('kept').createIndex({ a: 1 }, { unique: true })
  const stale = client.db('test').collection('kept').find()
  await first.close()
  t.ok(await codeOf(client.db('test').command({ ping: 1 })) instanceof Error, 'a closed server does not answer')
  await stale.close().catch((error: unknown) => { t.ok(error instanceof MongoNetworkError) })
  const second = await startMongo({ path, port: first.port })
  t.teardown(() => second.close())
  const again = (await connect(t, second.uri)).db('test').collection('kept')
  t.match(await again.findOne(), { a: 1 })
  t.equal(await codeOf(again.insertOne({ a: 1 })), 11000)
})
