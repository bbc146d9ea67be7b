import sharp, { type Metadata, type OutputInfo, type Sharp } from 'sharp'
import t, { type Test } from 'tap'
import { ServiceError } from '../../../services/errors.js'
import { createScrubber } from '../../../services/pictures/scrub/index.js'
import {
  anmf,
  besidePixels,
  EOI,
  exif,
  fctl,
  gifApplication,
  gifComment,
  gifControl,
  gifHeader,
  gifHeaderBytes,
  gifImage,
  gifPlainText,
  gifWith,
  gifXmp,
  ihdr,
  jpegWith,
  jpegWithRestarts,
  noise,
  PNG_SIGNATURE,
  pngChunk,
  pngWith,
  riffChunk,
  riffChunks,
  SECRET,
  segment,
  segmentOffset,
  sof,
  SOI,
  sos,
  subBlocks,
  TYPES,
  vp8,
  vp8l,
  vp8x,
  webp,
  webpWith,
  type Format
} from '../../helpers/picture-bytes.js'
import { seededRandom } from '../../helpers/seeded-random.js'
import { scale } from '../../helpers/test-length.js'

const MUTANTS = scale({ short: 1500, long: 24_000 })
const ORIENTATIONS = [1, 2, 3, 4, 5, 6, 7, 8]
const HAS_EXIF = 0x08
const HAS_XMP = 0x04
const REFUSAL = { statusCode: 400, message: 'Damaged or unreasonable image' }

interface Fixture { format: Format, name: string, file: Buffer, frames?: number }

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

t.test('a file within each bound passes, and one beyond it is refused', async t => {
  for (const { format, name, inside, outside } of bounds()) {
    t.doesNotThrow(() => scrub(format, inside()), `${format}: ${name}: inside`)
    damaged(t, format, outside(), `${format}: ${name}: outside`)
  }
})

t.test('a frame too many is refused where it begins', async t => {
  const scrubber = createScrubber(TYPES.gif)
  scrubber.push(Buffer.concat([gifHeader(2, 2), ...Array.from({ length: 1000 }, () => gifImage(2, 2, 0, 0, 'x'))]))
  t.equal(scrubber.frames, 1000)
  t.throws(() => scrubber.push(gifImage(2, 2).subarray(0, 10)), REFUSAL)
  t.throws(() => scrubber.push(Buffer.alloc(1)), REFUSAL, 'and stays refused')
  t.throws(() => scrubber.end(), REFUSAL)
})

t.test('a damaged file is refused', async t => {
  for (const [format, name, file] of await damages()) damaged(t, format, file, `${format}: ${name}`)
})

t.test('a file cut short anywhere is not whole, except a GIF that lacks only its trailer', async t => {
  for (const { format, name, file } of await small()) {
    const whole: number[] = []
    for (let length = 0; length < file.length; length++) {
      if (accepts(format, file.subarray(0, length))) whole.push(length)
    }
    t.same(whole, format === 'gif' ? wholeGifs(file) : [], `${format}: ${name}`)
  }
})

t.test(`${MUTANTS} mutants: refused as damaged or passed at their length, without a secret`, async t => {
  const bases = [...await fixtures(), ...(await turned(6))].filter(({ file }) => file.length < 4000)
  const failures: string[] = []
  const seen = { passed: 0, refused: 0, compared: 0 }
  for (let i = 0; i < MUTANTS && failures.length < 5; i++) {
    const { format, name, file } = bases[i % bases.length]!
    const random = seededRandom(i)
    const below = (most: number) => Math.floor(random() * most)
    const { how, mutant } = mutate(file, random)
    const label = `${format}: ${name}: mutant ${i} (${how})`
    try {
      const out = attempt(format, mutant, below(3) === 0 ? mutant.length : 1 + below(200))
      const again = attempt(format, mutant, 1 + below(40))
      if (out === undefined) {
        seen.refused++
        if (again) failures.push(`${label}: passed when cut differently`)
        continue
      }
      seen.passed++
      if (out.length !== mutant.length) failures.push(`${label}: another length`)
      if (!again?.equals(out)) failures.push(`${label}: differs by its chunks`)
      if (!attempt(format, out, out.length)?.equals(out)) failures.push(`${label}: is not at rest`)
      if (besidePixels(format, out).includes(SECRET)) failures.push(`${label}: tells`)
      if (below(6) === 0 && ++seen.compared && !await decodesAlike(mutant, out)) {
        failures.push(`${label}: looks different`)
      }
    } catch (error) {
      failures.push(`${label}: ${error instanceof Error ? error.stack : error}`)
    }
  }
  t.same(failures, [])
  t.comment(seen)
  t.ok(seen.passed > MUTANTS / 10 && seen.refused > MUTANTS / 10 && seen.compared > MUTANTS / 100)
})

function scrub (format: Format, file: Buffer, size: number | (() => number) = file.length): {
  out: Buffer
  frames: number
} {
  const scrubber = createScrubber(TYPES[format])
  const bytes = Buffer.from(file)
  const out: Buffer[] = []
  for (let at = 0; at < bytes.length;) {
    const end = at + (typeof size === 'number' ? size : size())
    out.push(...scrubber.push(bytes.subarray(at, end)))
    at = end
  }
  out.push(...scrubber.end())
  return { out: Buffer.concat(out), frames: scrubber.frames }
}

/** The scrubbed bytes; undefined when the file was refused as damaged. */
function attempt (format: Format, file: Buffer, size: number): Buffer | undefined {
  try {
    return scrub(format, file, size).out
  } catch (error) {
    if (error instanceof ServiceError && error.statusCode === REFUSAL.statusCode && error.message === REFUSAL.message) {
      return undefined
    }
    throw error
  }
}

const accepts = (format: Format, file: Buffer) => attempt(format, file, file.length) !== undefined

const damaged = (t: Test, format: Format, file: Buffer, name: string) =>
  t.throws(() => scrub(format, file), REFUSAL, name)

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

/** Whether a file that decoded before decodes to the same pixels after. */
async function decodesAlike (before: Buffer, after: Buffer): Promise<boolean> {
  const decoded = (file: Buffer) => sharp(file, { animated: true, failOn: 'error' }).raw().toBuffer().catch(() =>
    undefined)
  const was = await decoded(before)
  return was === undefined || was.equals(await decoded(after) ?? Buffer.alloc(0))
}

async function fixtures (): Promise<Fixture[]> {
  return [...await pngs(), ...await jpegs(), ...await gifs(), ...await webps()]
}

const XMP = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description>${SECRET}</rdf:Description></rdf:RDF></x:xmpmeta>`

const described = (image: Sharp) => image
  .withExif({ IFD0: { Copyright: SECRET }, IFD3: { GPSLatitude: '51/1 30/1 3230/100' } })
  .withXmp(
    XMP
  )

async function pngs (): Promise<Fixture[]> {
  const plain = await noise(16, 12).png().toBuffer()
  const telling = [
    pngChunk('tEXt', `Comment\0${SECRET}`),
    pngChunk('zTXt', `Comment\0\0${SECRET}`),
    pngChunk('iTXt', `XML:com.adobe.xmp\0\0\0\0\0${XMP}`),
    pngChunk('eXIf', exif(1)),
    pngChunk('tIME', SECRET.slice(0, 7)),
    pngChunk('prVt', SECRET), pngChunk('tEXt'), pngChunk('gAMA', `\0\0\xb1\x8f${SECRET}`)
  ]
  return [
    {
      format: 'png',
      name: 'as sharp writes it',
      file: await described(noise(16, 12).withIccProfile('p3')).png().toBuffer()
    },
    { format: 'png', name: 'every kind of chunk, before the pixels', file: pngWith(plain, telling) },
    { format: 'png', name: 'every kind of chunk, after the pixels', file: pngWith(plain, [], telling) },
    { format: 'png', name: 'bytes after the end', file: pngWith(plain, [], [], SECRET) },
    {
      format: 'png',
      name: 'a palette with transparency, interlaced',
      file: pngWith(
        await noise(16, 12, { channels: 4 }).png({ palette: true, colours: 16, progressive: true }).toBuffer(),
        [pngChunk('tEXt', `a\0${SECRET}`)]
      )
    },
    {
      format: 'png',
      name: 'a chunk that is longer than a segment',
      file: pngWith(
        plain,
        [
          pngChunk('tEXt', `a\0${SECRET.repeat(9000)}`),
          pngChunk('eXIf', Buffer.concat([exif(1), Buffer.alloc(80_000, SECRET)]))
        ]
      )
    },
    {
      format: 'png',
      name: 'an animation',
      file: pngWith(
        plain,
        [pngChunk('acTL', Buffer.from([0, 0, 0, 1, 0, 0, 0, 0])), fctl(16, 12), pngChunk('tEXt', `a\0${SECRET}`)],
        [fctl(16, 12), pngChunk('fdAT', Buffer.alloc(20))]
      )
    }
  ]
}

async function jpegs (): Promise<Fixture[]> {
  const plain = await noise(24, 16).jpeg().toBuffer()
  const progressive = await noise(24, 16).jpeg({ progressive: true }).toBuffer()
  const telling = [
    segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), exif(1)])),
    segment(0xe1, `http://ns.adobe.com/xap/1.0/\0${XMP}`),
    segment(0xe1, `http://ns.adobe.com/xmp/extension/\0${SECRET}`),
    segment(0xe0, `JFXX\0\x10${SECRET}`),
    segment(0xe2, `MPF\0MM\0*${SECRET}`),
    segment(0xec, `Ducky\0${SECRET}`),
    segment(0xed, `Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x10\x1c\x02\x78\0\x0b${SECRET}`),
    segment(0xee, `Adobe${SECRET.slice(0, 5)}`),
    segment(0xfe, SECRET), segment(0xfe, ''), segment(0xef, SECRET)
  ]
  const jfif = (thumbnail: string) => segment(0xe0, `JFIF\0\x01\x02\0\0\x01\0\x01${thumbnail}`)
  const bare = Buffer.concat([SOI, plain.subarray(segmentOffset(plain, 0xdb))])
  const cmyk = await noise(24, 16).toColourspace('cmyk').jpeg().toBuffer()
  const fixtures: Array<[name: string, file: Buffer]> = [
    ['as sharp writes it', await described(noise(24, 16).withIccProfile('p3')).jpeg().toBuffer()],
    ['every kind of segment, baseline', jpegWith(plain, telling)],
    ['every kind of segment, progressive', jpegWith(progressive, telling)],
    ['every kind of segment, restart markers', jpegWith(await jpegWithRestarts(), telling)],
    ['every kind of segment before the tables, without JFIF', Buffer.concat([SOI, ...telling, bare.subarray(2)])],
    ['comments before every scan', withinScans(progressive, segment(0xfe, SECRET))],
    ['a thumbnail in JFIF', jpegWith(bare, [jfif(`\x02\x02${SECRET}0`)])],
    ['something behind JFIF', jpegWith(bare, [jfif(`\0\0${SECRET}`)])],
    ['Adobe and more, in a picture that needs it', longerAdobe(cmyk)],
    [
      'fill bytes everywhere',
      Buffer.concat([
        SOI,
        Buffer.alloc(70_000, 0xff),
        telling[0]!,
        Buffer.from([0xff]),
        bare.subarray(2, -2),
        Buffer.alloc(9, 0xff),
        EOI
      ])
    ],
    ['bytes after the end', jpegWith(plain, [], SECRET)],
    ['another picture after the end', Buffer.concat([plain, jpegWith(plain, telling)])],
    [
      'segments as long as can be',
      jpegWith(
        plain,
        [
          segment(0xfe, SECRET.repeat(5957)),
          segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), exif(1), Buffer.alloc(65_000, SECRET)]))
        ]
      )
    ]
  ]
  return fixtures.map(([name, file]) => ({ format: 'jpeg', name, file }))
}

/** Puts the segment before each scan but the first. */
function withinScans (jpeg: Buffer, extra: Buffer): Buffer {
  const pieces: Buffer[] = []
  let from = 0
  for (let at = segmentOffset(jpeg, 0xda) + 2; at < jpeg.length - 2; at++) {
    const code = jpeg[at + 1]!
    if (jpeg[at] !== 0xff || (code !== 0xda && code !== 0xc4)) continue
    pieces.push(jpeg.subarray(from, at), extra)
    from = at
  }
  return Buffer.concat([...pieces, jpeg.subarray(from)])
}

function longerAdobe (jpeg: Buffer): Buffer {
  const at = segmentOffset(jpeg, 0xee)
  return Buffer.concat([
    jpeg.subarray(0, at),
    segment(0xee, Buffer.concat([jpeg.subarray(at + 4, at + 16), Buffer.from(SECRET)])),
    jpeg.subarray(at + 16)
  ])
}

async function gifs (): Promise<Fixture[]> {
  const still = await noise(12, 10).gif({ colours: 8 }).toBuffer()
  const moving = await noise(12, 10, { frames: 4 }).gif({ loop: 3, delay: [100, 50, 200, 40], colours: 8 }).toBuffer()
  const profile = gifApplication('ICCRGBG1012', 'profile', Buffer.alloc(255, 1))
  const telling = [
    gifComment(SECRET, SECRET),
    gifComment(),
    Buffer.from([0x21, 0xaa, 0]),
    gifApplication('MAGPIE  1.0', SECRET),
    gifXmp(XMP),
    gifPlainText(SECRET),
    gifApplication('MAGPIE', SECRET),
    gifApplication('NETSCAPE2.0', SECRET),
    profile
  ]
  return [
    { format: 'gif', name: 'one frame, every kind of block first', file: gifWith(still, telling) },
    { format: 'gif', name: 'one frame, every kind of block last', file: gifWith(still, [], telling) },
    {
      format: 'gif',
      name: 'frames, every kind of block first and last',
      file: gifWith(moving, telling, telling),
      frames: 4
    },
    { format: 'gif', name: 'bytes after the end', file: gifWith(moving, [], [], SECRET), frames: 4 },
    { format: 'gif', name: 'XMP alone', file: gifWith(moving, [gifXmp(XMP)]), frames: 4 },
    { format: 'gif', name: 'without a trailer', file: gifWith(moving, [], telling).subarray(0, -1), frames: 4 },
    {
      format: 'gif',
      name: 'a control block with more',
      file: gifWith(still, [Buffer.concat([Buffer.from([0x21, 0xf9]), subBlocks('\0\x0a\0\0', SECRET)])])
    }
  ]
}

async function webps (): Promise<Fixture[]> {
  const lossy = await noise(16, 12).webp().toBuffer()
  const lossless = await noise(16, 12).webp({ lossless: true }).toBuffer()
  const translucent = await noise(15, 11, { channels: 4 }).webp().toBuffer()
  const moving = await noise(16, 12, { frames: 3 }).webp({ loop: 2, delay: [100, 50, 200] }).toBuffer()
  const telling = [
    riffChunk('EXIF', exif(1)),
    riffChunk('XMP ', XMP),
    riffChunk('note', SECRET),
    riffChunk('EXIF', exif(3))
  ]
  const extended = webp(vp8x(0, 16, 12), riffChunks(lossy)[0]!)
  return [
    {
      format: 'webp',
      name: 'as sharp writes it',
      file: await described(noise(16, 12).withIccProfile('p3')).webp().toBuffer()
    },
    { format: 'webp', name: 'lossy, every kind of chunk', file: webpWith(extended, HAS_EXIF | HAS_XMP, telling) },
    { format: 'webp', name: 'every kind of chunk, unannounced', file: webpWith(extended, 0, telling) },
    {
      format: 'webp',
      name: 'no extended header, every kind of chunk',
      file: webp(...riffChunks(lossless), ...telling)
    },
    {
      format: 'webp',
      name: 'transparent, every kind of chunk, bytes after the end',
      file: webpWith(translucent, HAS_EXIF | HAS_XMP, telling, SECRET)
    },
    {
      format: 'webp',
      name: 'frames, every kind of chunk',
      file: webpWith(moving, HAS_EXIF | HAS_XMP, telling),
      frames: 3
    },
    {
      format: 'webp',
      name: 'EXIF announced, but not there',
      file: webpWith(extended, HAS_EXIF, [riffChunk('XMP ', XMP)])
    },
    {
      format: 'webp',
      name: 'EXIF that is longer than a segment',
      file: webpWith(extended, HAS_EXIF, [riffChunk('EXIF', Buffer.concat([exif(1), Buffer.alloc(80_001, SECRET)]))])
    },
    { format: 'webp', name: 'bytes after the end', file: Buffer.concat([lossy, Buffer.from(SECRET)]) }
  ]
}

/** Pictures with an Exif block that names this orientation. */
async function turned (orientation: number): Promise<Fixture[]> {
  const image = noise(16, 10)
  const [png, jpeg, webp] = await Promise.all([
    image.clone().png().toBuffer(),
    image.clone().jpeg().toBuffer(),
    image.clone().withMetadata({ orientation: 1 }).webp().toBuffer()
  ])
  const jfif = segmentOffset(jpeg, 0xdb)
  const app1 = (block: Buffer) => segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), block]))
  const plain = webpWithout(webp, 'EXIF')
  const bigEndian = exif(orientation, { order: 'MM' })
  const prefixed = exif(orientation, { order: 'MM', prefix: 'Exif\0\0' })
  const comment = pngChunk('tEXt', `a\0${SECRET}`)
  const bare = Buffer.concat([SOI, jpeg.subarray(jfif)])
  return [
    { format: 'png', name: 'first', file: pngWith(png, [pngChunk('eXIf', exif(orientation))]) },
    {
      format: 'png',
      name: 'big-endian, between texts',
      file: pngWith(png, [comment, pngChunk('eXIf', bigEndian), comment])
    },
    {
      format: 'jpeg',
      name: 'after JFIF',
      file: jpegWith(bare, [jpeg.subarray(2, jfif), app1(exif(orientation)), segment(0xfe, SECRET)])
    },
    { format: 'jpeg', name: 'first of all, big-endian', file: jpegWith(bare, [app1(bigEndian)]) },
    {
      format: 'webp',
      name: 'bare',
      file: webpWith(plain, HAS_EXIF, [riffChunk('EXIF', exif(orientation)), riffChunk('XMP ', XMP)])
    },
    {
      format: 'webp',
      name: 'with a prefix, big-endian',
      file: webpWith(plain, HAS_EXIF | HAS_XMP, [riffChunk('XMP ', XMP), riffChunk('EXIF', prefixed)])
    }
  ]
}

function webpWithout (file: Buffer, type: string): Buffer {
  const chunks = riffChunks(file).filter(chunk => chunk.toString('latin1', 0, 4) !== type)
  return webp(...chunks)
}

interface Bound { format: Format, name: string, inside: () => Buffer, outside: () => Buffer }

function bounds (): Bound[] {
  const png = (width: number, height: number, interlace = 0, frames = 0) =>
    Buffer.concat([
      PNG_SIGNATURE,
      ihdr(width, height, interlace),
      ...Array.from({ length: frames }, () => fctl(width, height)),
      pngChunk('IDAT', 'x'),
      pngChunk('IEND')
    ])
  const jpeg = (...frames: Array<[code: number, width: number, height: number]>) => Buffer.concat([
    SOI,
    ...frames.map(frame => sof(...frame, 1)),
    sos,
    Buffer.from('x'),
    EOI
  ])
  const gif = (
    width: number,
    height: number,
    frames = 1,
    { screen = [width, height] as [number, number], left = 0, top = 0 } = {}
  ) =>
    Buffer.concat([
      gifHeader(...screen),
      ...Array.from({ length: frames }, () => gifImage(width, height, left, top, 'x')),
      Buffer.from(';')
    ])
  const frames = (width: number, height: number, count: number, inside = [vp8(width, height)]) =>
    webp(
      vp8x(2, width, height),
      riffChunk('ANIM', Buffer.alloc(6)),
      ...Array.from({ length: count }, () => anmf(width, height, ...inside))
    )
  const scans = (count: number) => Buffer.concat([
    SOI,
    sof(0xc2, 4000, 4000, 1),
    ...Array.from({ length: count }, () => Buffer.concat([sos, Buffer.from('x')])),
    EOI
  ])
  const [side, over] = [16_384, 16_385]
  return [
    { format: 'png', name: 'width', inside: () => png(side, 1), outside: () => png(over, 1) },
    { format: 'png', name: 'height', inside: () => png(1, side), outside: () => png(1, over) },
    { format: 'png', name: 'no width', inside: () => png(1, 1), outside: () => png(0, 1) },
    { format: 'png', name: 'no height', inside: () => png(1, 1), outside: () => png(1, 0) },
    { format: 'png', name: 'pixels', inside: () => png(10_000, 5000), outside: () => png(10_000, 5001) },
    { format: 'png', name: 'pixels, interlaced', inside: () => png(4000, 4000, 1), outside: () => png(4000, 4001, 1) },
    { format: 'png', name: 'frames', inside: () => png(1, 1, 0, 1000), outside: () => png(1, 1, 0, 1001) },
    {
      format: 'png',
      name: 'pixels of all frames',
      inside: () => png(1000, 1000, 0, 200),
      outside: () => png(1000, 1000, 0, 201)
    },
    { format: 'jpeg', name: 'width', inside: () => jpeg([0xc0, side, 1]), outside: () => jpeg([0xc0, over, 1]) },
    { format: 'jpeg', name: 'height', inside: () => jpeg([0xc1, 1, side]), outside: () => jpeg([0xc1, 1, over]) },
    { format: 'jpeg', name: 'no width', inside: () => jpeg([0xc0, 1, 1]), outside: () => jpeg([0xc0, 0, 1]) },
    {
      format: 'jpeg',
      name: 'a height that comes later',
      inside: () => jpeg([0xc0, 1, 1]),
      outside: () => jpeg([0xc0, 1, 0])
    },
    {
      format: 'jpeg',
      name: 'pixels',
      inside: () => jpeg([0xc0, 10_000, 5000]),
      outside: () => jpeg([0xc0, 10_000, 5001])
    },
    {
      format: 'jpeg',
      name: 'pixels, progressive',
      inside: () => jpeg([0xc2, 4000, 4000]),
      outside: () => jpeg([0xc2, 4000, 4001])
    },
    { format: 'jpeg', name: 'scans', inside: () => scans(100), outside: () => scans(101) },
    {
      format: 'jpeg',
      name: 'a second frame header',
      inside: () => jpeg([0xc0, 1, 1], [0xc0, 10_000, 5000]),
      outside: () => jpeg([0xc0, 1, 1], [0xc0, 10_000, 5001])
    },
    { format: 'gif', name: 'width', inside: () => gif(side, 1), outside: () => gif(over, 1) },
    { format: 'gif', name: 'height', inside: () => gif(1, side), outside: () => gif(1, over) },
    {
      format: 'gif',
      name: 'screen',
      inside: () => gif(1, 1, 1, { screen: [0, side] }),
      outside: () => gif(1, 1, 1, { screen: [0, over] })
    },
    {
      format: 'gif',
      name: 'width that a frame extends to',
      inside: () => gif(384, 1, 1, { screen: [1, 1], left: 16_000 }),
      outside: () => gif(385, 1, 1, { screen: [1, 1], left: 16_000 })
    },
    {
      format: 'gif',
      name: 'pixels of the screen',
      inside: () => gif(1, 1, 1, { screen: [10_000, 5000] }),
      outside: () => gif(1, 1, 1, { screen: [10_000, 5001] })
    },
    {
      format: 'gif',
      name: 'pixels that a frame extends to',
      inside: () => gif(1, 1, 1, { screen: [10_000, 1], top: 4999 }),
      outside: () => gif(1, 1, 1, { screen: [10_000, 1], top: 5000 })
    },
    { format: 'gif', name: 'frames', inside: () => gif(1, 1, 1000), outside: () => gif(1, 1, 1001) },
    {
      format: 'gif',
      name: 'pixels of all frames',
      inside: () => gif(1, 1, 200, { screen: [1000, 1000] }),
      outside: () => gif(1, 1, 201, { screen: [1000, 1000] })
    },
    { format: 'webp', name: 'width, lossy', inside: () => webp(vp8(16_383, 1)), outside: () => webp(vp8(0, 1)) },
    { format: 'webp', name: 'height, lossy', inside: () => webp(vp8(1, 16_383)), outside: () => webp(vp8(1, 0)) },
    {
      format: 'webp',
      name: 'pixels, lossy',
      inside: () => webp(vp8(10_000, 5000)),
      outside: () => webp(vp8(10_000, 5001))
    },
    {
      format: 'webp',
      name: 'pixels, lossless',
      inside: () => webp(vp8l(10_000, 5000)),
      outside: () => webp(vp8l(10_000, 5001))
    },
    {
      format: 'webp',
      name: 'canvas',
      inside: () => webp(vp8x(0, side, 1), vp8l(side, 1)),
      outside: () => webp(vp8x(0, over, 1), vp8l(side, 1))
    },
    {
      format: 'webp',
      name: 'pixels of the canvas',
      inside: () => webp(vp8x(0, 10_000, 5000), vp8(10_000, 5000)),
      outside: () => webp(vp8x(0, 10_000, 5001), vp8(10_000, 5000))
    },
    {
      format: 'webp',
      name: 'pixels of the picture in a frame',
      inside: () => frames(10, 10, 1, [vp8(10_000, 5000)]),
      outside: () => frames(10, 10, 1, [vp8(10_000, 5001)])
    },
    { format: 'webp', name: 'frames', inside: () => frames(1, 1, 1000), outside: () => frames(1, 1, 1001) },
    {
      format: 'webp',
      name: 'pixels of all frames',
      inside: () => frames(1000, 1000, 200),
      outside: () => frames(1000, 1000, 201)
    }
  ]
}

async function damages (): Promise<Array<[format: Format, name: string, file: Buffer]>> {
  const png = await noise(6, 4).png().toBuffer()
  const jpeg = await noise(16, 8).jpeg().toBuffer()
  const gif = await noise(6, 4).gif().toBuffer()
  const lossy = riffChunks(await noise(6, 4).webp().toBuffer())[0]!
  const tables = jpeg.subarray(2, segmentOffset(jpeg, 0xc0))
  const pngOf = (...chunks: Buffer[]) => Buffer.concat([PNG_SIGNATURE, ...chunks])
  const jpegOf = (...segments: Buffer[]) => Buffer.concat([SOI, ...segments, EOI])
  const gifOf = (...blocks: Buffer[]) => Buffer.concat([gifHeader(6, 4), ...blocks])
  const long = pngChunk('tEXt')
  long.writeUInt32BE(2 ** 31)
  const longer = webp(lossy)
  longer.writeUInt32LE(longer.length - 7, 4)
  const lying = Buffer.from(lossy)
  lying.writeUInt32LE(lossy.length - 7, 4)
  const idat = pngChunk('IDAT', 'x')
  const scan = Buffer.concat([sos, Buffer.from('x')])
  return [
    ['png', 'another signature', Buffer.concat([SOI, png.subarray(2)])],
    ['png', 'no IHDR', pngOf(idat, pngChunk('IEND'))],
    ['png', 'something before IHDR', pngOf(pngChunk('tEXt'), ihdr(6, 4), idat, pngChunk('IEND'))],
    [
      'png',
      'IHDR of 14 bytes',
      pngOf(pngChunk('IHDR', Buffer.concat([ihdr(6, 4).subarray(8, 21), Buffer.alloc(1)])), idat, pngChunk('IEND'))
    ],
    ['png', 'a second IHDR', pngWith(png, [ihdr(6, 4)])],
    ['png', 'an unknown critical chunk', pngWith(png, [pngChunk('NEWS', SECRET)])],
    ['png', 'a palette too long', pngWith(png, [pngChunk('PLTE', Buffer.alloc(771))])],
    ['png', 'a type that is no text', pngWith(png, [pngChunk('te\0t', SECRET)])],
    ['png', 'a chunk of 2^31 bytes', pngWith(png, [long])],
    ['png', 'no pixels', pngOf(ihdr(6, 4), pngChunk('IEND'))],
    ['png', 'IEND with data', pngOf(ihdr(6, 4), idat, pngChunk('IEND', SECRET))],
    ['png', 'no IEND', png.subarray(0, -12)],
    ['png', 'a short fcTL', pngWith(png, [fctl(6, 4), pngChunk('fcTL', 'x')])],
    ['jpeg', 'no SOI', Buffer.concat([Buffer.from([0xff, 0xe0]), jpeg.subarray(2)])],
    ['jpeg', 'a second SOI', jpegWith(jpeg, [SOI])],
    ['jpeg', 'no EOI', jpeg.subarray(0, -2)],
    ['jpeg', 'nothing but tables', jpegOf(tables)],
    ['jpeg', 'no scan', jpegOf(tables, sof(0xc0, 16, 8))],
    ['jpeg', 'a scan before its frame', jpegOf(tables, scan, sof(0xc0, 16, 8))],
    ['jpeg', 'an unknown segment', jpegWith(jpeg, [segment(0xf0, SECRET)])],
    ['jpeg', 'arithmetic coding', jpegOf(tables, sof(0xc9, 16, 8), scan)],
    ['jpeg', 'lossless coding', jpegOf(tables, sof(0xc3, 16, 8), scan)],
    ['jpeg', 'hierarchical coding', jpegOf(tables, sof(0xc5, 16, 8), scan)],
    [
      'jpeg',
      'more in a frame header',
      jpegOf(tables, segment(0xc0, Buffer.concat([sof(0xc0, 16, 8).subarray(4), Buffer.from(SECRET)])), scan)
    ],
    [
      'jpeg',
      'more in a scan header',
      jpegOf(tables, sof(0xc0, 16, 8), segment(0xda, Buffer.concat([sos.subarray(4), Buffer.from(SECRET)])))
    ],
    ['jpeg', 'more in a quantization table', jpegWith(jpeg, [segment(0xdb, Buffer.alloc(66))])],
    [
      'jpeg',
      'more in a Huffman table',
      jpegWith(jpeg, [segment(0xc4, Buffer.concat([Buffer.alloc(17), Buffer.from(SECRET)]))])
    ],
    ['jpeg', 'more in a restart interval', jpegWith(jpeg, [segment(0xdd, SECRET)])],
    ['gif', 'another version', Buffer.concat([Buffer.from('GIF88a'), gif.subarray(6)])],
    ['gif', 'no image', gifOf(Buffer.from(';'))],
    ['gif', 'no image, no trailer', gifOf(gifComment(SECRET))],
    ['gif', 'an unknown block', gifOf(gifImage(6, 4, 0, 0, 'x'), Buffer.from('x'))],
    ['gif', 'an image without its terminator', gifOf(gifImage(6, 4, 0, 0, 'x').subarray(0, -1))],
    ['gif', 'a second image cut short', gifOf(gifImage(6, 4, 0, 0, 'x'), gifImage(6, 4, 0, 0, 'x').subarray(0, 8))],
    ['gif', 'a comment cut short', gifOf(gifImage(6, 4, 0, 0, 'x'), gifComment(SECRET).subarray(0, 9))],
    [
      'gif',
      'a control block of another length',
      gifOf(Buffer.concat([Buffer.from([0x21, 0xf9]), subBlocks(SECRET)]), gifImage(6, 4, 0, 0, 'x'))
    ],
    ['gif', 'a control block cut short', gifOf(gifImage(6, 4, 0, 0, 'x'), gifControl.subarray(0, 5))],
    ['webp', 'no RIFF', Buffer.concat([Buffer.from('RIFX'), webp(lossy).subarray(4)])],
    ['webp', 'no WEBP', riffChunk('RIFF', Buffer.concat([Buffer.from('WAVE'), lossy]))],
    ['webp', 'longer than the file', longer],
    ['webp', 'a chunk longer than its file', Buffer.concat([webp(lying), Buffer.alloc(20)])],
    ['webp', 'a frame longer than its chunk', webp(vp8x(2, 6, 4), anmf(6, 4, lying))],
    ['webp', 'no picture', webp(vp8x(HAS_EXIF, 6, 4), riffChunk('EXIF', exif(6)))],
    ['webp', 'something before the picture', webp(riffChunk('XMP ', XMP), lossy)],
    ['webp', 'two pictures', webp(lossy, lossy)],
    ['webp', 'an extended header of 11 bytes', webp(riffChunk('VP8X', Buffer.alloc(11)), lossy)],
    ['webp', 'an extended header too late', webp(lossy, vp8x(HAS_EXIF, 6, 4))],
    ['webp', 'a second extended header', webp(vp8x(HAS_EXIF, 6, 4), vp8x(HAS_EXIF, 6, 4), lossy)],
    ['webp', 'a lossy picture without its start code', webp(riffChunk('VP8 ', Buffer.alloc(20)))],
    [
      'webp',
      'a lossy picture that needs another',
      webp(Buffer.from(lossy.map((byte, i) => i === 8 ? byte | 1 : byte)))
    ],
    ['webp', 'a lossless picture without its signature', webp(riffChunk('VP8L', Buffer.alloc(20)))],
    ['webp', 'a picture of 4 bytes', webp(riffChunk('VP8L', '\x2f\0\0\0'))],
    ['webp', 'an empty frame', webp(vp8x(2, 6, 4), riffChunk('ANMF', 'x'))],
    ['webp', 'more in an animation header', webp(vp8x(2, 6, 4), riffChunk('ANIM', SECRET), anmf(6, 4, lossy))]
  ]
}

/** Fixtures of each format with all kinds of blocks in few bytes. */
async function small (): Promise<Fixture[]> {
  const all = [...await fixtures(), ...await turned(6)]
  return all.filter(({ file, name }) => file.length < 2500 && !name.includes('after the end'))
}

/** The lengths at which a GIF ends with a whole block, after an image. */
function wholeGifs (file: Buffer): number[] {
  const ends: number[] = []
  let images = 0
  for (let at = gifHeaderBytes(file); at < file.length && file[at] !== 0x3b;) {
    const image = file[at] === 0x2c
    at += image ? 11 + (file[at + 9]! & 0x80 ? 3 * 2 ** ((file[at + 9]! & 7) + 1) : 0) : 2
    while (file[at] !== 0) at += 1 + file[at]!
    at++
    if (image) images++
    if (images > 0 && at < file.length) ends.push(at)
  }
  return ends
}

function mutate (file: Buffer, random: () => number): { how: string, mutant: Buffer } {
  const below = (most: number) => Math.floor(random() * most)
  const mutant = Buffer.from(file)
  const at = below(file.length)
  const how = ['flip', 'flip', 'byte', 'lie', 'cut', 'remove', 'repeat', 'move'][below(8)]!
  switch (how) {
    case 'flip':
      for (let i = 0; i <= below(3); i++) mutant[below(file.length)]! ^= 1 << below(8)
      return { how, mutant }
    case 'byte':
      mutant[at] = [0, 1, 0x21, 0x2c, 0x3b, 0xd9, 0xda, 0xe1, 0xfe, 0xff][below(10)]!
      return { how, mutant }
    case 'lie':
      if (at + 4 <= file.length) {
        mutant.writeInt32BE(mutant.readInt32BE(at) + [1, -1, 256, -256, 65_536, 2 ** 24, -(2 ** 24)][below(7)]! | 0, at)
      }
      return { how, mutant }
    case 'cut': return { how, mutant: mutant.subarray(0, at) }
  }
  const piece = Buffer.from(mutant.subarray(at, at + 1 + below(100)))
  const to = below(file.length)
  if (how === 'remove') {
    return { how, mutant: Buffer.concat([mutant.subarray(0, at), mutant.subarray(at + piece.length)]) }
  }
  if (how === 'repeat') return { how, mutant: Buffer.concat([mutant.subarray(0, at), piece, mutant.subarray(at)]) }
  return { how, mutant: Buffer.concat([mutant.subarray(0, to), piece, mutant.subarray(to)]) }
}
