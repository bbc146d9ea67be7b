/** Small pictures with every kind of block that the service blanks, in every place and of many sizes. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createScrubber } from '../../services/pictures/scrub/index.js'
import { handGif, type Color } from '../helpers/gif-codec.js'
import { root } from '../helpers/paths.js'
import {
  exif, gifApplication, gifComment, gifControl, gifHeaderBytes, gifPlainText, gifXmp, noise, pngChunk,
  riffChunk, riffChunks, SECRET, segment, TYPES, vp8x, webp, type Format
} from '../helpers/picture-bytes.js'

/** A picture as it was sent, and as it is served. */
export interface Pair { name: string, format: Format, sent: Buffer, served: Buffer }

type Sent = Omit<Pair, 'served'>

export async function corpus (): Promise<Pair[]> {
  const all = [...await cases(), ...gifs(), ...await jpegs(), ...await pngs(), ...await webps()]
  return [...all, ...withMoreAfterTheEnd(all)].map(sent => ({ ...sent, served: servedAs(sent) }))
}

function servedAs ({ format, sent }: Sent): Buffer {
  const scrubber = createScrubber(TYPES[format])
  return Buffer.concat([...scrubber.push(Buffer.from(sent)), ...scrubber.end()])
}

/** One of each kind of picture, with something behind it. */
function withMoreAfterTheEnd (all: Sent[]): Sent[] {
  const firsts = new Map(all.map(sent => [`${sent.format}, ${sent.name.split(',')[0]}`, sent]))
  const more = Buffer.from(SECRET.repeat(30))
  return [...firsts].map(([name, { format, sent }]) => (
    { name: `${name}, more after the end`, format, sent: Buffer.concat([sent, more]) }
  ))
}

async function cases (): Promise<Sent[]> {
  const folder = join(root, 'test/cases')
  const names = (await readdir(folder)).filter(name => name.endsWith('omment.gif') || name === 'app-extension.gif')
  return Promise.all(names.map(async name => (
    { name, format: 'gif' as const, sent: await readFile(join(folder, name)) }
  )))
}

/** What is secrets, in pieces of these sizes. */
const secrets = (...sizes: number[]) => sizes.map(size => SECRET.repeat(Math.ceil(size / SECRET.length)).slice(0, size))
const SIZES: Record<string, number[]> = {
  'no sub-block': [],
  '1 byte': [1],
  '255 bytes': [255],
  'three sub-blocks': [1, 255, 7],
  '40 sub-blocks': Array(40).fill(255)
}

/** The file with a block before one of its bytes. */
function withBlock (file: Buffer, block: Buffer, at: number): Buffer {
  return Buffer.concat([file.subarray(0, at), block, file.subarray(at)])
}

function gifs (): Sent[] {
  return gifBases().flatMap(([base, gif]) => gifBlocks().flatMap(([kind, block]) => {
    const places = placesIn(gif)
    const all = Buffer.concat(places.flatMap(({ before }, i) => i === 0 ? [before] : [block, before]))
    return [
      ...places.slice(1).map(({ name, at }) => (
        { name: `${base}, ${kind}, ${name}`, format: 'gif' as const, sent: withBlock(gif, block, at) }
      )),
      { name: `${base}, ${kind}, everywhere`, format: 'gif' as const, sent: all }
    ]
  }))
}

function gifBases (): Array<[string, Buffer]> {
  const palette: Color[] = [[0, 0, 0], [230, 20, 30], [20, 200, 40], [20, 40, 230]]
  const striped = (k: number) => (x: number, y: number) => (x + y * k) % 4
  const frame = (k: number, more = {}) => ({ delayCs: 7 + k, index: striped(k), ...more })
  const patch = { left: 3, top: 2, width: 5, height: 4 }
  const frames = [
    frame(0, { disposal: 1 }), frame(1, { ...patch, transparent: 2, disposal: 2 }),
    frame(2, { ...patch, left: 0, transparent: 1, disposal: 3 })
  ]
  const moving = handGif({ width: 12, height: 9, palette, netscape: 0, frames })
  const still = handGif({ width: 12, height: 9, palette, frames: [frame(1)] })
  const control = gifHeaderBytes(still)
  const bare = Buffer.concat([still.subarray(0, control), still.subarray(control + gifControl.length)])
  return [['moving', moving], ['still', still], ['without a control block', bare]]
}

function gifBlocks (): Array<[string, Buffer]> {
  const sized = Object.entries(SIZES).flatMap(([name, sizes]): Array<[string, Buffer]> => [
    [`a comment of ${name}`, gifComment(...secrets(...sizes))],
    [`an application block of ${name}`, gifApplication('MGKID3.0   ', ...secrets(...sizes))]
  ])
  return [
    ...sized,
    ['XMP', gifXmp(`<x:xmpmeta>${SECRET}</x:xmpmeta>`)],
    ['long XMP', gifXmp(`<x:xmpmeta>${SECRET.repeat(900)}</x:xmpmeta>`)],
    ['IPTC', gifApplication('MGK8BIM0000', ...secrets(90))],
    ['a loop', gifApplication('NETSCAPE2.0', '\x01\0\0')],
    ['another loop', gifApplication('ANIMEXTS1.0', '\x01\0\0')],
    ['a loop with more', gifApplication('NETSCAPE2.0', '\x01\x02\0', '\x02\x09\0\0\0', ...secrets(3, 5, 200))],
    ['an ICC profile', gifApplication('ICCRGBG1012', '\0\0\x01\x02', '\x07'.repeat(200))],
    // A text has a control block of its own, or takes the one of the image after it.
    ['a text', Buffer.concat([gifPlainText(SECRET), gifControl])],
    ['a text with a control block', Buffer.concat([gifControl, gifPlainText(SECRET), gifControl])]
  ]
}

/** Where a block may stand: before each block of the GIF, and before its trailer. */
function placesIn (gif: Buffer): Array<{ name: string, at: number, before: Buffer }> {
  const ends = [0]
  let at = gifHeaderBytes(gif)
  for (let introducer = gif[at]; introducer !== 0x3b; introducer = gif[at]) {
    ends.push(at)
    at += introducer === 0x2c ? 11 : 2
    while (gif[at] !== 0) at += 1 + gif[at]!
    at++
  }
  ends.push(at)
  const names: Record<number, string> = { 0x21: 'an extension', 0x2c: 'an image', 0x3b: 'the trailer' }
  return ends.map((at, i) => (
    { name: `before ${names[gif[at]!]} at ${at}`, at, before: gif.subarray(at, ends[i + 1] ?? gif.length) }
  ))
}

async function jpegs (): Promise<Sent[]> {
  const noisy = noise(40, 24)
  const bases = {
    baseline: await noisy.clone().jpeg().toBuffer(),
    progressive: await noisy.clone().jpeg({ progressive: true }).toBuffer(),
    grey: await noise(40, 24, { channels: 1 }).jpeg().toBuffer(),
    CMYK: await noisy.clone().toColourspace('cmyk').jpeg().toBuffer(),
    'with a profile': await noisy.clone().withIccProfile('p3').jpeg().toBuffer()
  }
  const app1 = (orientation: number) => segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), exif(orientation)]))
  const blocks = [
    ...[0, 1, 2, 3, 4, 255, 65_533].flatMap(size => [
      { kind: `a comment of ${size} bytes`, block: segment(0xfe, secrets(size)[0]!) },
      { kind: `an APP13 of ${size} bytes`, block: segment(0xed, secrets(size)[0]!) }
    ]),
    { kind: 'five of the longest', block: Buffer.concat(Array(5).fill(segment(0xe1, secrets(65_533)[0]!))) },
    { kind: 'upright Exif', block: app1(1) },
    { kind: 'turned Exif', block: app1(6) },
    { kind: 'XMP', block: segment(0xe1, `http://ns.adobe.com/xap/1.0/\0${SECRET}`) },
    {
      kind: 'JFIF with a thumbnail',
      block: segment(0xe0, `JFIF\0\x01\x02\0\0\x01\0\x01\x02\x01${secrets(6)[0]!}`)
    },
    { kind: 'MPF', block: segment(0xe2, `MPF\0MM\0*${SECRET}`) }
  ]
  return Object.entries(bases).flatMap(([base, jpeg]) => blocks.flatMap(({ kind, block }) =>
    segmentsIn(jpeg).map(({ name, at }) => (
      { name: `${base}, ${kind}, ${name}`, format: 'jpeg' as const, sent: withBlock(jpeg, block, at) }
    ))))
}

/** The start of every second segment up to the first scan, that of the second scan, and the end. */
function segmentsIn (jpeg: Buffer): Array<{ name: string, at: number }> {
  const places: Array<{ name: string, at: number }> = []
  for (let at = 2; ; at += 2 + jpeg.readUInt16BE(at + 2)) {
    const code = jpeg[at + 1]!
    const name = `before ${code.toString(16)} at ${at}`
    if (at === 2 || places.length % 2 === 0 || code === 0xda) places.push({ name, at })
    if (code !== 0xda) continue
    const second = jpeg.indexOf(Buffer.of(0xff, 0xda), at + 2)
    if (second > 0) places.push({ name: 'between scans', at: second })
    return [...places, { name: 'before the end', at: jpeg.length - 2 }]
  }
}

async function pngs (): Promise<Sent[]> {
  const bases = {
    colour: await noise(16, 12).png().toBuffer(),
    'with alpha': await noise(16, 12, { channels: 4 }).png().toBuffer(),
    palette: await noise(16, 12, { channels: 4 }).png({ palette: true, colours: 16 }).toBuffer(),
    interlaced: await noise(16, 12).png({ progressive: true }).toBuffer(),
    '16 bits': await noise(16, 12).toColourspace('rgb16').png().toBuffer(),
    'with a profile': await noise(16, 12).withIccProfile('p3').png().toBuffer()
  }
  const chunks = [
    ...[0, 1, 255, 70_000].flatMap(size => [
      { kind: `a text of ${size} bytes`, chunk: pngChunk('tEXt', `Comment\0${secrets(size)[0]!}`) },
      { kind: `a private chunk of ${size} bytes`, chunk: pngChunk('prVt', secrets(size)[0]!) }
    ]),
    { kind: 'an international text', chunk: pngChunk('iTXt', `XML:com.adobe.xmp\0\0\0\0\0${SECRET}`) },
    { kind: 'upright Exif', chunk: pngChunk('eXIf', exif(1)) },
    { kind: 'turned Exif', chunk: pngChunk('eXIf', exif(6)) },
    { kind: 'a time', chunk: pngChunk('tIME', Buffer.of(0x07, 0xea, 5, 4, 10, 0, 0)) },
    { kind: 'a chunk that must not be copied', chunk: pngChunk('prVT', SECRET) }
  ]
  const places = (png: Buffer) => [33, png.indexOf('IDAT') - 4, png.length - 12]
  return Object.entries(bases).flatMap(([base, png]) => chunks.flatMap(({ kind, chunk }) => places(png).map(at => (
    { name: `${base}, ${kind}, at ${at}`, format: 'png' as const, sent: withBlock(png, chunk, at) }
  ))))
}

async function webps (): Promise<Sent[]> {
  const [lossy, lossless, alpha, moving] = await Promise.all([
    noise(16, 12).webp().toBuffer(), noise(16, 12).webp({ lossless: true }).toBuffer(),
    noise(16, 12, { channels: 4 }).webp().toBuffer(),
    noise(16, 12, { frames: 3 }).webp({ delay: [50, 60, 70], loop: 0, lossless: true }).toBuffer()
  ])
  const [EXIF, XMP, ALPHA, MOVES] = [0x08, 0x04, 0x10, 0x02]
  const extended = (flags: number, file: Buffer) => {
    const chunks = riffChunks(file).filter(chunk => chunk.toString('latin1', 0, 4) !== 'VP8X')
    return (more: number, last: Buffer[]) => webp(vp8x(flags | more, 16, 12), ...chunks, ...last)
  }
  const bases: Record<string, (more: number, last: Buffer[]) => Buffer> = {
    lossy: extended(0, lossy!),
    lossless: extended(0, lossless!),
    'with alpha': extended(ALPHA!, alpha!),
    moving: extended(MOVES!, moving!),
    'without an extended header': (_, last) => webp(...riffChunks(lossy!), ...last)
  }
  const blocks = [
    { kind: 'upright Exif', flags: EXIF!, last: [riffChunk('EXIF', exif(1))] },
    { kind: 'turned Exif', flags: EXIF!, last: [riffChunk('EXIF', exif(6))] },
    ...[0, 1, 255, 70_000].map(size => (
      { kind: `XMP of ${size} bytes`, flags: XMP!, last: [riffChunk('XMP ', secrets(size)[0]!)] }
    )),
    {
      kind: 'all',
      flags: EXIF! | XMP!,
      last: [riffChunk('EXIF', exif(6)), riffChunk('XMP ', SECRET), riffChunk('MORE', SECRET)]
    },
    { kind: 'an unknown chunk', flags: 0, last: [riffChunk('MORE', SECRET)] },
    { kind: 'Exif announced, but not there', flags: EXIF!, last: [] }
  ]
  return Object.entries(bases).flatMap(([base, make]) => blocks.map(({ kind, flags, last }) => (
    { name: `${base}, ${kind}`, format: 'webp' as const, sent: make(flags, last) }
  )))
}
