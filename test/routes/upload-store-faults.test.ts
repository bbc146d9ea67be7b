import t from 'tap'
import { failureOf, ok } from '../helpers/answers.js'
import { startFaultySetup } from '../helpers/faulty-setup.js'
import { file, form } from '../helpers/multipart.js'
import { type S3Fault, type S3Operation } from '../helpers/s3-proxy.js'
import { type Service } from '../helpers/service.js'
import { gif, gifOf } from '../helpers/small-pictures.js'
import { scale } from '../helpers/test-length.js'
import { KIB, MIB, pieces, send, tooLarge, user } from '../helpers/upload-requests.js'
import { eventually } from '../helpers/wait.js'
import { PATIENCE } from '../helpers/patience.js'

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
const service = await setup.start({ storeSilenceMs: PATIENCE.storeSilenceMs })
const { token } = await service.signIn()

t.test('Uploads to a store that fails', async t => {
  const impatient = await setup.start()
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

/** The faults of one operation of the store, as often as it is asked unless a number is given. */
const storeFaults = (operation: S3Operation) => (action: S3Fault['action'], times = Infinity): S3Fault =>
  ({ operation, action, times })

/** An upload without a length, in chunks. */
const uploadInChunks = (service: Service, token: string, bytes: Buffer) =>
  send(service, token, pieces(form([user, file(bytes)]), 64 * KIB))
