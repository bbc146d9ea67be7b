import type { Document } from 'mongodb'
import t from 'tap'
import { failureOf, ok } from '../helpers/answers.js'
import { failCommands } from '../helpers/fail-commands.js'
import { startFaultySetup } from '../helpers/faulty-setup.js'
import { file, form } from '../helpers/multipart.js'
import { type S3Fault, type S3Operation } from '../helpers/s3-proxy.js'
import { type Service } from '../helpers/service.js'
import { gif, gifOf } from '../helpers/small-pictures.js'
import { hangUp, KIB, MIB, open, picture, pieces, send, tooLarge, user } from '../helpers/upload-requests.js'
import { scale } from '../helpers/test-length.js'
import { eventually } from '../helpers/wait.js'

/** Whether each fault is tried in each way. */
const WHOLE = scale({ short: 0, long: 1 }) === 1

interface FaultCase {
  name: string
  size: number
  faults: S3Fault[]
  status: number
  statusInChunks?: number
  short?: boolean
}

const setup = await startFaultySetup(t)
const service = await setup.start()
const { token } = await service.signIn()

t.test('Uploads of a client that goes away', async t => {
  for (const size of [gif.length, 6 * MIB]) {
    for (const percent of WHOLE ? [0, 1, 50, 99] : size === gif.length ? [0, 50, 99] : [1, 99]) {
      t.test(`A client leaves nothing when ${percent} % of a form with ${size} bytes have come`, async t => {
        const body = form([user, file(gifOf(size))])
        const come = Math.floor(body.length * percent / 100)
        const fileHasBegun = come > body.indexOf(gif) + 12
        const request = open(service, token, { 'content-length': body.length })
        request.flushHeaders()
        if (come > 0) await new Promise(resolve => request.write(body.subarray(0, come), resolve))
        await eventually(async () => (await setup.left()).uploads === Number(fileHasBegun))
        if (come > 5 * MIB + KIB) await eventually(async () => (await setup.left()).multipartUploads === 1)
        await hangUp(service, request)
        t.strictSame(await setup.settled(), setup.empty)
      })
    }
  }

  for (const operation of ['CreateMultipartUpload', 'UploadPart'] as const) {
    t.test(`A client leaves nothing when it is gone at ${operation}`, async t => {
      const { hit } = setup.s3.fault({ operation, action: { do: 'delay', ms: 60_000 }, times: 1 })
      const request = open(service, token)
      request.write(form([user, file(gifOf(6 * MIB))], { end: '' }))
      await hit
      t.equal((await setup.left()).uploads, 1)
      request.destroy()
      setup.s3.clear()
      t.strictSame(await setup.settled(), setup.empty)
    })
  }

  const last = [
    { operation: 'PutObject', size: gif.length },
    { operation: 'CompleteMultipartUpload', size: 6 * MIB }
  ] as const
  for (const { operation, size } of last) {
    t.test(`A client leaves nothing when it has sent all and is gone at ${operation}`, async t => {
      const { hit } = setup.s3.fault({ operation, action: { do: 'delay', ms: 60_000 }, times: 1 })
      const request = open(service, token)
      request.end(form([user, file(gifOf(size))]))
      await hit
      t.equal((await setup.left()).uploads, 1)
      await hangUp(service, request)
      setup.s3.clear()
      t.strictSame(await setup.settled(), setup.empty)
    })
  }

  t.test('A picture that is found damaged while the store still takes it leaves nothing', async t => {
    const pictures = service.app.pictures!
    const { read } = pictures
    t.teardown(() => { pictures.read = read })
    const decoded = new Promise<boolean>(resolve => {
      pictures.read = (...task) => {
        const reading = read(...task)
        reading.then(() => resolve(true), () => resolve(false))
        return reading
      }
    })
    const { hit } = setup.s3.fault({ operation: 'PutObject', action: { do: 'delay', ms: 60_000 }, times: 1 })
    const answer = send(service, token, [form([user, file(broken)])])
    await hit
    t.notOk(await decoded, 'it is decoded before the store has it')
    t.equal((await setup.left()).uploads, 1, 'the upload record is there until the store has answered')
    setup.s3.clear()
    t.match(await answer, { status: 400, body: { error: 'Damaged or unreasonable image' } })
    t.strictSame(await setup.settled(), setup.empty)
  })

  t.test('A client that leaves while the item is being saved leaves it whole, or nothing', async t => {
    const { hit } = setup.s3.fault({ operation: 'PutObject', action: { do: 'delay', ms: 60_000 }, times: 1 })
    const request = open(service, token)
    request.end(form([user, picture]))
    await hit
    setup.mongo.throttle(0, 'up')
    const held = setup.s3.requests.length
    setup.s3.clear()
    await eventually(() => setup.s3.requests[held - 1]?.status === 200)
    await hangUp(service, request)
    await setup.mongo.up()
    const { objects, library } = await setup.settled()
    t.equal(objects, library)
  })
})

t.test('Uploads to a store that fails', async t => {
  const impatient = await setup.start({ storeSilenceMs: 1500 })
  const small = gif.length
  const big = 6 * MIB
  const put = storeFaults('PutObject')
  const create = storeFaults('CreateMultipartUpload')
  const part = storeFaults('UploadPart')
  const complete = storeFaults('CompleteMultipartUpload')
  const denied = { do: 'answer', status: 403, code: 'AccessDenied' } as const
  const slowDown = { do: 'answer', status: 503, code: 'SlowDown' } as const
  const failed = { do: 'answer', status: 500, code: 'InternalError' } as const
  const lastPart: S3Fault['match'] = ({ query }) => query.get('partNumber') === '2'

  /** The short run has each kind of fault once, and large files in one of the two ways. */
  const faults: FaultCase[] = [
    { name: 'PutObject: 403', size: small, faults: [put(denied)], status: 500, short: true },
    {
      name: 'PutObject: 404 NoSuchBucket',
      size: small,
      faults: [put({ do: 'answer', status: 404, code: 'NoSuchBucket' })],
      status: 500
    },
    {
      name: 'PutObject: 301, the bucket is in another region',
      size: small,
      faults: [put({ do: 'answer', status: 301, code: 'PermanentRedirect' })],
      status: 500,
      short: true
    },
    {
      name: 'PutObject: 400 RequestTimeout once',
      size: small,
      faults: [put({ do: 'answer', status: 400, code: 'RequestTimeout' }, 1)],
      status: 201,
      short: true
    },
    { name: 'PutObject: 503 SlowDown once', size: small, faults: [put(slowDown, 1)], status: 201, short: true },
    { name: 'PutObject: 503 SlowDown always', size: small, faults: [put(slowDown)], status: 500 },
    { name: 'PutObject: 500 once', size: small, faults: [put(failed, 1)], status: 201 },
    { name: 'PutObject: reset once', size: small, faults: [put({ do: 'reset', after: 40 }, 1)], status: 201, short: true },
    { name: 'PutObject: reset always', size: small, faults: [put({ do: 'reset', after: 40 })], status: 500 },
    {
      name: 'PutObject: reset in the middle of 1 MiB',
      size: MIB,
      faults: [put({ do: 'reset', after: MIB / 2 })],
      status: 500,
      short: true
    },
    { name: 'PutObject: done, but its answer lost', size: small, faults: [put({ do: 'lose' }, 1)], status: 201, short: true },
    { name: 'PutObject: its answer lost always', size: small, faults: [put({ do: 'lose' })], status: 500, short: true },
    {
      name: 'PutObject: 200 with an error',
      size: small,
      faults: [put({ do: 'error200', code: 'InternalError' })],
      status: 500,
      short: true
    },
    { name: 'PutObject: broken XML', size: small, faults: [put({ do: 'broken' })], status: 500 },
    { name: 'PutObject: silence', size: small, faults: [put({ do: 'silence' })], status: 500, short: true },
    { name: 'CreateMultipartUpload: 403', size: big, faults: [create(denied)], status: 500 },
    { name: 'CreateMultipartUpload: broken XML', size: big, faults: [create({ do: 'broken' })], status: 500, short: true },
    { name: 'CreateMultipartUpload: its answer lost always', size: big, faults: [create({ do: 'lose' })], status: 500, short: true },
    { name: 'CreateMultipartUpload: silence', size: big, faults: [create({ do: 'silence' })], status: 500 },
    {
      name: 'UploadPart: 503 SlowDown once',
      size: big,
      faults: [part(slowDown, 1)],
      status: 500,
      statusInChunks: 201,
      short: true
    },
    {
      name: 'UploadPart: 403 for the last one',
      size: big,
      faults: [{ ...part(denied), match: lastPart }],
      status: 500,
      short: true
    },
    {
      name: 'UploadPart: reset in the middle, once',
      size: big,
      faults: [part({ do: 'reset', after: MIB }, 1)],
      status: 500,
      statusInChunks: 201,
      short: true
    },
    {
      name: 'UploadPart: 503 SlowDown once, for the last one',
      size: big,
      faults: [{ ...part(slowDown, 1), match: lastPart }],
      status: 201
    },
    { name: 'UploadPart: reset in the middle, always', size: big, faults: [part({ do: 'reset', after: MIB })], status: 500 },
    { name: 'UploadPart: 200 with an error', size: big, faults: [part({ do: 'error200', code: 'InternalError' })], status: 500 },
    { name: 'UploadPart: silence', size: big, faults: [part({ do: 'silence' })], status: 500, short: true },
    { name: 'CompleteMultipartUpload: 503 SlowDown once', size: big, faults: [complete(slowDown, 1)], status: 201, short: true },
    { name: 'CompleteMultipartUpload: 503 SlowDown always', size: big, faults: [complete(slowDown)], status: 500 },
    { name: 'CompleteMultipartUpload: reset', size: big, faults: [complete({ do: 'reset', after: 0 })], status: 500 },
    {
      name: 'CompleteMultipartUpload: 200 with an error',
      size: big,
      faults: [complete({ do: 'error200', code: 'InternalError' })],
      status: 500,
      short: true
    },
    { name: 'CompleteMultipartUpload: broken XML', size: big, faults: [complete({ do: 'broken' })], status: 500 },
    { name: 'CompleteMultipartUpload: silence', size: big, faults: [complete({ do: 'silence' })], status: 500 },
    { name: 'everything reset', size: small, faults: [{ action: { do: 'reset', after: 0 } }], status: 500, short: true },
    { name: 'everything silent', size: big, faults: [{ action: { do: 'silence' } }], status: 500 },
    {
      name: 'PutObject refused, and no clean-up either',
      size: small,
      faults: [put(denied), { operation: ['DeleteObject', 'ListMultipartUploads'], action: failed }],
      status: 500,
      short: true
    },
    {
      name: 'PutObject done but its answer lost, and the deletion silent',
      size: small,
      faults: [put({ do: 'lose' }), { operation: 'DeleteObject', action: { do: 'silence' } }],
      status: 500
    },
    {
      name: 'UploadPart refused, and aborting too',
      size: big,
      faults: [part(denied), { operation: 'AbortMultipartUpload', action: slowDown }],
      status: 500,
      short: true
    }
  ]
  const ways = faults.filter(({ short }) => WHOLE || short).flatMap(({ statusInChunks, ...fault }, i) => {
    const withLength = { ...fault, inChunks: false }
    if (fault.size !== big) return [withLength]
    const name = `${fault.name}, of unknown length`
    const inChunks = { ...fault, name, status: statusInChunks ?? fault.status, inChunks: true }
    return WHOLE || statusInChunks !== undefined ? [withLength, inChunks] : [i % 2 ? withLength : inChunks]
  })
  for (const { name, size, faults, status, inChunks } of ways) {
    t.test(`An upload is ${status} with the fault ${name}`, async t => {
      const { library } = await setup.settled()
      const set = faults.map(fault => setup.s3.fault(fault))
      const silent = faults.some(({ action }) => action.do === 'silence')
      const asked = silent ? impatient : service
      const answer = inChunks ? await uploadInChunks(asked, token, gifOf(size)) : await asked.upload(token, gifOf(size))
      t.ok(set[0]!.hits >= 1)
      if (status === 201) t.match(answer, { status: 201, body: { size } })
      else t.equal(failureOf(answer), 'Failed to upload file to S3')
      setup.s3.clear()
      t.match(await setup.settled(), { library: library + Number(status === 201) })
      t.equal((await service.upload(token, gif)).status, 201, 'afterwards an upload works')
    })
  }

  t.test('A lost answer to CompleteMultipartUpload leaves an item or nothing, never half of it', async t => {
    const { library } = await setup.settled()
    setup.s3.fault(complete({ do: 'lose' }, 1))
    const answer = await service.upload(token, gifOf(big))
    if (answer.status !== 201) t.equal(failureOf(answer), 'Failed to upload file to S3')
    t.equal((await setup.settled()).library, library + Number(answer.status === 201))
  })

  t.test('The remains of a refused file are removed later when the store is away', async t => {
    const { library } = await setup.settled()
    setup.s3.fault(put({ do: 'lose' }))
    setup.s3.fault({ operation: ['DeleteObject'], action: denied })
    t.equal(failureOf(await service.upload(token, gif)), 'Failed to upload file to S3')
    t.match(await setup.left(), { objects: library + 1, uploads: 1, library }, 'its row says what is to be removed')
    setup.s3.clear()
    t.match(await setup.settled(), { library })
  })

  t.test('A file beyond the limit is 413, also when its remains cannot be removed at once', async t => {
    const { library } = await setup.settled()
    setup.s3.fault({ operation: ['AbortMultipartUpload', 'ListMultipartUploads'], action: { do: 'silence' } })
    t.match(await impatient.upload(token, gifOf(10 * MIB + 1)), tooLarge(10 * MIB))
    setup.s3.clear()
    t.match(await setup.settled(), { library })
  })

  const refusals = [
    { status: 503, code: 'SlowDown' },
    { status: 403, code: 'AccessDenied' },
    { status: 404, code: 'NoSuchBucket' },
    { status: 301, code: 'PermanentRedirect' }
  ]
  for (const { status, code } of refusals.slice(0, WHOLE ? 4 : 2)) {
    t.test(`Readiness shows a bucket that is ${status} ${code}, and a deletion is done all the same`, async t => {
      const item = await ok(service.upload(token, gif))
      const { library } = await setup.settled()
      setup.s3.fault({ operation: 'HeadBucket', action: { do: 'answer', status, code } })
      // a check is reused for one second
      await eventually(async () => (await service.call('GET', '/health/ready')).status === 503)
      setup.s3.fault({
        operation: 'DeleteObject',
        action: { do: 'answer', status, code },
        times: status === 503 ? 1 : Infinity
      })
      t.equal((await service.call('DELETE', `/library/${item.body.id}`, { token })).status, 204)
      if (status === 503) t.match(await setup.left(), { objects: library - 1, uploads: 0 }, 'tried again')
      else t.match(await setup.left(), { objects: library, uploads: 1 }, 'its row says what is to be removed')
      setup.s3.clear()
      // a check is reused for one second
      await eventually(async () => (await service.call('GET', '/health/ready')).status === 200)
      service.clock.advance(61)
      t.match(await eventually(() => service.app.sweeper.sweep()), { failed: 0 })
      t.match(await setup.settled(), { library: library - 1 })
    })
  }

  t.test('Uploads fail while the store is down, and work again afterwards', async t => {
    const { library } = await setup.settled()
    await setup.s3Wire.down()
    t.equal(failureOf(await service.upload(token, gif)), 'Failed to upload file to S3')
    await setup.s3Wire.up()
    t.match(await setup.settled(), { library })
    t.equal((await service.upload(token, gif)).status, 201)
  })
})

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
    const stuck = await setup.left()
    await heal()
    t.equal(failureOf(answer), 'Failed to save library item')
    t.strictSame(stuck, { ...before, uploads: 1, objects: before.objects + 1, library: before.library + 1 })
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

/** A GIF whose pixels are broken, though its structure is whole. */
const broken = Buffer.from(gif)
broken.fill(0xFF, broken.length - 8, broken.length - 2)

/** The faults of one operation of the store, as often as it is asked unless a number is given. */
const storeFaults = (operation: S3Operation) => (action: S3Fault['action'], times = Infinity): S3Fault =>
  ({ operation, action, times })

/** An upload without a length, in chunks. */
const uploadInChunks = (service: Service, token: string, bytes: Buffer) =>
  send(service, token, pieces(form([user, file(bytes)]), 64 * KIB))
