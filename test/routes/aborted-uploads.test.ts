import t from 'tap'
import { startFaultySetup } from '../helpers/faulty-setup.js'
import { file, form } from '../helpers/multipart.js'
import { gif, gifOf } from '../helpers/small-pictures.js'
import { scale } from '../helpers/test-length.js'
import { hangUp, KIB, MIB, open, picture, send, user } from '../helpers/upload-requests.js'
import { eventually } from '../helpers/wait.js'
import { PATIENCE } from '../helpers/patience.js'

/** Whether each fault is tried in each way. */
const WHOLE = scale({ short: 0, long: 1 }) === 1

const setup = await startFaultySetup(t)
const service = await setup.start({ storeSilenceMs: PATIENCE.storeSilenceMs })
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

/** A GIF whose pixels are broken, though its structure is whole. */
const broken = Buffer.from(gif)
broken.fill(0xFF, broken.length - 8, broken.length - 2)
