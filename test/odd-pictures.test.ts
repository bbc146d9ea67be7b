import { readFile } from 'node:fs/promises'
import sharp from 'sharp'
import t, { type Test } from 'tap'
import { bytesAt } from './helpers/bytes.js'
import { caseFile } from './helpers/paths.js'
import { uploadForm } from './helpers/multipart.js'
import { handGif, type HandGif } from './helpers/gif-codec.js'
import { readRendition } from './helpers/read-rendition.js'
import { BLACK, BLUE, GREEN, PALETTE, rawPicture, RED, WHITE } from './helpers/example-pictures.js'
import { scale } from './helpers/test-length.js'
import { startService, type Service } from './helpers/service.js'
import {
  exif,
  jpegWith,
  pngChunk,
  pngWith,
  riffChunk,
  riffChunks,
  segment,
  segmentOffset,
  vp8x,
  webp,
  webpWith
} from './helpers/picture-bytes.js'

const caseOf = (name: string) => readFile(caseFile(name))
const near = (found: ArrayLike<number>, wanted: number[], within: number) => wanted.every((value, c) =>
  Math.abs(found[c]! - value) <= within)

/** Uploads a file. Resolves with the item, the served bytes and the screens of the rendition. */
async function uploaded (t: Test, service: Service, token: string, file: Buffer, name: string) {
  const { status, body } = await service.upload(token, file)
  t.equal(status, 201, `${name} is taken`)
  if (status !== 201) return undefined
  return {
    item: body,
    served: await bytesAt(body.original_url ?? body.url),
    screens: readRendition(await bytesAt(body.renditions['64x64'].url)).screens
  }
}

t.test('POST /library/upload', async t => {
  const service = await startService(t)
  const { token } = await service.signIn()
  const refused = async (t: Test, file: Buffer, name: string) =>
    t.match(await service.upload(token, file), { status: 400, body: { error: 'Damaged or unreasonable image' } }, name)

  await t.test(
    'a JPEG with bytes between its segments, or nonsense in its scan header, is taken and looks right',
    async t => {
      const plain = await sharp(await caseOf('plain.jpg')).raw().toBuffer()
      for (const name of [
        'sos-invalid-params', 'extraneous-before-dqt', 'extraneous-before-sof', 'extraneous-before-dht',
        'extraneous-before-sos', 'ff00-before-dqt', 'crlf-before-dqt'
      ]) {
        const found = await uploaded(t, service, token, await caseOf(`${name}.jpg`), name)
        t.ok((await sharp(found!.served, { failOn: 'none' }).raw().toBuffer()).equals(plain), `${name} as served`)
      }
    }
  )

  await t.test('a JPEG that ends early is refused, also where an end of image was written after it', async t => {
    const jpegs = { baseline: {}, progressive: { progressive: true }, 'full colour': { chromaSubsampling: '4:4:4' } }
    for (const [name, options] of Object.entries(jpegs)) {
      const whole = await rawPicture(64, 48, 1, (x, y) => [x * 4, y * 5, x * y & 255]).jpeg(options).toBuffer()
      t.equal((await service.upload(token, whole)).status, 201)
      const start = segmentOffset(whole, 0xda)
      for (const share of [0, 0.5, 0.99, 0.1, 0.9].slice(0, scale({ short: 3, long: 5 }))) {
        const cut = whole.subarray(0, start + 20 + Math.floor((whole.length - start - 24) * share))
        const end = cut.at(-1) === 0xff ? cut.length - 1 : cut.length
        await refused(t, cut, `${name}, ${share}`)
        await refused(
          t,
          Buffer.concat([cut.subarray(0, end), Buffer.of(0xff, 0xd9)]),
          `${name}, ${share}, closed again`
        )
      }
      for (const bytes of [1, 2, 3].slice(0, scale({ short: 1, long: 3 }))) await refused(t, whole.subarray(0, -bytes), `${name} without ${bytes} bytes`)
    }
  })

  await t.test('each frame of a rendition and of the served file is turned as its Exif orientation says', async t => {
    const corners = (x: number, y: number, width: number, height: number) => y * 2 < height
      ? (x * 2 < width ? RED : GREEN)
      : (x * 2 < width ? BLUE : WHITE)
    // equal frames would become one
    const picture = (frames: number) => rawPicture(48, 32, frames, (x, y, frame) =>
      x === 24 && y === 16 ? [frame * 90, 0, 0] : corners(x, y, 48, 32))
    const still = riffChunks(await picture(1).webp({ lossless: true }).toBuffer())[0]!
    const moving = await picture(3).webp({ lossless: true, delay: 50 }).toBuffer()
    const jpeg = await picture(1).jpeg({ quality: 95, chromaSubsampling: '4:4:4' }).toBuffer()
    const png = await picture(1).png().toBuffer()
    for (const orientation of [1, 2, 3, 4, 5, 6, 7, 8]) {
      const block = exif(orientation, { order: orientation % 2 ? 'II' : 'MM' })
      const prefixed = exif(orientation, { order: 'II', prefix: 'Exif\0\0' })
      const exifSegment = segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), block]))
      const files = {
        JPEG: { file: jpegWith(jpeg, [exifSegment]), frames: 1 },
        PNG: { file: pngWith(png, [pngChunk('eXIf', block)]), frames: 1 },
        'PNG with the prefix of JPEG': { file: pngWith(png, [pngChunk('eXIf', prefixed)]), frames: 1 },
        WebP: { file: webp(vp8x(0x08, 48, 32), still, riffChunk('EXIF', block)), frames: 1 },
        'animated WebP': { file: webpWith(moving, 0x08, [riffChunk('EXIF', prefixed)]), frames: 3 }
      }
      const all = Object.entries(files)
      // the short run has each orientation twice, and each format at least three times
      const fewer = all.filter((_, i) => (orientation * 2 + i) % 5 < 2)
      for (const [format, { file, frames }] of scale({ short: 0, long: 1 }) ? all : fewer) {
        const name = `${format} of orientation ${orientation}`
        const found = await uploaded(t, service, token, file, name)
        if (!found) continue
        const turned = orientation > 4
        t.match(found.item, { width: turned ? 32 : 48, height: turned ? 48 : 32, frames }, name)
        const { data, info } = await sharp(found.served)
          .autoOrient()
          .toColourspace('srgb')
          .removeAlpha()
          .raw()
          .toBuffer({ resolveWithObject: true })
        t.strictSame([info.width, info.height], [found.item.width, found.item.height], `${name} as served`)
        const at = (across: number, down: number) => data.subarray(
          (Math.floor(info.height * down) * info.width + Math.floor(info.width * across)) * 3
        )
        for (const screen of found.screens) {
          const shown = (across: number, down: number) => {
            const [left, top] = turned ? [11, 0] : [0, 11]
            return screen.subarray(
              ((top + Math.floor((64 - 2 * top) * down)) * 64 + left + Math.floor((64 - 2 * left) * across)) * 3
            )
          }
          for (const [across, down] of [[0.2, 0.2], [0.8, 0.2], [0.2, 0.8], [0.8, 0.8]] as const) {
            t.ok(near(shown(across, down), [...at(across, down).subarray(0, 3)], 12), `${name} at ${across}, ${down}`)
          }
        }
      }
    }
    const late = await uploaded(
      t,
      service,
      token,
      pngWith(png, [], [pngChunk('eXIf', exif(6))]),
      'PNG with an orientation after its pixels'
    )
    t.match(late!.item, { width: 48, height: 32 })
    t.notOk(late!.served.includes('eXIf'), 'few decoders would see it, so none does')
  })

  await t.test('an animated WebP is turned frame by frame', async t => {
    const few = await uploaded(t, service, token, await caseOf('animated-orientation-8.webp'), 'four frames')
    t.match(few!.item, { width: 100, height: 60, frames: 4 })
    t.ok(
      few!.screens.every(screen => near(screen, BLACK, 0) && !near(screen.subarray((32 * 64 + 1) * 3), BLACK, 60)),
      'as wide as the rendition, black above'
    )
    for (const [orientation, width, height] of [[1, 60, 100], [6, 100, 60]]) {
      t.match(
        (await uploaded(
          t,
          service,
          token,
          await caseOf(`animated-orientation-${orientation}-170-frames.webp`),
          `170 frames, ${orientation}`
        ))!.item,
        { width, height, frames: 170 }
      )
    }
  })

  await t.test('the area that a GIF clears is black in the rendition, whatever its background colour', async t => {
    const [opaque, flagged] = [
      await uploaded(t, service, token, await caseOf('dispose2-opaque-bg-white.gif'), 'opaque'),
      await uploaded(t, service, token, await caseOf('dispose2-transparent-flag-bg-white.gif'), 'flagged')
    ]
    t.strictSame(opaque!.screens, flagged!.screens)
    t.ok(Array.from({ length: 4096 }, (_, i) => opaque!.screens[1]!.subarray(i * 3, i * 3 + 3)).some(pixel =>
      near(pixel, BLACK, 0)))
  })

  await t.test(
    'a GIF with zeros between its blocks, without a trailer or without end codes has all its frames',
    async t => {
      for (const name of ['zero-byte-between-blocks', 'zero-byte-before-trailer']) {
        t.equal((await uploaded(t, service, token, await caseOf(`${name}.gif`), name))!.item.frames, 2)
      }
      const square = (more: Partial<HandGif> = {}) => handGif({
        width: 8,
        height: 8,
        palette: PALETTE,
        frames: [{ index: () => 1 }, { index: () => 2 }],
        ...more
      })
      t.equal((await uploaded(t, service, token, square({ trailer: false }), 'no trailer'))!.item.frames, 2)
      t.equal(
        (await uploaded(
          t,
          service,
          token,
          Buffer.concat([square({ trailer: false }), Buffer.alloc(9)]),
          'zeros in place of the trailer'
        ))!.item.frames,
        2
      )
      const noEnd = handGif({
        width: 8,
        height: 8,
        palette: PALETTE,
        frames: [{ index: () => 1, endCode: false }, { index: () => 2, endCode: false }]
      })
      t.equal((await uploaded(t, service, token, noEnd, 'no end codes'))!.item.frames, 2)
      const beyond = handGif({
        width: 8,
        height: 8,
        palette: PALETTE,
        frames: [
          { index: () => 1 },
          { left: 4, top: 4, width: 20, height: 20, index: () => 2 },
          { width: 0, height: 0, index: () => 0 }
        ]
      })
      const found = await uploaded(t, service, token, beyond, 'frames beyond the screen, and of no size')
      t.match(found!.item, { width: 8, height: 8, frames: 3 })
      t.ok(
        near(found!.screens[1]!, RED, 3) &&
          near(found!.screens[1]!.subarray(-3), GREEN, 3) &&
          near(found!.screens[2]!.subarray(-3), GREEN, 3)
      )
    }
  )

  await t.test('a GIF whose image data end early is refused', async t => {
    for (const missing of [1, 32, 63]) {
      await refused(
        t,
        handGif({ width: 8, height: 8, palette: PALETTE, frames: [{ index: () => 1, missing }] }),
        `${missing} pixels of the only frame`
      )
      await refused(
        t,
        handGif({
          width: 8,
          height: 8,
          palette: PALETTE,
          frames: [{ index: () => 1 }, { index: () => 2, missing, endCode: false }]
        }),
        `${missing} pixels of the last frame, no end code`
      )
    }
  })
})

t.test(
  'POST /library/upload answers 503, and forgets the Idempotency-Key, when the process had no time for a picture',
  async t => {
    const picture = await rawPicture(64, 48, 1, (x, y) => [x, y, 0]).jpeg().toBuffer()
    const stopped = await startService(t, { pictureTimes: { decodeSeconds: 1e-6, cpuMs: () => 0 } })
    const running = await startService(t, { services: stopped.services })
    const token = await running.tokenFor('+919876543210')
    const upload = ({ call }: Service) =>
      call('POST', '/library/upload', { token, body: uploadForm(picture), headers: { 'idempotency-key': 'once' } })
    const late = await upload(stopped)
    t.match(late, { status: 503, body: { error: 'Service is out of resources' } })
    t.equal(late.headers.get('retry-after'), '5')
    t.ok(
      stopped.logs.some(line =>
        line.includes('request refused') && line.includes('in which the process computed for 0 ms')),
      'the log names the cause'
    )
    t.equal((await upload(running)).status, 201)
  }
)
