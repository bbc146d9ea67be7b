import { readFile } from 'node:fs/promises'
import { deflateSync } from 'node:zlib'
import t, { type Test } from 'tap'
import { createPictures, type Picture } from '../../../services/pictures/pictures.js'
import { caseFile } from '../../helpers/paths.js'
import { seededRandom } from '../../helpers/seeded-random.js'
import { handGif, readGif, type Color, type ReadGif } from '../../helpers/gif-codec.js'
import { readRendition } from '../../helpers/read-rendition.js'
import { scale } from '../../helpers/test-length.js'
import { BLACK, BLUE, expectedPictures, GREEN, PALETTE, rawPicture, RED, WHITE } from '../../helpers/example-pictures.js'

const KIB96 = 98_304
const CUTS = scale({ short: 6, long: 40 })
const CHANGED = scale({ short: 100, long: 800 })
const pictures = createPictures({ sizes: ['64x64'], maxBytes: KIB96 })

/** Asserts that the bytes of a rendition match its facts. */
function checked (t: Test, { facts, renditions }: Picture, maxBytes = KIB96): ReadGif {
  const { size, content_type: type, bytes, frames, duration_ms: duration } = renditions[0]!
  const gif = readRendition(bytes)
  t.strictSame(
    [`${gif.width}x${gif.height}`, gif.screens.length, gif.delaysCs.reduce((a, b) => a + b, 0) * 10],
    [size, frames, duration]
  )
  t.equal(type, facts.frames > 1 ? 'image/gif' : 'image/png')
  t.ok(bytes.length <= maxBytes, `${bytes.length} bytes`)
  return gif
}

const colorAt = ({ width, screens }: ReadGif, frame: number, x: number, y: number) => [
  ...screens[frame]!.subarray((y * width + x) * 3, (y * width + x) * 3 + 3)
]
const colorsOf = (screen: Buffer) => new Set(Array.from({ length: screen.length / 3 }, (_, i) =>
  screen.readUIntBE(i * 3, 3)))
const near = (found: number[], wanted: number[], within: number) => found.every((value, c) =>
  Math.abs(value - wanted[c]!) <= within)
const refused = { statusCode: 400, message: 'Damaged or unreasonable image' }

t.test('a picture is read and rendered as expected', async t => {
  for (const { name, bytes, facts, delaysCs, netscape, spots } of await expectedPictures()) {
    await t.test(name, async t => {
      const picture = await pictures.read(bytes, 'contain')
      t.match(picture.facts, facts)
      const gif = checked(t, picture)
      t.strictSame(gif.delaysCs, delaysCs)
      t.equal(gif.netscape, netscape)
      for (const [frame, x, y, color, within = 0] of spots) {
        const found = colorAt(gif, frame, x, y)
        t.ok(near(found, color, within), `frame ${frame} at ${x}, ${y}: ${found}, wanted ${color}`)
      }
    })
  }
})

t.test('every shape fits in every way, and each side has at least one pixel', async t => {
  const shapes = [[1, 1], [1, 16_384], [16_384, 1], [3, 1000], [1000, 3], [64, 65], [63, 64], [640, 480]] as const
  for (const [width, height] of shapes) {
    const still = await rawPicture(width, height, 1, () => GREEN).png().toBuffer()
    const moving = handGif({
      width,
      height,
      palette: PALETTE,
      netscape: 0,
      frames: [{ index: () => 2 }, { index: () => 3 }]
    })
    for (const fit of ['contain', 'cover', 'fill'] as const) {
      for (const [bytes, seen] of [[still, [GREEN]], [moving, [GREEN, BLUE]]] as const) {
        const gif = checked(t, await pictures.read(bytes, fit))
        t.equal(gif.screens.length, seen.length)
        for (const [k, color] of seen.entries()) {
          t.ok(
            near(colorAt(gif, k, 31, 31), color, 4),
            `${width}×${height} ${fit}: its middle, ${colorAt(gif, k, 31, 31)}`
          )
          const filled = fit !== 'contain' || width === height
          t.ok(
            near(colorAt(gif, k, 63, 63), filled ? color : BLACK, 4),
            `${width}×${height} ${fit}: its corner, ${colorAt(gif, k, 63, 63)}`
          )
        }
      }
    }
  }
})

t.test('cover cuts the sides off, fill keeps them', async t => {
  const bytes = await rawPicture(300, 100, 1, x => x < 100 ? RED : x < 200 ? GREEN : BLUE).png().toBuffer()
  const cover = checked(t, await pictures.read(bytes, 'cover'))
  t.ok([[1, 1], [62, 62]].every(([x, y]) => near(colorAt(cover, 0, x!, y!), GREEN, 20)))
  const fill = checked(t, await pictures.read(bytes, 'fill'))
  t.strictSame([5, 32, 60].map(x => colorAt(fill, 0, x, 32)), [RED, GREEN, BLUE])
})

t.test(
  'an enlarged picture has no colour of its own where the factor is whole, and blends where it is not',
  async t => {
    const board = (side: number) => rawPicture(side, side, 1, (x, y) => x + y & 1 ? WHITE : BLACK).png().toBuffer()
    const colors = ({ width, screens: [screen] }: ReadGif) => new Set(Array.from({ length: width * width }, (_, i) =>
      screen!.subarray(i * 3, i * 3 + 3).toString('hex')))
    for (const side of [2, 8, 32]) {
      t.strictSame(colors(checked(t, await pictures.read(await board(side), 'contain'))), new Set(['000000', 'ffffff']))
    }
    t.ok(colors(checked(t, await pictures.read(await board(48), 'contain'))).size > 2)
  }
)

t.test('the total time is kept, whatever the delays', async t => {
  const random = seededRandom(11)
  for (let run = 0; run < scale({ short: 8, long: 30 }); run++) {
    const delay = Array.from({ length: 2 + Math.floor(random() * 40) }, () => 11 + Math.floor(random() * 90))
    const webp = await rawPicture(8, 8, delay.length, (x, y, k) => [k * 5, x * 20, y * 20])
      .webp({ delay, lossless: true, loop: 0 })
      .toBuffer()
    const { facts, renditions } = await pictures.read(webp, 'fill')
    const total = delay.reduce((a, b) => a + b)
    t.equal(facts.duration_ms, total)
    const { delaysCs } = readGif(renditions[0]!.bytes)
    t.equal(delaysCs.length, delay.length)
    t.ok(Math.abs(delaysCs.reduce((a, b) => a + b) * 10 - total) <= 5)
    let ends = 0
    let written = 0
    t.ok(
      delaysCs.every((cs, k) => cs >= 1 && Math.abs((ends += delay[k]!) - (written += cs) * 10) <= 5),
      'each frame ends when it did'
    )
  }
})

t.test('a rendition is as good as its limit allows', async t => {
  const random = seededRandom(5)
  const anyColors = Array.from({ length: 128 }, () => [0, 0, 0].map(() => Math.floor(random() * 256)) as Color)
  const noise = (frames: number) => handGif({
    width: 64,
    height: 64,
    palette: anyColors,
    netscape: 0,
    frames: Array(frames).fill({ delayCs: 4, index: () => Math.floor(random() * 128) })
  })
  const filmFrames = scale({ short: 30, long: 60 })
  const film = await rawPicture(160, 120, filmFrames, (x, y, k) =>
    [
      128 + 90 * Math.sin(x / 20 + k / 9), 128 + 90 * Math.cos(y / 15 - k / 7),
      128 + 60 * Math.sin((x + y) / 30 + k / 5)
    ].map(value => Math.min(255, Math.max(0, value + 10 * random()))))
    .gif({ effort: 1, delay: Array(filmFrames).fill(50) })
    .toBuffer()

  await t.test('a rendition has every frame while that is possible', async t => {
    let before = Infinity
    for (const maxBytes of [15_000, 30_000, 60_000, KIB96].slice(0, scale({ short: 2, long: 4 })).reverse()) {
      const gif = checked(t, await createPictures({ sizes: ['64x64'], maxBytes }).read(film, 'contain'), maxBytes)
      t.equal(gif.screens.length, filmFrames)
      t.ok(
        gif.screens.every((_, k) => [7, 56].every(y => near(colorAt(gif, k, 32, y), BLACK, 0))),
        'the bars are black'
      )
      const colors = new Set(gif.screens.flatMap(screen =>
        Array.from({ length: 4096 }, (_, i) => screen.readUIntBE(i * 3, 3)))).size
      t.ok(colors <= before, `${colors} colours in ${maxBytes} bytes`)
      before = colors
    }
  })

  await t.test('a rendition has more palettes where one has too few colours and there is room', async t => {
    const fade = await rawPicture(64, 64, 24, (x, y, k) => [k * 10, x * 4 * k / 24, y * 4 * k / 24])
      .webp({ lossless: true, delay: 50 })
      .toBuffer()
    const errors = []
    for (const maxBytes of [200_000, 20_000]) {
      const { screens } = checked(
        t,
        await createPictures({ sizes: ['64x64'], maxBytes }).read(fade, 'contain'),
        maxBytes
      )
      t.equal(screens.length, 24)
      t.strictSame([...screens[0]!.subarray(0, 3)], BLACK)
      errors.push(
        screens.reduce(
          (sum, screen, k) => sum +
            screen.reduce(
              (sum, value, i) => sum +
                (value - [k * 10, (i / 3 | 0) % 64 * 4 * k / 24, (i / 192 | 0) * 4 * k / 24][i % 3]!) ** 2,
              0
            ),
          0
        ) / 24 / 12_288
      )
    }
    t.ok(errors[0]! < 20 && errors[0]! < errors[1]! / 2, `mean squared errors ${errors}`)
  })

  await t.test(
    'a rendition of a GIF of noise has every frame, in as many colours as gifsicle reaches in the same bytes',
    async t => {
      const plasma = await readFile(caseFile('plasma250.gif'))
      const limits = [[57_733, 3], [KIB96, 7], [82_772, 6], [75_403, 5], [63_616, 4]] as const
      for (const [maxBytes, colors] of limits.slice(0, scale({ short: 1, long: 5 }))) {
        const gif = checked(t, await createPictures({ sizes: ['64x64'], maxBytes }).read(plasma, 'contain'), maxBytes)
        t.strictSame(gif.delaysCs, Array(250).fill(3))
        const seen = new Set(gif.screens.flatMap(screen => [...colorsOf(screen)]))
        t.ok(seen.size >= colors, `${seen.size} colours in ${maxBytes} bytes`)
        t.ok(gif.screens.filter(screen => colorsOf(screen).size >= colors).length > 200, 'in most of its frames')
      }
    }
  )

  await t.test('a rendition of noise has merged neighbours, and the time of all', async t => {
    for (const [frames, maxBytes] of ([[60, 4000], [500, KIB96]] as const).slice(0, scale({ short: 1, long: 2 }))) {
      const { facts, renditions: [made] } = await createPictures({ sizes: ['64x64'], maxBytes }).read(
        noise(frames),
        'contain'
      )
      const { delaysCs } = readGif(made!.bytes)
      t.equal(facts.frames, frames)
      t.ok(
        made!.frames < frames && made!.frames > 1 && made!.bytes.length <= maxBytes,
        `${made!.frames} frames, ${made!.bytes.length} bytes`
      )
      t.strictSame([delaysCs.length, delaysCs.reduce((a, b) => a + b) * 10], [made!.frames, facts.duration_ms])
    }
  })

  await t.test('a rendition is one frame of two colours when nothing fits', async t => {
    const { renditions: [made] } = await createPictures({ sizes: ['64x64'], maxBytes: 1 }).read(noise(9), 'contain')
    const { screens: [screen], delaysCs } = readGif(made!.bytes)
    t.strictSame([delaysCs, made!.frames, made!.duration_ms], [[36], 1, 360])
    t.ok(new Set(Array.from({ length: 4096 }, (_, i) => screen!.readUIntBE(i * 3, 3))).size <= 2)
  })

  await t.test('a rendition has the colours of its picture, where they are few', async t => {
    const colors = Array.from({ length: 200 }, (_, i): Color => [i, i * 7 & 255, i * 13 & 255])
    const gif = checked(
      t,
      await pictures.read(
        handGif({
          width: 64,
          height: 64,
          palette: colors,
          netscape: 0,
          frames: [0, 1, 2].map(k => ({ index: (x: number, y: number) => (x * 3 + y * 5 + k * 11) % 200 }))
        }),
        'contain'
      )
    )
    for (const [k, x, y] of [[0, 0, 0], [1, 17, 40], [2, 63, 63], [2, 5, 9]] as const) {
      t.strictSame(colorAt(gif, k, x, y), colors[(x * 3 + y * 5 + k * 11) % 200])
    }
  })
})

t.test('a still has its exact colours, or as many as fit', async t => {
  const random = seededRandom(3)
  const LIMITS = [[KIB96, 16_000, 16_384], [18_000, 200, 256], [9000, 16, 16], [1, 2, 2]] as const
  const noise = () => [0, 0, 0].map(() => 1 + Math.floor(random() * 255))
  const png = await rawPicture(128, 128, 1, noise).png().toBuffer()
  for (const [maxBytes, least, most] of LIMITS) {
    const [made] = (await createPictures({ sizes: ['128x128'], maxBytes }).read(png, 'contain')).renditions
    const { screens: [screen] } = readRendition(made!.bytes)
    const colors = colorsOf(screen!).size
    t.ok(colors >= least && colors <= most, `${colors} colours in ${made!.bytes.length} of ${maxBytes} bytes`)
    t.ok(made!.bytes.length <= Math.max(maxBytes, 3000), `${made!.bytes.length} of ${maxBytes} bytes`)
    t.strictSame(
      [made!.content_type, made!.frames, made!.duration_ms, made!.size],
      ['image/png', 1, 0, '128x128']
    )
  }
  const again = await Promise.all([1, 2].map(() => pictures.read(png, 'contain')))
  t.ok(again[0]!.renditions[0]!.bytes.equals(again[1]!.renditions[0]!.bytes), 'the same bytes each time')
})

t.test('several sizes come of one decoding', async t => {
  const { renditions } = await createPictures({ sizes: ['64x64', '32x16', '128x96'], maxBytes: KIB96 }).read(
    await rawPicture(200, 150, 2, (_x, _y, k) => k ? RED : BLUE).gif({ delay: [20, 30] }).toBuffer(),
    'fill'
  )
  t.strictSame(
    renditions.map(({ size, bytes }) => [size, readGif(bytes).width, readGif(bytes).height, readGif(bytes).delaysCs]),
    [['64x64', 64, 64, [2, 3]], ['32x16', 32, 16, [2, 3]], ['128x96', 128, 96, [2, 3]]]
  )
})

t.test('a picture is whole or refused', async t => {
  const shade = (x: number, y: number, k = 0) => [x * 2 & 255, y * 2 & 255, (x * y >> 4) + k * 60 & 255]
  const whole: Array<{ name: string, bytes: Buffer, tail?: number }> = [
    { name: 'GIF', bytes: await rawPicture(100, 100, 3, shade).gif({ delay: 50 }).toBuffer(), tail: 1 },
    { name: 'PNG', bytes: await rawPicture(100, 100, 1, shade).png().toBuffer(), tail: 12 },
    {
      name: 'interlaced PNG',
      bytes: await rawPicture(100, 100, 1, shade).png({ progressive: true }).toBuffer(),
      tail: 12
    },
    { name: 'JPEG', bytes: await rawPicture(100, 100, 1, shade).jpeg().toBuffer() },
    { name: 'progressive JPEG', bytes: await rawPicture(100, 100, 1, shade).jpeg({ progressive: true }).toBuffer() },
    { name: 'WebP', bytes: await rawPicture(100, 100, 1, shade).webp().toBuffer() },
    { name: 'lossless WebP', bytes: await rawPicture(100, 100, 1, shade).webp({ lossless: true }).toBuffer() },
    { name: 'animated WebP', bytes: await rawPicture(100, 100, 3, shade).webp({ delay: 50 }).toBuffer() }
  ]
  for (const { name, bytes, tail = 0 } of whole) {
    t.match(
      await pictures.read(Buffer.concat([bytes, Buffer.alloc(300)]), 'contain'),
      { facts: { width: 100, height: 100 } },
      `${name} with zeros after it`
    )
    if (name.includes('GIF')) {
      const comment = Buffer.of(0x21, 0xfe, 1, 0, 0)
      t.match(
        await pictures.read(
          Buffer.concat([bytes.subarray(0, -1), comment, bytes.subarray(-1), Buffer.alloc(300)]),
          'contain'
        ),
        { facts: { width: 100, height: 100 } },
        `${name} with a comment before its end and zeros after it`
      )
    }
    for (let i = 0; i < CUTS; i++) {
      const length = Math.floor((bytes.length - tail) * i / CUTS)
      await t.rejects(
        pictures.read(bytes.subarray(0, length), 'contain'),
        refused,
        `${name}: ${length} of ${bytes.length} bytes`
      )
    }
    await t.rejects(
      pictures.read(bytes.subarray(0, bytes.length - tail - 1), 'contain'),
      refused,
      `${name} without its last byte`
    )
  }
})

t.test('changed bytes are a picture or refused', async t => {
  const random = seededRandom(23)
  const shade = (x: number, y: number, k: number) => [x * 8, y * 8, k * 80]
  const whole = await Promise.all(
    [
      rawPicture(20, 20, 3, shade).gif(),
      rawPicture(20, 20, 1, shade).png(),
      rawPicture(20, 20, 1, shade).jpeg(),
      rawPicture(20, 20, 3, shade).webp()
    ].map(picture => picture.toBuffer())
  )
  let taken = 0
  for (let run = 0; run < CHANGED; run++) {
    const bytes = Buffer.from(whole[run % 4]!)
    for (let i = 0; i <= run % 3; i++) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256)
    const picture = await pictures.read(bytes, 'contain').catch((error: unknown) => {
      if ((error as Error).message !== refused.message) throw error
    })
    if (!picture) continue
    taken++
    readRendition(picture.renditions[0]!.bytes)
  }
  t.ok(taken > CHANGED / 8 && taken < CHANGED * 7 / 8, `${taken} of ${CHANGED}`)
})

t.test('bombs are refused, or decoded within bounds', async t => {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type), data])
    const block = Buffer.alloc(body.length + 8)
    block.writeUInt32BE(data.length)
    body.copy(block, 4)
    block.writeUInt32BE(crc(body), body.length + 4)
    return block
  }
  const png = (
    width: number,
    height: number,
    {
      depth = 8,
      color = 0,
      interlace = 0,
      rows = height,
      extra = [] as Buffer[],
      data
    }: { depth?: number, color?: number, interlace?: number, rows?: number, extra?: Buffer[], data?: Buffer } = {}
  ) => {
    const head = Buffer.alloc(13)
    head.writeUInt32BE(width)
    head.writeUInt32BE(height, 4)
    head.set([depth, color, 0, 0, interlace], 8)
    const bytes = Math.ceil(width * depth * (color === 2 ? 3 : color === 6 ? 4 : 1) / 8) + 1
    return Buffer.concat([
      Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
      chunk('IHDR', head),
      ...extra,
      chunk('IDAT', data ?? deflateSync(Buffer.alloc(bytes * rows), { level: 9 })),
      chunk('IEND', Buffer.alloc(0))
    ])
  }
  const gif = (width: number, height: number, frames: number) => handGif({
    width,
    height,
    palette: PALETTE,
    netscape: 0,
    frames: Array.from({ length: frames }, () => ({ width: 1, height: 1, index: () => 1 }))
  })
  const jpeg = await rawPicture(64, 64, 1, x => [x, x, x]).jpeg().toBuffer()
  const webp = await rawPicture(64, 64, 2, (x, y, k) => [x, y, k * 99]).webp().toBuffer()
  const resized = (bytes: Buffer, at: number, values: number[]) => {
    const copy = Buffer.from(bytes)
    copy.set(values, at)
    return copy
  }
  const frame = jpeg.indexOf(Buffer.of(0xff, 0xc0))
  const refusedOnes: Record<string, Buffer> = {
    'PNG of 20,000×20,000, 1 bit': png(20_000, 20_000, { depth: 1 }),
    'PNG of 14,000×14,000, 1 bit': png(14_000, 14_000, { depth: 1 }),
    'PNG of 65,535×65,535': png(65_535, 65_535, { rows: 1 }),
    'PNG of 2³¹−1 square': png(0x7fffffff, 0x7fffffff, { data: deflateSync(Buffer.alloc(9)) }),
    'PNG of 0×0': png(0, 0, { data: deflateSync(Buffer.alloc(9)) }),
    'PNG of 16,385×1': png(16_385, 1),
    'PNG with fewer rows than it says': png(500, 500, { rows: 250 }),
    'PNG with data that are not deflated': png(100, 100, { data: Buffer.alloc(1000, 7) }),
    'GIF of 65,535×65,535, one pixel drawn': gif(65_535, 65_535, 1),
    'GIF of 16,384×16,384, one pixel drawn': gif(16_384, 16_384, 1),
    'GIF of 7,000×7,000, five frames of a pixel': gif(7000, 7000, 5),
    'GIF of 10,000 frames of a pixel': gif(1, 1, 10_000),
    'GIF of 1,001 frames': gif(2, 2, 1001),
    'GIF that ends drawing before all its pixels':
      handGif({ width: 50, height: 50, palette: PALETTE, frames: [{ index: () => 1, missing: 1000 }] }),
    'GIF without a frame': gif(50, 50, 0),
    'JPEG that says 65,535×65,535': resized(jpeg, frame + 5, [0xff, 0xff, 0xff, 0xff]),
    'JPEG that says 7,000×7,000': resized(jpeg, frame + 5, [0x1b, 0x58, 0x1b, 0x58]),
    'JPEG of no rows': resized(jpeg, frame + 5, [0, 0]),
    'WebP whose canvas is 16,777,216 square': resized(webp, 24, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
    'WebP whose canvas is 16,383 square': resized(webp, 24, [0xfe, 0x3f, 0, 0xfe, 0x3f, 0]),
    'SVG that repeats itself': Buffer.from(
      `<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">${'<g>'.repeat(1000)}${'</g>'.repeat(1000)}</svg>`
    ),
    TIFF: Buffer.from('II*\0\x08\0\0\0\0\0\0\0\0\0', 'latin1'),
    nothing: Buffer.alloc(0)
  }
  const zipped50MB = deflateSync(Buffer.alloc(50_000_000))
  const boundedOnes: Record<string, Buffer> = {
    'PNG of 7,000×7,000, grey': png(7000, 7000),
    'PNG of 16,384×3,000, 1 bit': png(16_384, 3000, { depth: 1 }),
    'PNG whose data unpack to more than it has': png(10, 10, { data: zipped50MB }),
    'PNG with a text that unpacks to 50 MB': png(10, 10, {
      extra: [chunk('zTXt', Buffer.concat([Buffer.from('a\0\0'), zipped50MB]))]
    }),
    'PNG with a profile that unpacks to 50 MB': png(10, 10, {
      extra: [chunk('iCCP', Buffer.concat([Buffer.from('a\0\0'), zipped50MB]))]
    }),
    'interlaced PNG of 4,000×4,000': png(4000, 4000, { interlace: 1, rows: 8000 }),
    'GIF of 7,000×7,000, one pixel drawn': gif(7000, 7000, 1),
    'GIF of 447×447, 1,000 frames of a pixel': gif(447, 447, 1000)
  }
  for (const [name, bytes] of Object.entries(refusedOnes)) {
    await t.rejects(pictures.read(bytes, 'contain'), refused, name)
  }
  for (const bytes of Object.values(boundedOnes)) checked(t, await pictures.read(bytes, 'contain'))
})

function crc (bytes: Buffer): number {
  let value = 0xffffffff
  for (const byte of bytes) {
    value ^= byte
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? value >>> 1 ^ 0xedb88320 : value >>> 1
  }
  return (value ^ 0xffffffff) >>> 0
}
