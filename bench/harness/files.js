import { createCipheriv, createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import sharp from 'sharp'

const MIB = 1024 * 1024

/**
 * Pictures of some 20 MB that nothing can compress. Each is whole, decodable and always the same: `{ name, type, size,
 * sha256, pieces }`.
 */
export async function largePictures () {
  return [
    { name: 'PNG', type: 'image/png', pieces: await noisePng(2580) },
    { name: 'JPEG', type: 'image/jpeg', pieces: await noiseJpeg(2590) },
    { name: 'GIF', type: 'image/gif', pieces: noiseGif(79) }
  ].map(described)
}

export const pngOf6Megabytes = async () => described({ name: 'PNG', type: 'image/png', pieces: await noisePng(1410) })

/** A PNG of 1 GB with a valid structure and invalid image data. It is in memory once, however often it is sent. */
export function hugePng () {
  const header = pngChunk('IHDR', Buffer.from([0, 0, 0x13, 0x88, 0, 0, 0x13, 0x88, 8, 2, 0, 0, 0]))
  const data = pngChunk('IDAT', noise(MIB, 4))
  const pieces = [
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    header,
    ...new Array(953).fill(data),
    pngChunk('IEND', Buffer.alloc(0))
  ]
  return described({ name: 'PNG', type: 'image/png', pieces })
}

/** A typical GIF of 500×500 and 60 frames, dithered: something moves before a background that does not. */
export async function playfulGif () {
  const [width, height, frames] = [500, 500, 60]
  const pixels = Buffer.alloc(width * height * frames * 3)
  for (let frame = 0, at = 0; frame < frames; frame++) {
    const [x0, y0] = [
      250 + 150 * Math.cos(frame / frames * 2 * Math.PI),
      250 + 150 * Math.sin(frame / frames * 2 * Math.PI)
    ]
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at += 3) {
        const inside = (x - x0) ** 2 + (y - y0) ** 2 < 90 ** 2
        pixels[at] = inside ? 255 - (x + y + frame * 4) % 128 : x >> 1
        pixels[at + 1] = inside ? 120 + (x ^ y) % 64 : y >> 1
        pixels[at + 2] = inside ? 40 : (x * y >> 8) % 256
      }
    }
  }
  return sharp(pixels, { raw: { width, height: height * frames, channels: 3, pageHeight: height } })
    .gif({ delay: new Array(frames).fill(50), effort: 3 })
    .toBuffer()
}

/** A JPEG of 1600×1200 with flat, smooth and noisy areas. */
export async function photo () {
  const [width, height] = [1600, 1200]
  const grain = noise(width * height, 5)
  const pixels = Buffer.alloc(width * height * 3)
  for (let i = 0, at = 0; i < width * height; i++, at += 3) {
    const [x, y] = [i % width, Math.floor(i / width)]
    pixels[at] = (x >> 3) + grain[i] % 32
    pixels[at + 1] = (y >> 3) + (y > 600 ? grain[i] % 48 : 0)
    pixels[at + 2] = 128 + Math.round(64 * Math.sin(x / 40) * Math.cos(y / 60))
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } }).jpeg({ quality: 88 }).toBuffer()
}

function described ({ name, type, pieces }) {
  const hash = createHash('sha256')
  for (const piece of pieces) hash.update(piece)
  return { name, type, size: pieces.reduce((sum, piece) => sum + piece.length, 0), sha256: hash.digest('hex'), pieces }
}

const noisePng = async side => cut(await noisePicture(side, 1).png({ compressionLevel: 0 }).toBuffer())
const noiseJpeg = async side =>
  cut(await noisePicture(side, 2).jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).toBuffer())
const noisePicture = (side, seed) => sharp(noise(side * side * 3, seed), {
  raw: { width: side, height: side, channels: 3 }
})

/**
 * Frames of 500×500 in 128 colours, a quarter of a megabyte each. With 128 colours an LZW code is a byte wide. It stays
 * so when the table is cleared before it has doubled (GIF89a, appendix F). Then a pixel is a byte.
 */
function noiseGif (frames) {
  const screen = [0xf4, 1, 0xf4, 1, 0xe6, 0, 0]
  const colours = Array.from({ length: 128 * 3 }, (_, i) => i * 37 % 256)
  const loop = Buffer.from('\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0', 'latin1')
  const frameHead = Buffer.from([0x21, 0xf9, 4, 4, 10, 0, 0, 0, 0x2c, 0, 0, 0, 0, 0xf4, 1, 0xf4, 1, 0, 7])
  const frame = seed => [frameHead, ...subBlocks(literalCodes(noise(500 * 500, seed)))]
  const all = Array.from({ length: frames }, (_, i) => frame(100 + i)).flat()
  return cut(Buffer.concat([
    Buffer.from('GIF89a'),
    Buffer.from(screen),
    Buffer.from(colours),
    loop,
    ...all,
    Buffer.from(';')
  ]))
}

function literalCodes (pixels) {
  const [CLEAR, END, RUN] = [0x80, 0x81, 120]
  const runs = Array.from({ length: Math.ceil(pixels.length / RUN) }, (_, i) =>
    pixels.subarray(i * RUN, (i + 1) * RUN).map(pixel => pixel & 0x7f))
  return Buffer.concat([...runs.flatMap(run => [Buffer.from([CLEAR]), run]), Buffer.from([END])])
}

const subBlocks = bytes => [...cut(bytes, 255).flatMap(block => [Buffer.from([block.length]), block]), Buffer.alloc(1)]

function pngChunk (type, data) {
  const chunk = Buffer.alloc(data.length + 12)
  chunk.writeUInt32BE(data.length, 0)
  chunk.write(type, 4, 'latin1')
  data.copy(chunk, 8)
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), data.length + 8)
  return chunk
}

const cut = (bytes, size = MIB) => Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
  bytes.subarray(i * size, (i + 1) * size))

/** Bytes that look random and are the same each time. */
const noise = (size, seed) => createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(
  Buffer.alloc(size)
)
