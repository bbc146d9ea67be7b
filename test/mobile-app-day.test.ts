import t from 'tap'
import { PNG } from 'pngjs'
import { createDioClient } from './helpers/dio-client.js'
import { BLUE, RED, rawPicture } from './helpers/example-pictures.js'
import { readGif } from './helpers/gif-codec.js'
import { startService } from './helpers/service.js'

/** The panel's sides, in pixels. */
const PANEL = 64

t.test('A day of the released app: sign in, upload, browse, send to the panel', async t => {
  const service = await startService(t, { env: { ACCESS_TOKEN_TTL: '3650d', LIBRARY_URL_RENDITION: '64x64' } })
  const app = createDioClient(service)

  // the login page opens, and asks for a code; the sixth digit submits the form, and so does the button
  t.match(await app.post('/auth/request-otp', { phone: '9876543210' }), { status: 200, body: { message: 'OTP sent' } })
  const form = { phone: '9876543210', otp: service.lastCode('+919876543210') }
  const submitted = [await app.post('/auth/verify-otp', form), await app.post('/auth/verify-otp', form)]
  t.same(submitted.map(({ status, body }) => [status, body.success]), [[200, true], [200, false]])
  app.signedIn(submitted[0]!.body.access_token)

  // the profile: the same pair each time, as on every later day
  const profile = await app.post('/users', { username: 'Meera', number: '9876543210' })
  t.match(profile, { status: 201, body: { message: 'User created', user_id: /^[0-9a-f]{24}$/ } })
  const { user_id: userId } = profile.body
  t.same((await app.post('/users', { username: 'Meera', number: '9876543210' })).body, profile.body)
  t.match(await app.get(`/users/${userId}`), {
    status: 200,
    body: { _id: userId, username: 'Meera', number: '+919876543210' }
  })

  // the library is empty; then two uploads, of a GIF from the keyboard and of a photo from the camera
  t.match(await app.get('/library?page=1&per_page=10'), { status: 200, body: { items: [], total: 0, total_pages: 0 } })
  const walk = await rawPicture(120, 80, 3, (x, _y, frame) => x < 40 * (frame + 1) ? RED : BLUE)
    .gif({ delay: [100, 200, 300], loop: 1 })
    .toBuffer()
  const photo = await rawPicture(300, 200, 1, () => BLUE).jpeg().toBuffer()
  for (const [name, file] of [['walk.gif', walk], ['IMG_0001.JPG', photo]] as const) {
    t.match(await app.upload('/library/upload', { user_id: userId, type: '', category: '' }, name, file), {
      status: 201,
      body: { message: 'File uploaded', id: String, url: /^http/ }
    })
  }

  // the list: read page by page, from the cache where nothing is new
  const pages: Array<{ url: string, type: string, category: string, user_id: string, created_at: string }> = []
  for (let page = 1, pageCount = 1; page <= pageCount; page++) {
    const { status, body } = await app.get(`/library?page=${page}&per_page=1`)
    t.equal(status, 200)
    pages.push(...body.items)
    pageCount = body.total_pages
  }
  t.match(pages, [
    { type: 'image', category: 'Images', user_id: userId, created_at: /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/ },
    { type: 'gif', category: 'GIF', user_id: userId, created_at: String }
  ])
  t.same(
    [await app.get('/library?page=1&per_page=1'), await app.get('/library?page=2&per_page=1')].map(page => page.fromCache),
    [true, true],
    'a conditional request is answered by 304'
  )

  // the photo goes to the panel as a bitmap, the GIF as it is
  const [still, animation] = await Promise.all(pages.map(({ url }) => app.fetchPicture(url)))
  const bitmap = PNG.sync.read(still!)
  t.same([bitmap.width, bitmap.height], [PANEL, PANEL])
  t.same(pixel(bitmap.data, 4, 32, 5), [0, 0, 0], 'black above a wide photo')
  t.ok(near(pixel(bitmap.data, 4, 32, 32), BLUE))
  t.equal(animation!.toString('latin1', 0, 3), 'GIF', 'the app decides by the bytes')
  const { width, height, delaysCs, screens, netscape } = readGif(animation!)
  t.same([width, height, delaysCs, netscape], [PANEL, PANEL, [10, 20, 30], 0], 'it plays for ever on the panel')
  for (const [frame, screen] of screens.entries()) {
    t.ok(near(pixel(screen, 3, 5, 32), RED))
    t.ok(near(pixel(screen, 3, 60, 32), frame === 2 ? RED : BLUE), `frame ${frame}`)
  }

  // months later the token is still good, and a new item is the first of the list
  for (let month = 0; month < 12; month++) {
    service.clock.advance(30 * 86_400)
    t.equal((await app.get('/library?page=1&per_page=10')).status, 200)
  }
  await app.upload('/library/upload', { user_id: userId }, 'again.gif', walk)
  const { body } = await app.get('/library?page=1&per_page=1')
  t.match(body, { total: 3, items: [{ type: 'gif' }] })
})

/** The colour at a place of a picture that is as wide as the panel. */
const pixel = (data: Uint8Array, channels: number, x: number, y: number) =>
  [...data.subarray((y * PANEL + x) * channels, (y * PANEL + x) * channels + 3)]

const near = (color: number[], wanted: number[]) => color.every((value, i) => Math.abs(value - wanted[i]!) <= 16)
