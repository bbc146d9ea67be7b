import t, { type Test } from 'tap'
import { BOUNDARY, file, form } from '../helpers/multipart.js'
import { gif } from '../helpers/small-pictures.js'
import { scale } from '../helpers/test-length.js'
import { startFaultySetup } from '../helpers/faulty-setup.js'
import { forkService } from '../helpers/forked-service.js'
import { KIB, MIB, send, user, zeros } from '../helpers/upload-requests.js'

const PART = 5 * MIB
/** Uploads of 20 MiB. Together they have more bytes than the bound allows. */
const MANY = scale({ short: 16, long: 100 })
/** More than 12 uploads of unknown length wait for memory, and on a busy machine some are refused with 503. */
const UNKNOWN = 4

const SERVICES = [{ images: 'true', bytesPerSecond: 40 * MIB }, { images: 'false', bytesPerSecond: 2 * MIB }]
for (const { images, bytesPerSecond } of SERVICES.slice(0, scale({ short: 1, long: 2 }))) {
  t.test(`POST /library/upload to a slow store with IMAGES=${images}`, async t => {
    const { service, setup, uploads } = await slowStore(t, { IMAGES: images })

    await t.test('An error document of 500 MiB from the store is not read to its end', async t => {
      t.equal((await send(service, service.token, [form([user, file(gif)])])).status, 201)
      const before = await service.peak()
      const flooded = setup.s3.fault({
        operation: 'PutObject',
        action: { do: 'flood', status: 403, bytes: 500 * MIB },
        times: 1
      })
      t.equal((await send(service, service.token, [form([user, file(gif)])])).status, 500)
      t.equal(flooded.hits, 1)
      t.ok(await service.peak() - before <= 64 * MIB)
    })

    await t.test('Many uploads of 20 MiB at once take at most 256 MiB', async t => {
      t.comment(`${MANY} uploads`)
      await uploads(t, 2, 6 * MIB, { bytesPerSecond: 40 * MIB })
      const grown = await uploads(t, MANY, 20 * MIB, { bytesPerSecond, unknown: UNKNOWN })
      t.comment(`grew by ${Math.round(grown / MIB)} MiB`)
      t.ok(grown <= 256 * MIB)
    })
  })
}

if (process.env.TEST_LONG) {
  t.test('Uploads of unknown length to a slow store take memory for their parts, not for their files', async t => {
    const { uploads } = await slowStore(t, { IMAGES: 'false' })
    await uploads(t, 2, 6 * MIB, { bytesPerSecond: 3 * MIB, unknown: 2 })
    const large = await uploads(t, 5, 40 * MIB, { bytesPerSecond: 3 * MIB, unknown: 5 })
    const small = await uploads(t, 20, 10 * MIB, { bytesPerSecond: 3 * MIB, unknown: 20 })
    t.comment(
      `grew by ${Math.round(large / MIB)} MiB for 5 × 40 MiB, and by ${Math.round(small / MIB)} MiB more for 20 × 10 MiB`
    )
    t.ok(large <= 150 * MIB, 'files of 200 MiB are never in memory as a whole')
    t.ok(large + small <= 20 * 4 * PART, 'four parts for each at most')
  })
}

/** `unknown`: how many of the uploads do not say their length. */
interface Slowness { bytesPerSecond: number, unknown?: number }

/**
 * A service in a process of its own, whose store takes bytes slowly. `uploads` resolves with the most that its memory
 * grew during `count` uploads at once.
 */
async function slowStore (t: Test, env: Record<string, string>) {
  const setup = await startFaultySetup(t)
  // a hundred inserts at once overload a slow database
  const mongoUri = `${setup.throughProxies.mongoUri}&socketTimeoutMS=60000&waitQueueTimeoutMS=60000`
  const services = { mongoUri, s3: { ...setup.throughProxies.s3, endpoint: setup.s3.endpoint } }
  // a hundred uploads of one account are an eighth of MAX_REQUESTS
  const service = await forkService(t, services, {
    UPLOAD_MAX_BYTES: String(40 * MIB),
    MAX_REQUESTS: '800',
    ...env
  })
  return { service, setup, uploads }

  async function uploads (t: Test, count: number, size: number, { bytesPerSecond, unknown = 0 }: Slowness) {
    const before = await service.peak()
    const slow = setup.s3.fault({
      operation: 'UploadPart',
      match: ({ query }) => query.get('partNumber') === '1',
      action: { do: 'throttle', bytesPerSecond },
      times: count
    })
    const start = form([user, file(gif)], { end: '' })
    const end = Buffer.from(`\r\n--${BOUNDARY}--\r\n`)
    const rest = [
      ...Array.from({ length: Math.floor((size - gif.length) / (256 * KIB)) }, () => zeros),
      Buffer.alloc((size - gif.length) % (256 * KIB))
    ]
    const known = { 'content-length': start.length + size - gif.length + end.length }
    const answers = await Promise.all(Array.from({ length: count }, (_, i) =>
      send(service, service.token, [start, ...rest, end], { headers: i < unknown ? {} : known })))
    t.strictSame(answers.map(({ status }) => status), answers.map(() => 201))
    t.equal(slow.hits, count)
    return await service.peak() - before
  }
}
