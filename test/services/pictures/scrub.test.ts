import sharp, { type Metadata, type OutputInfo } from 'sharp'
import t, { type Test } from 'tap'
import { createScrubber } from '../../../services/pictures/scrub/index.js'
import {
  besidePixels,
  exif,
  gifApplication,
  gifWith,
  ihdr,
  jpegWith,
  noise,
  PNG_SIGNATURE,
  pngChunk,
  pngWith,
  riffChunk,
  riffChunks,
  SECRET,
  segment,
  TYPES,
  vp8x,
  webp,
  type Format
} from '../../helpers/picture-bytes.js'
import {
  fixtures,
  HAS_EXIF,
  scrub,
  turned
} from '../../helpers/scrub-fixtures.js'
import { seededRandom } from '../../helpers/seeded-random.js'

const ORIENTATIONS = [1, 2, 3, 4, 5, 6, 7, 8]

t.test('data beside the pixels is removed, the pixels and their colours stay', async t => {
  for (const { format, name, file, frames = 1 } of await fixtures()) {
    await t.test(`${format}: ${name}`, async t => {
      t.ok(file.includes(SECRET.slice(0, 3)), 'it was there')
      const { out, frames: counted } = scrub(format, file)
      t.equal(out.length, file.length)
      t.notOk(out.includes(SECRET))
      t.notOk(besidePixels(format, out).includes(SECRET.slice(0, 3)))
      t.equal(counted, frames)
      await looksTheSame(t, file, out)
      const { exif, xmp, iptc, comments, tifftagPhotoshop } = await sharp(out).metadata()
      t.strictSame({ exif, xmp, iptc, comments, tifftagPhotoshop }, {
        exif: undefined,
        xmp: undefined,
        iptc: undefined,
        comments: undefined,
        tifftagPhotoshop: undefined
      })
      t.ok(scrub(format, out).out.equals(out), 'a second time changes nothing')
      cutsDoNotMatter(t, format, file, out)
    })
  }
})

t.test('the orientation alone stays', async t => {
  for (const orientation of ORIENTATIONS) {
    for (const { format, name, file } of await turned(orientation)) {
      await t.test(`${format}: ${orientation}, ${name}`, async t => {
        const { out } = scrub(format, file)
        t.equal(out.length, file.length)
        t.notOk(besidePixels(format, out).includes(SECRET.slice(0, 3)))
        const { orientation: before } = await sharp(file).metadata()
        const { orientation: after = 1, exif } = await sharp(out).metadata()
        t.equal(before, orientation)
        t.equal(after, orientation)
        t.equal(exif === undefined, orientation === 1, 'upright needs no Exif')
        t.ok((await sharp(out).autoOrient().raw().toBuffer()).equals(await sharp(file).autoOrient().raw().toBuffer()))
        t.ok(scrub(format, out).out.equals(out), 'a second time changes nothing')
        cutsDoNotMatter(t, format, file, out)
      })
    }
  }
})

t.test('an invalid orientation, or one that is not the first, does not stay', async t => {
  const plain = await noise(6, 4).jpeg().toBuffer()
  const app1 = (...args: Parameters<typeof exif>) => segment(
    0xe1,
    Buffer.concat([Buffer.from('Exif\0\0'), exif(...args)])
  )
  const orientationOf = async (file: Buffer) => (await sharp(scrub('jpeg', file).out).metadata()).orientation
  t.equal(await orientationOf(jpegWith(plain, [app1(6), app1(8)])), 6)
  t.equal(await orientationOf(jpegWith(plain, [app1(1), app1(8)])), undefined)
  t.equal(await orientationOf(jpegWith(plain, [app1(0), app1(8)])), 8, 'the first that names one')
  for (const block of [
    exif(9),
    exif(6, { type: 4 }),
    exif(6, { count: 2 }),
    exif(6).subarray(0, 20),
    Buffer.from('II*\0\xff\xff\xff\xff', 'latin1'),
    Buffer.from('II*\0\x01\0\0\0', 'latin1'),
    Buffer.alloc(0)
  ]) {
    const file = jpegWith(plain, [segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), block]))])
    t.equal(await orientationOf(file), undefined)
  }
  const png = await noise(6, 4).png().toBuffer()
  const twice = scrub('png', pngWith(png, [pngChunk('eXIf', exif(6)), pngChunk('eXIf', exif(8))])).out
  t.equal(twice.indexOf('eXIf'), twice.lastIndexOf('eXIf'))
  t.equal((await sharp(twice).metadata()).orientation, 6)
})

t.test('a block with nothing but an orientation keeps it, however small', async t => {
  const directory = Buffer.from('49492a00080000000100120103000100000006000000', 'hex')
  for (const rest of [0, 1, 4, 5]) {
    const block = Buffer.concat([directory, Buffer.alloc(rest)])
    const app1 = segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), block]))
    const still = riffChunks(await noise(6, 4).webp().toBuffer())[0]!
    const files: Array<{ format: Format, file: Buffer }> = [
      { format: 'jpeg', file: jpegWith(await noise(6, 4).jpeg().toBuffer(), [app1]) },
      { format: 'png', file: pngWith(await noise(6, 4).png().toBuffer(), [pngChunk('eXIf', block)]) },
      { format: 'webp', file: webp(vp8x(HAS_EXIF, 6, 4), still, riffChunk('EXIF', block)) }
    ]
    for (const { format, file } of files) {
      const { out } = scrub(format, file)
      t.equal(
        (await sharp(out).metadata()).orientation,
        (await sharp(file).metadata()).orientation,
        `${format} ${block.length}`
      )
      t.ok(scrub(format, out).out.equals(out))
    }
  }
})

t.test('a GIF block that loops keeps its loop and nothing else', async t => {
  const plain = await noise(6, 4).gif().toBuffer()
  const loop = (...more: string[]) => gifApplication('NETSCAPE2.0', '\x01\x05\0', '\x02\x09\0\0\0', ...more)
  const { out } = scrub('gif', gifWith(plain, [loop(SECRET, 'abc', 'abcde')]))
  t.ok(out.equals(gifWith(plain, [loop('\0'.repeat(SECRET.length), '\0\0\0', '\0'.repeat(5))])))
})

t.test('pixels pass as they came, at once and uncopied', async t => {
  const data = Buffer.alloc(60_000, 7)
  const start = Buffer.concat([PNG_SIGNATURE, ihdr(200, 200)])
  const scrubber = createScrubber(TYPES.png)
  t.same(scrubber.push(start), [start])
  const idat = pngChunk('IDAT', data)
  const head = idat.subarray(0, 100)
  const rest = idat.subarray(100)
  t.equal(scrubber.push(head)[0], head)
  t.equal(scrubber.push(rest)[0], rest)

  const still = riffChunks(await noise(60, 60).webp().toBuffer())[0]!
  const held = createScrubber(TYPES.webp)
  const announced = webp(vp8x(HAS_EXIF, 60, 60), still, riffChunk('EXIF', exif(1)), riffChunk('XMP ', SECRET))
  t.same(held.push(Buffer.from(announced.subarray(0, 200))), [], 'held while the extended header may still change')
  t.equal(Buffer.concat([...held.push(Buffer.from(announced.subarray(200))), ...held.end()]).length, announced.length)
  const unannounced = createScrubber(TYPES.webp)
  t.equal(Buffer.concat(unannounced.push(webp(vp8x(0, 60, 60), still).subarray(0, 200))).length, 200)
})

function cutsDoNotMatter (t: Test, format: Format, file: Buffer, out: Buffer): void {
  for (const size of [1, 2, 7, 1000]) t.ok(scrub(format, file, size).out.equals(out), `in chunks of ${size}`)
  for (const seed of [1, 2, 3]) {
    const random = seededRandom(seed)
    t.ok(scrub(format, file, () => 1 + Math.floor(random() * 60)).out.equals(out), `in chunks of seed ${seed}`)
  }
}

async function looksTheSame (t: Test, before: Buffer, after: Buffer): Promise<void> {
  const [{ data: a, info: was }, { data: b, info: is }] = await Promise.all([before, after].map(file =>
    sharp(file, { animated: true }).raw().toBuffer({ resolveWithObject: true }))) as [
    Decoded, Decoded
  ]
  t.same(is, was)
  t.ok(a.equals(b), 'every pixel')
  const keys = [
    'width', 'height', 'pages', 'delay', 'loop', 'space', 'channels', 'depth', 'hasAlpha', 'icc', 'isProgressive',
    'background'
  ] as const
  const [had, has] = await Promise.all([before, after].map(file => sharp(file).metadata())) as [Metadata, Metadata]
  for (const key of keys) t.same(has[key], had[key], key)
}

interface Decoded { data: Buffer, info: OutputInfo }
