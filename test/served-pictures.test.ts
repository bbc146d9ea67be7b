import { readFile } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import t, { type Test } from 'tap'
import { bytesAt } from './helpers/bytes.js'
import { corpus, type Pair } from './decoders/corpus.js'
import { NPM_DECODERS, type Decoder } from './decoders/npm.js'
import { caseFile } from './helpers/paths.js'
import { readGif } from './helpers/gif-codec.js'
import { scale } from './helpers/test-length.js'
import { startService, type Service } from './helpers/service.js'
import { besidePixels, SECRET, type Format } from './helpers/picture-bytes.js'

console.log = () => {} // omggif and gifuct-js print here, and this stream is TAP's
console.warn = () => {}

const all = await corpus()
const caseOf = (name: string) => readFile(caseFile(name))

/** The result of a decoder; undefined when it refuses the picture. */
async function made ({ decode }: Decoder, file: Buffer): Promise<unknown> {
  try {
    return await decode(Buffer.from(file))
  } catch {
    return undefined
  }
}

const decodersOf = (format: Format) => NPM_DECODERS.filter(({ formats }) => formats.includes(format))

async function looksTheSame (t: Test, { name, format, sent, served }: Pair): Promise<void> {
  for (const decoder of decodersOf(format)) {
    const expected = await made(decoder, sent)
    t.ok(expected !== undefined, `${decoder.name} reads ${name} as it was sent`)
    t.strictSame(await made(decoder, served), expected, `${decoder.name} reads ${name} as it is served`)
  }
}

t.test('POST /library/upload', async t => {
  const service = await startService(t)
  const { token } = await service.signIn()

  for (const name of ['comment.gif', 'app-extension.gif']) {
    await t.test(`the served file of ${name} tells nothing and looks the same in every decoder`, async t => {
      const sent = await caseOf(name)
      const served = await servedOf(t, service, token, sent)
      t.equal(served.length, sent.length)
      t.ok(sent.includes('hello') && !served.includes('hello'))
      t.strictSame([...served.subarray(25, 27)], [0x21, 0xfe], 'the block is a comment')
      await looksTheSame(t, { name, format: 'gif', sent, served })
    })
  }

  await t.test('a GIF that tells nothing is served as it was sent', async t => {
    const sent = await caseOf('no-comment.gif')
    t.ok((await servedOf(t, service, token, sent)).equals(sent))
  })

  await t.test('every frame of a GIF of noise is in its rendition, which loops for ever', async t => {
    const { status, body } = await service.upload(token, await caseOf('plasma250.gif'))
    t.equal(status, 201)
    const { url, bytes, frames, duration_ms: duration } = body.renditions['64x64']
    const rendition = await bytesAt(url)
    const gif = readGif(rendition)
    t.strictSame([rendition.length, gif.screens.length, gif.netscape, gif.width, gif.height], [bytes, 250, 0, 64, 64])
    t.strictSame([frames, duration, gif.delaysCs.reduce((a, b) => a + b) * 10], [250, 7500, 7500])
    t.ok(rendition.length <= 96 * 1024)
    const colorsOf = (screen: Buffer) => Array.from({ length: 64 * 64 }, (_, i) => screen.readUIntBE(i * 3, 3))
    const colors = new Set(gif.screens.flatMap(colorsOf))
    t.ok(colors.size >= 7, `${colors.size} colours; gifsicle reaches 7 in the same bytes`)
  })

  await t.test('the served file of a picture with much in it looks the same in every decoder', async t => {
    const much = /sub-blocks, everywhere|XMP, everywhere|turned Exif.* before db|turned Exif, at 33|, all$/
    const pairs = all.filter(({ name }) => much.test(name))
    t.ok(pairs.length > 10, `${pairs.length} pictures`)
    for (const pair of pairs) {
      const served = await servedOf(t, service, token, pair.sent)
      t.notOk(besidePixels(pair.format, served).includes(SECRET.slice(0, 3)), pair.name)
      await looksTheSame(t, { ...pair, served })
    }
  })
})

t.test('the served file decodes to the same pixels wherever the sent file does', async t => {
  // blocks come at 3 places, or in groups of 9 or 15: a step of 4 meets each kind and place with some picture
  const step = scale({ short: 4, long: 1 })
  const pairs = all.filter((_, i) => i % step === 0)
  for (const format of ['gif', 'jpeg', 'png', 'webp'] as const) {
    const ofFormat = pairs.filter(pair => pair.format === format)
    for (const { name, served } of ofFormat) {
      if (besidePixels(format, served).includes(SECRET.slice(0, 3))) t.fail(`${format}, ${name}: something is told`)
    }
    for (const decoder of decodersOf(format)) {
      await t.test(`${format}, by ${decoder.name}`, async t => {
        const differing: string[] = []
        let read = 0
        for (const { name, sent, served } of ofFormat) {
          const expected = await made(decoder, sent)
          if (expected === undefined) continue
          read++
          if (!isDeepStrictEqual(await made(decoder, served), expected)) differing.push(name)
        }
        t.strictSame(differing, [])
        t.ok(read > ofFormat.length * 0.8, `it reads ${read} of ${ofFormat.length} as they are sent`)
      })
    }
  }
})

async function servedOf (t: Test, service: Service, token: string, sent: Buffer): Promise<Buffer> {
  const { status, body } = await service.upload(token, sent)
  t.equal(status, 201)
  return await bytesAt(body.url)
}
