import { performance } from 'node:perf_hooks'
import sharp from 'sharp'
import t from 'tap'
import { createPictures } from '../../../services/pictures/pictures.js'
import { createPicturePool } from '../../../services/pictures/pool.js'
import type { PictureTimes } from '../../../services/ports.js'
import { gif } from '../../helpers/small-pictures.js'
import { rawPicture } from '../../helpers/example-pictures.js'

const options = { sizes: ['64x64', '32x16'], maxBytes: 98_304 }
const WORKER = new URL('../../../services/pictures/worker.js', import.meta.url)
const refused = { statusCode: 400, message: 'Damaged or unreasonable image' }
const later = { statusCode: 503, message: 'Service is out of resources', retryAfter: 5 }
/** A copy, because a pool takes the bytes away. */
const copy = (bytes: Uint8Array) => Buffer.from(new Uint8Array(bytes))
const slow = await rawPicture(60, 60, 200, (x, y, k) => [x + k & 255, y * 3 + k & 255, x * y & 255])
  .gif({ effort: 1 })
  .toBuffer()

t.test('the pool gives the same results and refusals as this thread', async t => {
  const pool = createPicturePool(options, WORKER)
  t.teardown(pool.close)
  const still = await rawPicture(300, 300, 1, (x, y) => [x & 255, y & 255, 0]).png().toBuffer()
  for (const bytes of [gif, still]) {
    t.strictSame(await pool.read(copy(bytes), 'cover'), await createPictures(options).read(copy(bytes), 'cover'))
  }
  await t.rejects(pool.read(Buffer.from('no picture'), 'contain'), refused)
  await t.rejects(pool.read(copy(still.subarray(0, 1000)), 'contain'), refused)
})

t.test('reads at most the allowed number of pictures at once, and reads all of them', async t => {
  const bytes = await rawPicture(300, 300, 1, (x, y) => [x & 255, y & 255, 0]).png().toBuffer()
  const pool = createPicturePool(options, WORKER, { threads: 1 })
  t.teardown(pool.close)
  const order: number[] = []
  const most: number[] = []
  await Promise.all([0, 1, 2, 3, 4].map(async i => {
    await (i === 2
      ? t.rejects(pool.read(Buffer.from('no picture'), 'contain'), refused)
      : pool.read(copy(bytes), 'contain'))
    most.push(sharp.counters().process)
    order.push(i)
  }))
  t.strictSame(order, [0, 1, 2, 3, 4])
  t.ok(most.every(count => count <= 1))
})

t.test('this thread is almost idle meanwhile', async t => {
  const pool = createPicturePool(options, WORKER)
  t.teardown(pool.close)
  await pool.read(copy(gif), 'contain')
  const before = performance.eventLoopUtilization()
  const { facts, renditions } = await pool.read(copy(slow), 'contain')
  const { utilization } = performance.eventLoopUtilization(before)
  t.equal(facts.frames, 200)
  t.equal(renditions.length, 2)
  t.ok(utilization < 0.3, `${Math.round(utilization * 100)} %`)
})

t.test(
  'a picture that takes too long is refused if the process used CPU time meanwhile, and else may be sent again',
  async t => {
    const still = await rawPicture(300, 300, 1, (x, y) => [x & 255, y & 255, 0]).jpeg().toBuffer()
    const limits = [
      { name: 'the whole', limit: { wholeMs: 1 } as PictureTimes, bytes: slow },
      { name: 'decoding a GIF', limit: { decodeSeconds: 1e-6 }, bytes: slow },
      { name: 'decoding a JPEG', limit: { decodeSeconds: 1e-6 }, bytes: still }
    ]
    for (const { name, limit, bytes } of limits) {
      for (const [share, statusCode] of [[0, 503], [0.79, 503], [0.81, 400]] as const) {
        let ms = 0
        const pool = createPicturePool(options, WORKER, {
          threads: 1,
          ...limit,
          cpuMs: () => (ms += share * (limit.wholeMs ?? 0.001))
        })
        t.teardown(pool.close)
        for (let i = 0; i < 2; i++) {
          await t.rejects(
            pool.read(copy(bytes), 'contain'),
            { message: statusCode === 503 ? later.message : refused.message },
          `${name}, of which it computed ${share}`
          )
        }
      }
    }
  }
)

t.test('a read that fails because the pool closes is no fault of the picture', async t => {
  const pool = createPicturePool(options, WORKER, { threads: 1 })
  const reading = [pool.read(copy(slow), 'contain'), pool.read(copy(slow), 'contain')]
  const settled = Promise.allSettled(reading)
  await pool.close()
  for (const outcome of await settled) t.match(outcome, { status: 'rejected', reason: later })
})
