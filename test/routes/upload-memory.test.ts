import t, { type Test } from 'tap'
import { BOUNDARY, file, form } from '../helpers/multipart.js'
import { gif } from '../helpers/small-pictures.js'
import { scale } from '../helpers/test-length.js'
import { startFaultySetup } from '../helpers/faulty-setup.js'
import { forkService } from '../helpers/forked-service.js'
import { KIB, MIB, send, user, zeros } from '../helpers/upload-requests.js'

const PART = 5 * MIB
const MANY = scale({ short: 40, long: 100 })
/** More than 12 wait for memory, and on a busy machine some are refused with 503. */
const SMALL = scale({ short: 12, long: 20 })

t.test('Uploads of unknown length to a slow store take memory for their parts, not for their files', async t => {
  const uploads = await slowStore(t, { IMAGES: 'false' })
  await uploads(2, 6 * MIB, { bytesPerSecond: 3 * MIB, chunked: true })
  const large = await uploads(5, 40 * MIB, { bytesPerSecond: 3 * MIB, chunked: true })
  const small = await uploads(SMALL, 10 * MIB, { bytesPerSecond: 3 * MIB, chunked: true })
  t.comment(
  `grew by ${Math.round(large / MIB)} MiB for 5 × 40 MiB, and by ${Math.round(small / MIB)} MiB more for ${SMALL} × 10 MiB`
  )
  t.ok(large <= 150 * MIB, 'files of 200 MiB are never in memory as a whole')
  t.ok(large + small <= SMALL * 4 * PART, 'four parts for each at most')
})

const STORES = [{ images: 'true', bytesPerSecond: 40 * MIB }, { images: 'false', bytesPerSecond: 2 * MIB }]
for (const { images, bytesPerSecond } of STORES.slice(0, scale({ short: 1, long: 2 }))) {
  t.test(`Many uploads of 20 MiB at once to a slow store take at most 256 MiB with IMAGES=${images}`, async t => {
    t.comment(`${MANY} uploads`)
    const uploads = await slowStore(t, { IMAGES: images })
    await uploads(2, 20 * MIB, { bytesPerSecond: 40 * MIB })
    const grown = await uploads(MANY, 20 * MIB, { bytesPerSecond })
    t.comment(`grew by ${Math.round(grown / MIB)} MiB`)
    t.ok(grown <= 256 * MIB)
  })
}

t.test('POST /library/upload does not read an error document of 500 MiB from the store to its end', async t => {
  const setup = await startFaultySetup(t)
  const { url, token, peak } = await forkService(
    t,
    { ...setup.throughProxies, s3: { ...setup.throughProxies.s3, endpoint: setup.s3.endpoint } },
    {
      STORE_SILENCE_MS: '60000'
    }
  )
  t.equal((await send({ url }, token, [form([user, file(gif)])])).status, 201)
  const before = await peak()
  const flooded = setup.s3.fault({
    operation: 'PutObject',
    action: { do: 'flood', status: 403, bytes: 500 * MIB },
    times: 1
  })
  t.equal((await send({ url }, token, [form([user, file(gif)])])).status, 500)
  t.equal(flooded.hits, 1)
  t.ok(await peak() - before <= 64 * MIB)
})

interface Slowness { bytesPerSecond: number, chunked?: boolean }

/**
 * A service in a process of its own, whose store takes bytes slowly. The function resolves with the most that its
 * memory grew during `count` uploads at once.
 */
async function slowStore (t: Test, env: Record<string, string>): Promise<(
  count: number,
  size: number,
  slowness: Slowness
) => Promise<number>> {
  const setup = await startFaultySetup(t)
  // a hundred inserts at once overload a slow database
  const mongoUri = `${setup.throughProxies.mongoUri}&socketTimeoutMS=60000&waitQueueTimeoutMS=60000`
  const services = { mongoUri, s3: { ...setup.throughProxies.s3, endpoint: setup.s3.endpoint } }
  // a hundred uploads of one account are an eighth of MAX_REQUESTS
  const { url, token, peak } = await forkService(t, services, {
    UPLOAD_MAX_BYTES: String(40 * MIB),
    STORE_SILENCE_MS: '60000',
    MAX_REQUESTS: '800',
    ...env
  })

  return async (count, size, { bytesPerSecond, chunked = false }) => {
    const before = await peak()
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
    const headers = chunked ? {} : { 'content-length': start.length + size - gif.length + end.length }
    const answers = await Promise.all(Array.from({ length: count }, () =>
      send({ url }, token, [start, ...rest, end], { headers })))
    t.strictSame(answers.map(({ status }) => status), answers.map(() => 201))
    t.equal(slow.hits, count)
    return await peak() - before
  }
}
