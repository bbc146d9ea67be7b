/** Pictures of every kind that the service takes, each with the facts to expect. */
import sharp from 'sharp'
import type { PictureFacts } from '../../services/pictures/pictures.js'
import { handGif, type Color, type HandGif } from './gif-codec.js'

export const BLACK: Color = [0, 0, 0]
export const RED: Color = [230, 20, 30]
export const GREEN: Color = [20, 200, 40]
export const BLUE: Color = [20, 40, 230]
export const WHITE: Color = [255, 255, 255]
export const YELLOW: Color = [250, 220, 30]
export const PALETTE = [BLACK, RED, GREEN, BLUE, WHITE, YELLOW]

/** The colour to expect at (x, y) of a frame of the rendition, to within `within` in each channel. */
type Spot = [frame: number, x: number, y: number, color: Color, within?: number]

export interface ExpectedPicture {
  name: string
  bytes: Buffer
  facts: Partial<PictureFacts>
  /** Delays of the rendition, in hundredths of a second. */
  delaysCs: number[]
  netscape?: number
  spots: Spot[]
}

const fill = (count: number, value: number) => Array.from({ length: count }, () => value)

/** A raw picture; `color` gives each pixel. */
export function rawPicture (
  width: number,
  height: number,
  frames: number,
  color: (x: number, y: number, frame: number) => number[],
  channels: 3 | 4 = 3
) {
  const data = Buffer.alloc(width * height * frames * channels)
  for (let i = 0, at = 0; i < width * height * frames; i++, at += channels) {
    const values = color(i % width, Math.floor(i / width) % height, Math.floor(i / width / height))
    for (let k = 0; k < channels; k++) data[at + k] = values[k]!
  }
  return sharp(data, { raw: { width, height: height * frames, channels, pageHeight: height }, limitInputPixels: false })
}

const rgb = (width: number, height: number, color: (x: number, y: number) => number[]) => rawPicture(
  width,
  height,
  1,
  color
)

/** Red and green above, blue and white below. */
const quarters = (width: number, height: number) => (x: number, y: number) => y * 2 < height
  ? (x * 2 < width ? RED : GREEN)
  : (x * 2 < width ? BLUE : WHITE)
const QUARTERS: Spot[] = [[0, 10, 10, RED, 12], [0, 54, 10, GREEN, 12], [0, 10, 54, BLUE, 12], [0, 54, 54, WHITE, 12]]

const square = (more: Partial<HandGif> & Pick<HandGif, 'frames'>) => handGif({
  width: 32,
  height: 32,
  palette: PALETTE,
  ...more
})
const flat = (index: number) => () => index
/** 16×16 at (8, 8) of 32×32: (16, 16) to (47, 47) in a rendition. */
const patch = (index: number) => ({ left: 8, top: 8, width: 16, height: 16, index: flat(index) })

async function gifs (): Promise<ExpectedPicture[]> {
  const still = square({ frames: [{ index: (x, y) => x < 16 ? 1 : y < 16 ? 2 : 3, delayCs: 50 }] })
  const three = [{ index: flat(1) }, { index: flat(2) }, { index: flat(3) }]
  const threeSpots: Spot[] = [[0, 0, 0, RED], [1, 63, 63, GREEN], [2, 31, 31, BLUE]]
  return [
    {
      name: 'one frame',
      bytes: still,
      facts: { width: 32, height: 32, frames: 1, duration_ms: 0, dominant_color: '#e6141e' },
      delaysCs: [0],
      spots: [[0, 31, 0, RED], [0, 32, 0, GREEN], [0, 32, 63, BLUE]]
    },
    {
      name: 'transparency, background restored',
      bytes: square({
        netscape: 0,
        frames: [
          { index: (x, y) => (x + y) % 2, transparent: 0, disposal: 2 },
          { ...patch(3), disposal: 2, transparent: 0 },
          { ...patch(2), left: 0, top: 0, transparent: 0 }
        ]
      }),
      facts: { frames: 3, duration_ms: 300 },
      delaysCs: fill(3, 10),
      netscape: 0,
      spots: [
        [0, 0, 0, BLACK],
        [0, 2, 0, RED],
        [1, 0, 0, BLACK],
        [1, 2, 0, BLACK],
        [1, 20, 20, BLUE],
        [2, 40, 40, BLACK],
        [2, 31, 31, GREEN]
      ]
    },
    {
      name: 'frames that stay',
      bytes: square({
        netscape: 0,
        frames: [
          { index: flat(1), disposal: 1 },
          { ...patch(2), disposal: 1 },
          { ...patch(3), left: 0, top: 0, disposal: 0 }
        ]
      }),
      facts: { frames: 3 },
      delaysCs: fill(3, 10),
      netscape: 0,
      spots: [
        [0, 20, 20, RED],
        [1, 0, 0, RED],
        [1, 16, 16, GREEN],
        [1, 47, 47, GREEN],
        [1, 48, 48, RED],
        [2, 31, 31, BLUE],
        [2, 40, 40, GREEN],
        [2, 60, 60, RED]
      ]
    },
    {
      name: 'frames that are taken back',
      bytes: square({
        netscape: 0,
        frames: [
          { index: flat(1), disposal: 1 },
          { ...patch(2), disposal: 3 },
          { ...patch(3), left: 0, top: 0, disposal: 1 }
        ]
      }),
      facts: { frames: 3 },
      delaysCs: fill(3, 10),
      netscape: 0,
      spots: [[1, 20, 20, GREEN], [2, 40, 40, RED], [2, 20, 20, BLUE]]
    },
    {
      name: '500 frames',
      bytes: square({
        netscape: 0,
        frames: Array.from({ length: 500 }, (_, k) => ({ index: (x: number) => x === k % 32 ? 4 : 3, delayCs: 3 }))
      }),
      facts: { frames: 500, duration_ms: 15_000 },
      delaysCs: fill(500, 3),
      netscape: 0,
      spots: [[0, 0, 0, WHITE], [33, 2, 5, WHITE], [33, 4, 5, BLUE], [499, 38, 60, WHITE]]
    },
    {
      name: 'two colours',
      bytes: handGif({
        width: 64,
        height: 64,
        palette: [BLACK, WHITE],
        netscape: 0,
        frames: [{ index: (x, y) => (x >> 3) + (y >> 3) & 1 }, { index: (x, y) => (x >> 3) + (y >> 3) + 1 & 1 }]
      }),
      facts: { frames: 2 },
      delaysCs: [10, 10],
      netscape: 0,
      spots: [[0, 0, 0, BLACK], [0, 8, 7, WHITE], [1, 7, 7, WHITE], [1, 8, 7, BLACK]]
    },
    {
      name: '2000×2000',
      bytes: await rawPicture(2000, 2000, 3, (x, y, k) => Math.hypot(x - 500 - 400 * k, y - 1000) < 300 ? YELLOW : BLUE)
        .gif({ effort: 1, delay: [40, 50, 60], keepDuplicateFrames: true })
        .toBuffer(),
      facts: { width: 2000, height: 2000, frames: 3, duration_ms: 150, dominant_color: '#1428e7' },
      delaysCs: [4, 5, 6],
      netscape: 0,
      spots: [[0, 16, 32, YELLOW, 3], [0, 60, 60, BLUE, 3], [1, 28, 32, YELLOW, 3], [2, 41, 32, YELLOW, 3]]
    },
    {
      name: 'no trailer',
      bytes: square({ netscape: 0, frames: three, trailer: false }),
      facts: { frames: 3 },
      delaysCs: fill(3, 10),
      netscape: 0,
      spots: threeSpots
    },
    {
      name: 'zeros after its end',
      bytes: Buffer.concat([square({ netscape: 0, frames: three }), Buffer.alloc(5000)]),
      facts: { frames: 3 },
      delaysCs: fill(3, 10),
      netscape: 0,
      spots: threeSpots
    },
    {
      name: 'zeros in place of the trailer',
      bytes: Buffer.concat([square({ netscape: 0, frames: three, trailer: false }), Buffer.alloc(5)]),
      facts: { frames: 3 },
      delaysCs: fill(3, 10),
      netscape: 0,
      spots: threeSpots
    },
    {
      name: '33×7',
      bytes: handGif({ width: 33, height: 7, palette: PALETTE, netscape: 0, frames: three }),
      facts: { width: 33, height: 7 },
      delaysCs: fill(3, 10),
      netscape: 0,
      spots: [[0, 0, 24, BLACK], [0, 0, 25, RED], [1, 63, 38, GREEN], [1, 63, 39, BLACK], [2, 5, 63, BLACK]]
    },
    {
      name: '1×1',
      bytes: handGif({ width: 1, height: 1, palette: PALETTE, netscape: 0, frames: three }),
      facts: { width: 1, height: 1, dominant_color: '#e6141e' },
      delaysCs: fill(3, 10),
      netscape: 0,
      spots: threeSpots
    },
    {
      name: 'zero delays',
      bytes: square({ netscape: 0, frames: three.map((frame, i) => ({ ...frame, delayCs: [0, 7, 0][i]! })) }),
      facts: { duration_ms: 270 },
      delaysCs: [10, 7, 10],
      netscape: 0,
      spots: threeSpots
    },
    ...[[640, 480], [3000, 2000]].map(([width = 0, height = 0]): ExpectedPicture => ({
      name: `frames smaller than a screen of ${width}×${height}`,
      bytes: handGif({
        width,
        height,
        palette: PALETTE,
        netscape: 0,
        frames: [
          { left: 100, top: 100, width: 100, height: 50, index: flat(1), disposal: 1 },
          { left: width - 200, top: height - 300, width: 200, height: 300, index: flat(2) }
        ]
      }),
      facts: { width, height, frames: 2, duration_ms: 200, dominant_color: '#000000' },
      delaysCs: [10, 10],
      netscape: 0,
      spots: width === 640
        ? [
            [0, 2, 20, BLACK],
            [0, 14, 20, RED, 3],
            [0, 60, 50, BLACK],
            [1, 14, 20, RED, 3],
            [1, 60, 50, GREEN, 3],
            [1, 40, 50, BLACK],
            [1, 60, 57, BLACK]
          ]
        : [[0, 60, 50, BLACK], [1, 62, 50, GREEN, 3], [1, 62, 45, BLACK, 3], [1, 57, 50, BLACK, 3]]
    })),
    {
      name: 'equal frames',
      bytes: square({ netscape: 0, frames: [{ index: flat(1) }, { index: flat(1) }, { index: flat(1), delayCs: 30 }] }),
      facts: { frames: 3, duration_ms: 500 },
      delaysCs: [10, 10, 30],
      netscape: 0,
      spots: [[0, 0, 0, RED], [2, 63, 63, RED]]
    },
    {
      name: 'shown once',
      bytes: square({ frames: three }),
      facts: { frames: 3 },
      delaysCs: fill(3, 10),
      netscape: 0,
      spots: threeSpots
    },
    {
      name: 'shown again once',
      bytes: square({ netscape: 1, frames: three }),
      facts: {},
      delaysCs: fill(3, 10),
      netscape: 0,
      spots: threeSpots
    },
    {
      name: 'shown again 4 times',
      bytes: square({ netscape: 4, frames: three }),
      facts: {},
      delaysCs: fill(3, 10),
      netscape: 0,
      spots: threeSpots
    },
    {
      name: 'flat frames that must not mix',
      bytes: handGif({ width: 300, height: 300, palette: PALETTE, netscape: 0, frames: three }),
      facts: {},
      delaysCs: fill(3, 10),
      netscape: 0,
      spots: [0, 1, 2].flatMap(k => [0, 1, 31, 62, 63].map((y): Spot => [k, 32, y, [RED, GREEN, BLUE][k]!, 3]))
    },
    {
      name: 'interlaced',
      bytes: await rawPicture(64, 64, 2, (_, y, k) => (y >> 4) + k & 1 ? RED : WHITE)
        .gif({ progressive: true, delay: [70, 30] })
        .toBuffer(),
      facts: { frames: 2 },
      delaysCs: [7, 3],
      netscape: 0,
      spots: [[0, 0, 15, WHITE], [0, 0, 16, RED], [1, 0, 15, RED], [1, 0, 16, WHITE]]
    },
    {
      name: 'pixel art of 16×16',
      bytes: handGif({
        width: 16,
        height: 16,
        palette: PALETTE,
        netscape: 0,
        frames: [{ index: (x, y) => (x * 7 + y * 3) % 6 }, { index: (x, y) => (x * 5 + y) % 6 }]
      }),
      facts: { width: 16, height: 16 },
      delaysCs: [10, 10],
      netscape: 0,
      spots: [[0, 3, 3, BLACK], [0, 4, 3, RED], [0, 7, 0, RED], [0, 8, 0, GREEN], [1, 4, 4, BLACK], [1, 0, 4, RED]]
    }
  ]
}

async function stills (): Promise<ExpectedPicture[]> {
  const oriented = await Promise.all(Array.from({ length: 8 }, async (_, i): Promise<ExpectedPicture> => {
    const turned = i >= 4
    const [w, h] = [120, 80]
    // As displayed, the upper left corner is red and the upper right one green.
    const { red, green } = [
      { red: [0, 0], green: [1, 0] },
      { red: [1, 0], green: [0, 0] },
      { red: [1, 1], green: [0, 1] },
      { red: [0, 1], green: [1, 1] },
      { red: [0, 0], green: [0, 1] },
      { red: [0, 1], green: [0, 0] },
      { red: [1, 1], green: [1, 0] },
      { red: [1, 0], green: [1, 1] }
    ][i]!
    const isIn = ([right, bottom]: number[], x: number, y: number) =>
      Number(x * 2 >= w) === right && Number(y * 2 >= h) === bottom
    const bytes = await rgb(w, h, (x, y) => isIn(red, x, y) ? RED : isIn(green, x, y) ? GREEN : BLUE)
      .withMetadata({ orientation: i + 1 })
      .jpeg({ quality: 95, chromaSubsampling: '4:4:4' })
      .toBuffer()
    return {
      name: `JPEG of orientation ${i + 1}`,
      bytes,
      facts: { width: turned ? h : w, height: turned ? w : h, frames: 1, duration_ms: 0 },
      delaysCs: [0],
      spots: turned
        ? [[0, 14, 8, RED, 25], [0, 48, 8, GREEN, 25], [0, 14, 56, BLUE, 25], [0, 2, 32, BLACK], [0, 61, 32, BLACK]]
        : [[0, 8, 16, RED, 25], [0, 56, 16, GREEN, 25], [0, 8, 46, BLUE, 25], [0, 32, 2, BLACK], [0, 32, 61, BLACK]]
    }
  }))
  const inks: Color[] = [[190, 60, 60], [100, 150, 80], [60, 80, 140], WHITE]
  const cmyk = await rgb(64, 64, (x, y) => inks[(y >> 5) * 2 + (x >> 5)]!)
    .toColourspace('cmyk')
    .jpeg({ quality: 95 })
    .toBuffer()
  const orange = { create: { width: 32, height: 32, channels: 3 as const, background: '#ff8000' } }
  return [
    ...oriented,
    {
      name: 'CMYK JPEG',
      bytes: cmyk,
      facts: { width: 64, height: 64, frames: 1 },
      delaysCs: [0],
      spots: QUARTERS.map(([k, x, y], i): Spot => [k, x, y, inks[i]!, 30])
    },
    {
      name: 'grey JPEG',
      bytes: await rgb(90, 90, x => fill(3, x < 45 ? 40 : 200)).greyscale().jpeg().toBuffer(),
      facts: {},
      delaysCs: [0],
      spots: [[0, 10, 30, [40, 40, 40], 4], [0, 50, 30, [200, 200, 200], 4]]
    },
    {
      name: '16-bit PNG',
      bytes: await rgb(64, 64, quarters(64, 64)).toColourspace('rgb16').png().toBuffer(),
      facts: { width: 64, height: 64 },
      delaysCs: [0],
      spots: QUARTERS
    },
    {
      name: '16-bit PNG in Display P3',
      bytes: await sharp(orange).toColourspace('rgb16').withIccProfile('p3').png().toBuffer(),
      facts: { dominant_color: '#ff7f00' },
      delaysCs: [0],
      spots: [[0, 32, 32, [255, 128, 0], 2]]
    },
    {
      name: '8-bit PNG in Display P3',
      bytes: await sharp(orange).withIccProfile('p3').png().toBuffer(),
      facts: {},
      delaysCs: [0],
      spots: [[0, 32, 32, [255, 128, 0], 3]]
    },
    {
      name: 'PNG with a palette',
      bytes: await rgb(64, 64, quarters(64, 64)).png({ palette: true }).toBuffer(),
      facts: {},
      delaysCs: [0],
      spots: QUARTERS
    },
    {
      name: 'grey PNG with alpha',
      bytes: await rawPicture(64, 64, 1, x => [200, 200, 200, x < 32 ? 0 : 255], 4)
        .toColourspace('b-w')
        .png()
        .toBuffer(),
      facts: {},
      delaysCs: [0],
      spots: [[0, 10, 10, BLACK], [0, 50, 10, [200, 200, 200], 1]]
    },
    {
      name: 'transparent PNG',
      bytes: await rawPicture(64, 32, 1, x => [230, 20, 30, x < 16 ? 0 : x < 32 ? 128 : 255], 4).png().toBuffer(),
      facts: { width: 64, height: 32, dominant_color: '#e6141e' },
      delaysCs: [0],
      spots: [
        [0, 8, 32, BLACK],
        [0, 24, 32, [116, 10, 15], 2],
        [0, 50, 32, RED],
        [0, 50, 15, BLACK],
        [0, 50, 16, RED],
        [0, 50, 48, BLACK]
      ]
    },
    {
      name: 'WebP',
      bytes: await rgb(100, 100, quarters(100, 100)).webp({ lossless: true }).toBuffer(),
      facts: { frames: 1, duration_ms: 0 },
      delaysCs: [0],
      spots: QUARTERS
    },
    {
      name: 'animated WebP',
      bytes: await rawPicture(100, 50, 3, (_x, _y, k) => [RED, GREEN, BLUE][k]!)
        .webp({ lossless: true, delay: [44, 44, 52], loop: 3 })
        .toBuffer(),
      facts: { width: 100, height: 50, frames: 3, duration_ms: 140 },
      delaysCs: [4, 5, 5],
      netscape: 0,
      spots: [[0, 30, 30, RED, 3], [1, 30, 16, GREEN, 3], [2, 30, 47, BLUE, 3], [2, 30, 15, BLACK], [1, 30, 48, BLACK]]
    }
  ]
}

export const expectedPictures = async (): Promise<ExpectedPicture[]> => [...await gifs(), ...await stills()]
