/** Modules of the console that need no page. The build bundles them only for the page, so they are bundled here too. */
import { join } from 'node:path'
import { build } from 'esbuild'
import t from 'tap'
import { root } from './helpers/paths.js'

const FILES = ['panel/gif-delays', 'panel/frame-at', 'refusal']
const { outputFiles } = await build({
  stdin: {
    contents: FILES.map(file => `export * from './${file}.js'`).join('\n'),
    resolveDir: join(root, 'console')
  },
  bundle: true,
  format: 'esm',
  write: false
})
const bundle = `data:text/javascript;base64,${Buffer.from(outputFiles[0]!.contents).toString('base64')}`
const { gifDelays, frameAt, toRefusal } = await import(bundle) as
  typeof import('../console/panel/gif-delays.js') &
  typeof import('../console/panel/frame-at.js') &
  typeof import('../console/refusal.js')

/** A GIF of one black pixel in each frame, with these delays in hundredths of a second. */
function gif (delays: Array<number | undefined>, tableFlags = 0x80): Uint8Array {
  const table = tableFlags === 0 ? [] : [0, 0, 0, 0, 0, 0]
  return Uint8Array.from([
    ...Buffer.from('GIF89a'), 1, 0, 1, 0, tableFlags, 0, 0, ...table,
    0x21, 0xFE, 3, 0x2C, 0x21, 0xF9, 0, // a comment that looks like blocks
    ...delays.flatMap(delay => [
      ...(delay === undefined ? [] : [0x21, 0xF9, 4, 0, delay & 0xFF, delay >> 8, 0, 0]),
      0x2C, 0, 0, 0, 0, 1, 0, 1, 0, tableFlags, ...table, 2, 2, 0x44, 1, 0
    ]),
    0x3B
  ])
}

t.test('gifDelays reads short delays as they are, and 100 ms where there is none', async t => {
  t.same(gifDelays(gif([0, 1, 2, 10, 300, undefined])), [100, 10, 20, 100, 3000, 100])
  t.same(gifDelays(gif([5, 7], 0)), [50, 70], 'without colour tables')
  const bytes = gif([5, 7])
  for (let length = 0; length < bytes.length; length++) {
    const delays = gifDelays(bytes.subarray(0, length))
    t.same(delays, [50, 70].slice(0, delays.length), `cut after ${length} bytes`)
  }
})

t.test('frameAt shows each frame for its time, and begins anew', async t => {
  const delays = [100, 10, 200]
  t.same([0, 99, 100, 109, 110, 309, 310, 420].map(ms => frameAt(delays, ms)), [0, 0, 1, 1, 2, 2, 0, 2])
  t.equal(frameAt([0], 1000), 0, 'a still')
  t.equal(frameAt(delays, -5), 0)
})

t.test('toRefusal says each refusal in a sentence', async t => {
  const sentence = (status: number, body: unknown, retryAfter: string | null = null, id: string | null = null) =>
    toRefusal(status, body, retryAfter, id).message
  t.match(sentence(401, { error: 'Unauthorized' }), /^Your session has ended/)
  t.equal(sentence(429, { error: 'Too many reports' }, '1'), 'Too many reports. Try again in 1 second.')
  t.equal(sentence(429, undefined, '7200'), 'Too many requests. Try again in 2 hours.')
  t.equal(sentence(429, {}, 'Wed, 21 Oct 2026 07:28:00 GMT'), 'Too many requests. Try again later.')
  t.match(sentence(503, null, null), /Try again later/)
  t.match(sentence(500, '<html>', null, 'r1'), /Quote request r1/)
  t.equal(sentence(400, { errors: { phone: ['Missing.'], _schema: ['No.'] } }), 'Phone number: Missing. No.')
  t.match(sentence(409, { error: 'A request with this Idempotency-Key is still running' }), /^The first try is still running/)
  t.equal(sentence(403, { error: 'Library item is your own' }), 'Library item is your own.')
})
