import { isDeepStrictEqual } from 'node:util'
import type { Document } from 'mongodb'
import t from 'tap'
import { failureOf } from '../helpers/answers.js'
import { failCommands } from '../helpers/fail-commands.js'
import { startFaultySetup } from '../helpers/faulty-setup.js'
import { type S3Fault } from '../helpers/s3-proxy.js'
import { gif } from '../helpers/small-pictures.js'
import { scale } from '../helpers/test-length.js'
import { eventually } from '../helpers/wait.js'

/** Whether each fault is tried in each way. */
const WHOLE = scale({ short: 0, long: 1 }) === 1

t.test('Uploads to a database that fails', async t => {
  const setup = await startFaultySetup(t)
  const service = await setup.start()
  const { token } = await service.signIn()
  const db = setup.client.db()

  const refusals: Array<{ name: string, collection: string, member: string, blocking: Document }> = [
    { name: 'the upload record', collection: 'uploads', member: 'state', blocking: { state: 'open' } },
    { name: 'its move to committing', collection: 'uploads', member: 'state', blocking: { state: 'committing' } },
    { name: 'the item', collection: 'library', member: 'title', blocking: { title: 'taken', key: 'none' } }
  ]
  for (const { name, collection, member, blocking } of refusals) {
    t.test(`An upload fails and leaves nothing when the database refuses ${name}`, async t => {
      const before = await setup.settled()
      const index = await db.collection(collection).createIndex({ [member]: 1 }, {
        unique: true,
        partialFilterExpression: { [member]: { $type: 'string' } }
      })
      const { insertedId } = await db.collection(collection).insertOne({ ...blocking })
      const upload = () => service.upload(token, gif, {
        fields: { user_id: 'meera', ...(collection === 'library' && { title: 'taken' }) }
      })
      t.equal(failureOf(await upload()), 'Failed to save library item')
      await db.collection(collection).deleteOne({ _id: insertedId })
      t.strictSame(await setup.settled(), before)
      await db.collection(collection).dropIndex(index)
      t.equal((await upload()).status, 201)
    })
  }

  t.test('An upload whose record cannot be deleted fails, and is removed later', async t => {
    const before = await setup.settled()
    const heal = await failCommands(setup.services.mongoUri, {
      commands: ['delete'],
      appName: setup.appName,
      errorCode: 8
    })
    const answer = await service.upload(token, gif)
    t.equal(failureOf(answer), 'Failed to save library item')
    const isStuck = async () => isDeepStrictEqual(await setup.left(), { ...before, uploads: 1 })
    await eventually(isStuck, 'its item and its objects are gone')
    await heal()
    t.strictSame(await setup.settled(), before)
  })

  t.test('An upload fails when a sweep has claimed its record', async t => {
    const before = await setup.settled()
    const { hit } = setup.s3.fault({ operation: 'PutObject', action: { do: 'delay', ms: 60_000 }, times: 1 })
    const answer = service.upload(token, gif)
    await hit
    await db.collection('uploads').updateMany({ state: 'open' }, { $set: { state: 'sweeping' } })
    setup.s3.clear()
    t.equal(failureOf(await answer), 'Failed to save library item')
    t.strictSame(await setup.settled(), before)
  })

  t.test('An upload fails when the database goes away after the file is stored', async t => {
    const before = await setup.settled()
    const { hit } = setup.s3.fault({ operation: 'PutObject', action: { do: 'delay', ms: 60_000 }, times: 1 })
    const answer = service.upload(token, gif)
    await hit
    await setup.mongo.down()
    setup.s3.clear()
    t.equal(failureOf(await answer), 'Failed to save library item')
    await setup.mongo.up()
    t.strictSame(await setup.settled(), before)
    t.equal(
      (await eventually(async () => {
        const reply = await service.upload(token, gif)
        return reply.status === 201 ? reply : undefined
      })).status,
      201,
      'and all is well with it'
    )
  })

  t.test('An upload fails when the database is away before the file is stored', async t => {
    const before = await setup.settled()
    await setup.mongo.down()
    setup.s3.requests.length = 0
    t.equal(failureOf(await service.upload(token, gif)), 'Failed to save library item')
    t.notOk(setup.s3.requests.some(({ operation }) => operation === 'PutObject'), 'nothing was stored')
    await setup.mongo.up()
    t.strictSame(await setup.settled(), before)
  })

  t.test('A sweep looks again for a rendition that may still come, though another one failed for certain', async t => {
    const two = await setup.start({ env: { RENDITION_SIZES: '64x64,16x32' } })
    const { token } = await two.signIn()
    const of = (size: string): S3Fault['match'] => ({ key }) => key?.endsWith(`/${size}.gif`) === true
    setup.s3.fault({ operation: 'PutObject', match: of('64x64'), action: { do: 'answer', status: 403, code: 'AccessDenied' } })
    const lost = setup.s3.fault({ operation: 'PutObject', match: of('16x32'), action: { do: 'lose' } })
    t.equal(failureOf(await two.upload(token, gif)), 'Failed to upload file to S3')
    t.ok(lost.hits > 0)
    setup.s3.clear()
    const { uploads } = two.app.collections
    const left = await eventually(() => uploads.findOne({ state: 'removing', owner: { $exists: false } }))
    t.ok(left, 'the record of what may come stays')
    await uploads.deleteOne({ _id: left._id })
    const { objects, library } = await setup.settled()
    t.equal(objects, library)
  })

  const troubles = [{ closeConnection: true }, { errorCode: 11600 }]
  for (const [i, command] of ['insert', 'update', 'delete', 'find'].entries()) {
    for (const trouble of WHOLE ? troubles : [troubles[i % 2]!]) {
      t.test(
        `A client does not notice a ${command} that fails once (${Object.keys(trouble)}), and it is done once`,
        async t => {
          const before = await setup.settled()
          const heal = await failCommands(setup.services.mongoUri, {
            commands: [command],
            appName: setup.appName,
            times: 1,
            ...trouble
          })
          const answer = await service.upload(token, gif)
          await heal()
          t.equal(answer.status, 201)
          t.strictSame(await setup.settled(), { ...before, library: before.library + 1, objects: before.objects + 1 })
        }
      )
    }
  }

  t.test(
    'A database that is slower than requests wait costs each a 500 in time, and it recovers afterwards',
    async t => {
      setup.mongo.throttle(0, 'up')
      const answers = await Promise.all(Array.from({ length: 150 }, () =>
        service.call('GET', '/library', { token, signal: AbortSignal.timeout(30_000) })))
      t.strictSame([...new Set(answers.map(({ status }) => status))], [500])
      t.ok(setup.mongo.connections() <= 110, `${setup.mongo.connections()} connections`)
      await setup.mongo.up()
      t.equal(
        (await eventually(async () => {
          const reply = await service.upload(token, gif)
          return reply.status === 201 ? reply : undefined
        })).status,
        201
      )
    }
  )

  t.test('A connection that is cut once costs nothing', async t => {
    const { hit } = setup.s3.fault({ operation: 'PutObject', action: { do: 'delay', ms: 60_000 }, times: 1 })
    const answer = service.upload(token, gif)
    await hit
    setup.mongo.reset()
    setup.s3.clear()
    t.equal((await answer).status, 201)
  })
})
