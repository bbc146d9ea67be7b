import { createHash } from 'node:crypto'
import http from 'node:http'
import { deflateSync } from 'node:zlib'
import { ObjectId } from 'mongodb'
import sharp from 'sharp'
import t from 'tap'
import { accountOf, claimsOf } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { readGif } from '../helpers/gif-codec.js'
import { readRendition } from '../helpers/read-rendition.js'
import { field, file, form, FORM_TYPE, type Part } from '../helpers/multipart.js'
import { exif, ihdr, jpegWith, noise, PNG_SIGNATURE, pngChunk, SECRET, segment } from '../helpers/picture-bytes.js'
import { foldersOf, type Service, startService } from '../helpers/service.js'
import { gif, jpeg, png, webp } from '../helpers/small-pictures.js'
import { scale } from '../helpers/test-length.js'
import type { Answer } from '../helpers/upload-requests.js'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

t.test('POST /library/upload', async t => {
  const service = await startService(t)
  const { token } = await service.signIn()
  const still = { frames: 1, duration_ms: 0 }
  const moving = { frames: 3, duration_ms: 350 }
  const dance = await noise(20, 10, { frames: 4 }).webp({ delay: [120, 120, 120, 120] }).toBuffer()
  const kinds = [
    {
      name: 'an animated GIF',
      bytes: gif,
      contentType: 'image/gif',
      extension: 'gif',
      type: 'gif',
      category: 'GIF',
      motion: moving
    },
    {
      name: 'a PNG',
      bytes: png,
      contentType: 'image/png',
      extension: 'png',
      type: 'image',
      category: 'Images',
      motion: still
    },
    {
      name: 'a JPEG',
      bytes: jpeg,
      contentType: 'image/jpeg',
      extension: 'jpg',
      type: 'image',
      category: 'Images',
      motion: still
    },
    {
      name: 'a WebP',
      bytes: webp,
      contentType: 'image/webp',
      extension: 'webp',
      type: 'image',
      category: 'Images',
      motion: still
    },
    {
      name: 'an animated WebP',
      bytes: dance,
      contentType: 'image/webp',
      extension: 'webp',
      type: 'gif',
      category: 'GIF',
      motion: { frames: 4, duration_ms: 480 },
      width: 20,
      height: 10
    }
  ]

  for (const { name, bytes, contentType, extension, type, category, motion, width = 2, height = 2 } of kinds) {
    t.test(
      `${name} is answered, listed and served to anybody with its true type, wherever the fields stand`,
      async t => {
        for (const fileFirst of [false, true]) {
          service.clock.advance(1)
          const picture = file(bytes, { filename: 'lie.txt', type: 'text/plain' })
          const user = field('user_id', 'मीरा')
          const { status, body: answered } = await post(service, token, fileFirst ? [picture, user] : [user, picture], {
            chunked: fileFirst
          })
          t.equal(status, 201)
          const { id, url, dominant_color: color, renditions } = answered
          const item = {
            id,
            url,
            original_url: url,
            user_id: 'मीरा',
            owner_id: claimsOf(token).sub,
            created_at: service.clock.now.toISOString(),
            type,
            category,
            content_type: contentType,
            size: bytes.length,
            sha256: sha256(bytes),
            width,
            height,
            ...motion,
            dominant_color: color,
            renditions
          }
          t.strictSame(answered, { message: 'File uploaded', ...item })
          t.match(
            new URL(url).pathname,
            new RegExp(
            `/library/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/original\\.${extension}$`
            )
          )
          t.strictSame((await ok(service.call('GET', '/library?per_page=1', { token }))).body.items, [item])
          const served = await fetch(url)
          t.equal(served.status, 200)
          t.equal(served.headers.get('content-type'), contentType)
          t.equal(sha256(new Uint8Array(await served.arrayBuffer())), sha256(bytes))

          t.match(color, /^#[0-9a-f]{6}$/)
          t.strictSame(Object.keys(renditions), ['64x64'])
          const { '64x64': rendition } = renditions
          const [panelType, panelName] = motion === still ? ['image/png', '64x64.png'] : ['image/gif', '64x64.gif']
          t.equal(rendition.url, url.replace(/original\.\w+$/, panelName))
          const response = await fetch(rendition.url)
          t.equal(response.status, 200)
          t.equal(response.headers.get('content-type'), panelType)
          const panel = readRendition(Buffer.from(await response.arrayBuffer()))
          t.match(panel, { width: 64, height: 64 })
          t.equal(panel.screens.length, motion.frames)
          t.strictSame(rendition, {
            url: rendition.url,
            content_type: panelType,
            bytes: Number(response.headers.get('content-length')),
            ...motion,
            ble_seconds: motion === still ? 1.4 : Math.ceil(rendition.bytes / 900) / 10
          })
        }
      }
    )
  }

  t.test('The served photo tells nothing of its place and its maker, and is still upright', async t => {
    const told = [
      segment(0xe1, exif(6, { prefix: 'Exif\0\0' })),
      segment(0xed, `Photoshop 3.0\0${SECRET}`),
      segment(0xe1, `http://ns.adobe.com/xap/1.0/\0${SECRET}`),
      segment(0xfe, SECRET)
    ]
    const photo = jpegWith(await noise(40, 20).jpeg().toBuffer(), told, SECRET)
    const { status, body } = await service.upload(token, photo)
    t.equal(status, 201)
    t.match(body, { size: photo.length, width: 20, height: 40 })
    const served = Buffer.from(await (await fetch(body.url)).arrayBuffer())
    t.equal(served.length, photo.length)
    t.equal(body.sha256, sha256(served))
    t.notOk(served.includes(SECRET))
    const pixels = (bytes: Buffer) => sharp(bytes).autoOrient().raw().toBuffer()
    const [before, after] = await Promise.all([photo, served].map(pixels))
    t.ok(before!.equals(after!), 'the same pixels, turned the same way')
    t.notOk((await sharp(served).metadata()).exif?.includes(SECRET))
  })

  t.test('A picture goes into its renditions as `fit` says', async t => {
    const wide = await sharp({ create: { width: 100, height: 25, channels: 3, background: '#f00' } }).png().toBuffer()
    const black = async (fit?: string) => {
      const { body } = await ok(service.upload(token, wide, { fields: { user_id: 'meera', ...(fit && { fit }) } }))
      const response = await fetch(body.renditions['64x64'].url)
      const { screens: [screen] } = readRendition(Buffer.from(await response.arrayBuffer()))
      return Array.from({ length: 64 }, (_, row) => screen![row * 64 * 3]!).filter(red => red < 100).length
    }
    t.strictSame([await black(), await black('contain'), await black('cover'), await black('fill')], [48, 48, 0, 0])
    t.match(await service.upload(token, wide, { fields: { user_id: 'meera', fit: 'squeeze' } }), {
      status: 400,
      body: { errors: { fit: ['Must be one of: contain, cover, fill.'] } }
    })
  })

  t.test(
    'LIBRARY_URL_RENDITION gives the rendition as an item\'s url, and RENDITION_SIZES makes more sizes',
    async t => {
      const service = await startService(t, { env: { RENDITION_SIZES: '64x64,16x32', LIBRARY_URL_RENDITION: '64x64' } })
      const { token } = await service.signIn()
      const { body } = await ok(service.upload(token, gif))
      t.strictSame(Object.keys(body.renditions), ['64x64', '16x32'])
      t.equal(body.url, body.renditions['64x64'].url)
      t.match(body.original_url, /original\.gif$/)
      t.equal(sha256(new Uint8Array(await (await fetch(body.original_url)).arrayBuffer())), body.sha256)
      t.match(readGif(Buffer.from(await (await fetch(body.renditions['16x32'].url)).arrayBuffer())), {
        width: 16,
        height: 32
      })
      t.match((await ok(service.call('GET', '/library', { token }))).body.items[0], {
        url: body.url,
        original_url: body.original_url
      })
      t.equal((await ok(service.call('GET', `/library/${body.id}`, { token }))).body.url, body.url)
    }
  )

  t.test('A picture that cannot be decoded to its end, or is out of bounds, is 400 and leaves nothing', async t => {
    const whole = await noise(30, 20).png().toBuffer()
    const data = Buffer.from(whole)
    data.fill(0x55, 60, 90)
    const huge = Buffer.concat([
      PNG_SIGNATURE,
      ihdr(20_000, 20_000),
      pngChunk('IDAT', deflateSync(Buffer.alloc(1000))),
      pngChunk('IEND')
    ])
    const before = await service.remains()
    for (const [name, bytes] of [
      ['broken off', whole.subarray(0, -30)],
      ['broken inside', data],
      ['huge', huge],
      ['a GIF broken off', gif.subarray(0, -20)],
      ['nothing but a header', gif.subarray(0, 13)]
    ] as const) {
      for (const fileFirst of [false, true]) {
        const parts = [field('user_id', 'meera'), file(bytes)]
        t.match(
          await post(service, token, fileFirst ? parts.reverse() : parts),
          { status: 400, body: { error: 'Damaged or unreasonable image' } },
          name
        )
      }
    }
    t.match(
      await post(service, token, [file(huge), field('user_id', '')]),
      { status: 400, body: { error: 'Missing user_id' } },
      'faults of the form come first'
    )
    t.strictSame(await service.remains(), before)
    t.equal(
      (await service.upload(token, gif.subarray(0, -1))).status,
      201,
      'a GIF that lacks only its trailer is taken'
    )
  })

  t.test('The fields beside the file are stored as sent; a type is ignored', async t => {
    const long = '𝒳'.repeat(255)
    for (const fields of [
      { user_id: ' meera ', category: 'Cats & Dogs', title: '<b>"Fox"</b> ✨' },
      { user_id: long, category: long, title: long }
    ]) {
      const { status, body } = await service.upload(token, png, { fields: { ...fields, type: 'gif', unknown: 'x' } })
      t.equal(status, 201)
      t.match(body, { ...fields, type: 'image' })
      t.notOk('unknown' in body)
    }
  })

  t.test('The owner is the account that signed in, whatever the form says', async t => {
    const { phone, token } = await service.signIn()
    const { body } = await ok(post(
      service,
      token,
      [
        field('user_id', 'somebody else'),
        field('owner', '+911234567890'),
        field('_id', '1'),
        field('key', '../x'),
        file(gif)
      ]
    ))
    t.match(await service.app.collections.library.findOne({ _id: new ObjectId(body.id) }), {
      owner: await accountOf(service.app, phone),
      user_id: 'somebody else',
      key: /^library\/[0-9a-f-]{36}\/original\.gif$/
    })
  })

  t.test('A part without a file name is a field, whatever its type', async t => {
    const { status, body } = await post(
      service,
      token,
      [
        field('user_id', 'meera', 'Content-Type: application/octet-stream'),
        field('title', 'Fox', 'Content-Type: text/plain; charset=utf-8'),
        file(gif)
      ]
    )
    t.equal(status, 201)
    t.match(body, { user_id: 'meera', title: 'Fox' })
  })

  t.test('The same file and name, sent many times at once by two, becomes as many objects', async t => {
    const many = scale({ short: 12, long: 50 })
    const { token: other } = await service.signIn()
    const before = await service.remains()
    const answers = await Promise.all(Array.from({ length: many }, (_, i) =>
      ok(service.upload(i % 2 ? token : other, gif, { filename: 'same.gif' }))))
    t.equal(new Set(answers.map(({ body }) => body.url)).size, many)
    const after = await service.remains()
    t.strictSame(after, { ...before, library: before.library + many, objects: after.objects })
    t.equal(foldersOf(after.objects).length, foldersOf(before.objects).length + many)
  })

  t.test('A file that takes several parts in the store comes back whole', async t => {
    const bytes = await noise(1600, 1500).png({ compressionLevel: 1 }).toBuffer()
    t.ok(bytes.length > 6 * 1024 * 1024)
    const { status, body } = await service.upload(token, bytes)
    t.equal(status, 201)
    t.equal(body.sha256, sha256(bytes))
    t.equal(sha256(new Uint8Array(await (await fetch(body.url)).arrayBuffer())), sha256(bytes))
  })

  t.test('No upload record outlives its upload', async t => {
    t.match(await service.remains(), { uploads: 0, multipartUploads: [] })
  })
})

/** Posts a form with exactly these bytes, with a length or in chunks. */
async function post (
  service: Service,
  token: string,
  parts: Part[],
  { chunked = false } = {}
): Promise<Answer> {
  const body = form(parts)
  const headers = {
    authorization: `Bearer ${token}`,
    'content-type': FORM_TYPE,
    ...(!chunked && { 'content-length': body.length })
  }
  const request = http.request(`${service.url}/library/upload`, { method: 'POST', headers })
  if (chunked) for (let i = 0; i < body.length; i += 50) request.write(body.subarray(i, i + 50))
  request.end(chunked ? undefined : body)
  const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
    request.on('response', resolve).on('error', reject)
  })
  return { status: response.statusCode!, body: JSON.parse(Buffer.concat(await response.toArray()).toString()) }
}
