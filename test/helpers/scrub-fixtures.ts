/** Pictures with data beside their pixels, and their way through a scrubber. */
import type { Sharp } from 'sharp'
import { createScrubber } from '../../services/pictures/scrub/index.js'
import {
  EOI,
  exif,
  fctl,
  gifApplication,
  gifComment,
  gifPlainText,
  gifWith,
  gifXmp,
  jpegWith,
  jpegWithRestarts,
  noise,
  pngChunk,
  pngWith,
  riffChunk,
  riffChunks,
  SECRET,
  segment,
  segmentOffset,
  SOI,
  subBlocks,
  TYPES,
  vp8x,
  webp,
  webpWith,
  type Format
} from './picture-bytes.js'

export const HAS_EXIF = 0x08
export const HAS_XMP = 0x04

export interface Fixture { format: Format, name: string, file: Buffer, frames?: number }

/** Scrubs a file that comes in pieces of this size. Throws when it is damaged. */
export function scrub (format: Format, file: Buffer, size: number | (() => number) = file.length): {
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

/** Pictures with a secret in every place beside their pixels. */
export async function fixtures (): Promise<Fixture[]> {
  return [...await pngs(), ...await jpegs(), ...await gifs(), ...await webps()]
}

export const XMP = `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description>${SECRET}</rdf:Description></rdf:RDF></x:xmpmeta>`

const described = (image: Sharp) => image
  .withExif({ IFD0: { Copyright: SECRET }, IFD3: { GPSLatitude: '51/1 30/1 3230/100' } })
  .withXmp(XMP)

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
  const files: Record<string, Buffer> = {
    'as sharp writes it': await described(noise(24, 16).withIccProfile('p3')).jpeg().toBuffer(),
    'every kind of segment, baseline': jpegWith(plain, telling),
    'every kind of segment, progressive': jpegWith(progressive, telling),
    'every kind of segment, restart markers': jpegWith(await jpegWithRestarts(), telling),
    'every kind of segment before the tables, without JFIF': Buffer.concat([SOI, ...telling, bare.subarray(2)]),
    'comments before every scan': withinScans(progressive, segment(0xfe, SECRET)),
    'a thumbnail in JFIF': jpegWith(bare, [jfif(`\x02\x02${SECRET}0`)]),
    'something behind JFIF': jpegWith(bare, [jfif(`\0\0${SECRET}`)]),
    'Adobe and more, in a picture that needs it': longerAdobe(cmyk),
    'fill bytes everywhere': Buffer.concat([
      SOI,
      Buffer.alloc(70_000, 0xff),
      telling[0]!,
      Buffer.from([0xff]),
      bare.subarray(2, -2),
      Buffer.alloc(9, 0xff),
      EOI
    ]),
    'bytes after the end': jpegWith(plain, [], SECRET),
    'another picture after the end': Buffer.concat([plain, jpegWith(plain, telling)]),
    'segments as long as can be': jpegWith(
      plain,
      [
        segment(0xfe, SECRET.repeat(5957)),
        segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), exif(1), Buffer.alloc(65_000, SECRET)]))
      ]
    )
  }
  return Object.entries(files).map(([name, file]) => ({ format: 'jpeg', name, file }))
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
export async function turned (orientation: number): Promise<Fixture[]> {
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
