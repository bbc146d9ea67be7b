import sharp from 'sharp'
import t, { type Test } from 'tap'
import { ServiceError } from '../../../services/errors.js'
import { createScrubber } from '../../../services/pictures/scrub/index.js'
import {
  anmf,
  besidePixels,
  EOI,
  exif,
  fctl,
  gifComment,
  gifControl,
  gifHeader,
  gifHeaderBytes,
  gifImage,
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
  type Format
} from '../../helpers/picture-bytes.js'
import {
  fixtures,
  HAS_EXIF,
  scrub,
  turned,
  XMP,
  type Fixture
} from '../../helpers/scrub-fixtures.js'
import { seededRandom } from '../../helpers/seeded-random.js'
import { scale } from '../../helpers/test-length.js'

const MUTANTS = scale({ short: 1500, long: 24_000 })
const REFUSAL = { statusCode: 400, message: 'Damaged or unreasonable image' }

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
  for (const [format, files] of Object.entries(await damages()) as Array<[Format, Record<string, Buffer>]>) {
    for (const [name, file] of Object.entries(files)) damaged(t, format, file, `${format}: ${name}`)
  }
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

function damaged (t: Test, format: Format, file: Buffer, name: string): void {
  t.throws(() => scrub(format, file), REFUSAL, name)
}

/** Whether a file that decoded before decodes to the same pixels after. */
async function decodesAlike (before: Buffer, after: Buffer): Promise<boolean> {
  const decoded = (file: Buffer) => sharp(file, { animated: true, failOn: 'error' }).raw().toBuffer().catch(() =>
    undefined)
  const was = await decoded(before)
  return was === undefined || was.equals(await decoded(after) ?? Buffer.alloc(0))
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
  const jpeg = (...frames: Buffer[]) => Buffer.concat([
    SOI,
    ...frames,
    sos,
    Buffer.from('x'),
    EOI
  ])
  const gif = (
    width: number,
    height: number,
    frames = 1,
    { screen = { width, height }, left = 0, top = 0 } = {}
  ) =>
    Buffer.concat([
      gifHeader(screen.width, screen.height),
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
    {
      format: 'jpeg',
      name: 'width',
      inside: () => jpeg(sof(0xc0, side, 1, 1)),
      outside: () => jpeg(sof(0xc0, over, 1, 1))
    },
    {
      format: 'jpeg',
      name: 'height',
      inside: () => jpeg(sof(0xc1, 1, side, 1)),
      outside: () => jpeg(sof(0xc1, 1, over, 1))
    },
    {
      format: 'jpeg',
      name: 'no width',
      inside: () => jpeg(sof(0xc0, 1, 1, 1)),
      outside: () => jpeg(sof(0xc0, 0, 1, 1))
    },
    {
      format: 'jpeg',
      name: 'a height that comes later',
      inside: () => jpeg(sof(0xc0, 1, 1, 1)),
      outside: () => jpeg(sof(0xc0, 1, 0, 1))
    },
    {
      format: 'jpeg',
      name: 'pixels',
      inside: () => jpeg(sof(0xc0, 10_000, 5000, 1)),
      outside: () => jpeg(sof(0xc0, 10_000, 5001, 1))
    },
    {
      format: 'jpeg',
      name: 'pixels, progressive',
      inside: () => jpeg(sof(0xc2, 4000, 4000, 1)),
      outside: () => jpeg(sof(0xc2, 4000, 4001, 1))
    },
    { format: 'jpeg', name: 'scans', inside: () => scans(100), outside: () => scans(101) },
    {
      format: 'jpeg',
      name: 'a second frame header',
      inside: () => jpeg(sof(0xc0, 1, 1, 1), sof(0xc0, 10_000, 5000, 1)),
      outside: () => jpeg(sof(0xc0, 1, 1, 1), sof(0xc0, 10_000, 5001, 1))
    },
    { format: 'gif', name: 'width', inside: () => gif(side, 1), outside: () => gif(over, 1) },
    { format: 'gif', name: 'height', inside: () => gif(1, side), outside: () => gif(1, over) },
    {
      format: 'gif',
      name: 'screen',
      inside: () => gif(1, 1, 1, { screen: { width: 0, height: side } }),
      outside: () => gif(1, 1, 1, { screen: { width: 0, height: over } })
    },
    {
      format: 'gif',
      name: 'width that a frame extends to',
      inside: () => gif(384, 1, 1, { screen: { width: 1, height: 1 }, left: 16_000 }),
      outside: () => gif(385, 1, 1, { screen: { width: 1, height: 1 }, left: 16_000 })
    },
    {
      format: 'gif',
      name: 'pixels of the screen',
      inside: () => gif(1, 1, 1, { screen: { width: 10_000, height: 5000 } }),
      outside: () => gif(1, 1, 1, { screen: { width: 10_000, height: 5001 } })
    },
    {
      format: 'gif',
      name: 'pixels that a frame extends to',
      inside: () => gif(1, 1, 1, { screen: { width: 10_000, height: 1 }, top: 4999 }),
      outside: () => gif(1, 1, 1, { screen: { width: 10_000, height: 1 }, top: 5000 })
    },
    { format: 'gif', name: 'frames', inside: () => gif(1, 1, 1000), outside: () => gif(1, 1, 1001) },
    {
      format: 'gif',
      name: 'pixels of all frames',
      inside: () => gif(1, 1, 200, { screen: { width: 1000, height: 1000 } }),
      outside: () => gif(1, 1, 201, { screen: { width: 1000, height: 1000 } })
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

/** Damaged files, by their format and by what is wrong. */
async function damages (): Promise<Record<Format, Record<string, Buffer>>> {
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
  return {
    png: {
      'another signature': Buffer.concat([SOI, png.subarray(2)]),
      'no IHDR': pngOf(idat, pngChunk('IEND')),
      'something before IHDR': pngOf(pngChunk('tEXt'), ihdr(6, 4), idat, pngChunk('IEND')),
      'IHDR of 14 bytes': pngOf(
        pngChunk('IHDR', Buffer.concat([ihdr(6, 4).subarray(8, 21), Buffer.alloc(1)])),
        idat,
        pngChunk('IEND')
      ),
      'a second IHDR': pngWith(png, [ihdr(6, 4)]),
      'an unknown critical chunk': pngWith(png, [pngChunk('NEWS', SECRET)]),
      'a palette too long': pngWith(png, [pngChunk('PLTE', Buffer.alloc(771))]),
      'a type that is no text': pngWith(png, [pngChunk('te\0t', SECRET)]),
      'a chunk of 2^31 bytes': pngWith(png, [long]),
      'no pixels': pngOf(ihdr(6, 4), pngChunk('IEND')),
      'IEND with data': pngOf(ihdr(6, 4), idat, pngChunk('IEND', SECRET)),
      'no IEND': png.subarray(0, -12),
      'a short fcTL': pngWith(png, [fctl(6, 4), pngChunk('fcTL', 'x')])
    },
    jpeg: {
      'no SOI': Buffer.concat([Buffer.from([0xff, 0xe0]), jpeg.subarray(2)]),
      'a second SOI': jpegWith(jpeg, [SOI]),
      'no EOI': jpeg.subarray(0, -2),
      'nothing but tables': jpegOf(tables),
      'no scan': jpegOf(tables, sof(0xc0, 16, 8)),
      'a scan before its frame': jpegOf(tables, scan, sof(0xc0, 16, 8)),
      'an unknown segment': jpegWith(jpeg, [segment(0xf0, SECRET)]),
      'arithmetic coding': jpegOf(tables, sof(0xc9, 16, 8), scan),
      'lossless coding': jpegOf(tables, sof(0xc3, 16, 8), scan),
      'hierarchical coding': jpegOf(tables, sof(0xc5, 16, 8), scan),
      'more in a frame header': jpegOf(
        tables,
        segment(0xc0, Buffer.concat([sof(0xc0, 16, 8).subarray(4), Buffer.from(SECRET)])),
        scan
      ),
      'more in a scan header': jpegOf(
        tables,
        sof(0xc0, 16, 8),
        segment(0xda, Buffer.concat([sos.subarray(4), Buffer.from(SECRET)]))
      ),
      'more in a quantization table': jpegWith(jpeg, [segment(0xdb, Buffer.alloc(66))]),
      'more in a Huffman table': jpegWith(jpeg, [
        segment(0xc4, Buffer.concat([Buffer.alloc(17), Buffer.from(SECRET)]))
      ]),
      'more in a restart interval': jpegWith(jpeg, [segment(0xdd, SECRET)])
    },
    gif: {
      'another version': Buffer.concat([Buffer.from('GIF88a'), gif.subarray(6)]),
      'no image': gifOf(Buffer.from(';')),
      'no image, no trailer': gifOf(gifComment(SECRET)),
      'an unknown block': gifOf(gifImage(6, 4, 0, 0, 'x'), Buffer.from('x')),
      'an image without its terminator': gifOf(gifImage(6, 4, 0, 0, 'x').subarray(0, -1)),
      'a second image cut short': gifOf(gifImage(6, 4, 0, 0, 'x'), gifImage(6, 4, 0, 0, 'x').subarray(0, 8)),
      'a comment cut short': gifOf(gifImage(6, 4, 0, 0, 'x'), gifComment(SECRET).subarray(0, 9)),
      'a control block of another length': gifOf(
        Buffer.concat([Buffer.from([0x21, 0xf9]), subBlocks(SECRET)]),
        gifImage(6, 4, 0, 0, 'x')
      ),
      'a control block cut short': gifOf(gifImage(6, 4, 0, 0, 'x'), gifControl.subarray(0, 5))
    },
    webp: {
      'no RIFF': Buffer.concat([Buffer.from('RIFX'), webp(lossy).subarray(4)]),
      'no WEBP': riffChunk('RIFF', Buffer.concat([Buffer.from('WAVE'), lossy])),
      'longer than the file': longer,
      'a chunk longer than its file': Buffer.concat([webp(lying), Buffer.alloc(20)]),
      'a frame longer than its chunk': webp(vp8x(2, 6, 4), anmf(6, 4, lying)),
      'no picture': webp(vp8x(HAS_EXIF, 6, 4), riffChunk('EXIF', exif(6))),
      'something before the picture': webp(riffChunk('XMP ', XMP), lossy),
      'two pictures': webp(lossy, lossy),
      'an extended header of 11 bytes': webp(riffChunk('VP8X', Buffer.alloc(11)), lossy),
      'an extended header too late': webp(lossy, vp8x(HAS_EXIF, 6, 4)),
      'a second extended header': webp(vp8x(HAS_EXIF, 6, 4), vp8x(HAS_EXIF, 6, 4), lossy),
      'a lossy picture without its start code': webp(riffChunk('VP8 ', Buffer.alloc(20))),
      'a lossy picture that needs another': webp(Buffer.from(lossy.map((byte, i) => i === 8 ? byte | 1 : byte))),
      'a lossless picture without its signature': webp(riffChunk('VP8L', Buffer.alloc(20))),
      'a picture of 4 bytes': webp(riffChunk('VP8L', '\x2f\0\0\0')),
      'an empty frame': webp(vp8x(2, 6, 4), riffChunk('ANMF', 'x')),
      'more in an animation header': webp(vp8x(2, 6, 4), riffChunk('ANIM', SECRET), anmf(6, 4, lossy))
    }
  }
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
