import { once } from 'node:events'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { failureOf } from '../helpers/answers.js'
import { startFaultySetup } from '../helpers/faulty-setup.js'
import { file, form } from '../helpers/multipart.js'
import { gif, gifOf } from '../helpers/small-pictures.js'
import type { Reply } from '../helpers/service.js'
import { json, MIB, open, send, user } from '../helpers/upload-requests.js'
import { eventually } from '../helpers/wait.js'
import { PATIENCE } from '../helpers/patience.js'

/** The number of uploads that fill the memory for files before decoding, and one more. */
const SLOW = 7
const LARGE = 8 * MIB

t.test('Uploads while others upload slowly, as much as they may', async t => {
  const setup = await startFaultySetup(t)
  const service = await setup.start(PATIENCE)
  const { token } = await service.signIn()
  const alone = await service.upload(token, gif)
  t.equal(alone.status, 201)
  const begun = form([user, file(gif)], { end: '' })
  const slow: ClientRequest[] = []
  for (let i = 0; i < SLOW; i++) {
    slow.push(open(service, token, { 'content-length': LARGE }))
    slow[i]!.write(begun)
  }
  await eventually(async () => (await setup.left()).uploads === SLOW)
  const settled = async () => {
    const { objects, library, uploads } = await setup.left()
    return uploads === SLOW && objects === library ? library : undefined
  }

  t.test('No upload waits for slow ones, and each gets the same facts and renditions', async t => {
    const answers: Reply[] = []
    while (answers.length < 20) {
      answers.push(...await Promise.all(Array.from({ length: 4 }, () => service.upload(token, gif))))
    }
    for (const { status, body } of answers) {
      t.equal(status, 201)
      const {
        frames,
        duration_ms: duration,
        dominant_color: color,
        sha256,
        renditions: { '64x64': { url, ...rendition } }
      } = body
      const { url: first, ...expected } = alone.body.renditions['64x64']
      t.strictSame({ frames, duration, color, sha256, rendition }, {
        frames: alone.body.frames,
        duration: alone.body.duration_ms,
        color: alone.body.dominant_color,
        sha256: alone.body.sha256,
        rendition: expected
      })
      t.same(await bytesAt(url), await bytesAt(first))
    }
  })

  t.test('A store that does not give back what it took is a 500, and nothing is left of the upload', async t => {
    const before = await eventually(settled)
    for (const action of [
      { do: 'answer', status: 403, code: 'AccessDenied' },
      { do: 'answer', status: 404, code: 'NoSuchKey' },
      { do: 'lose' },
      { do: 'reset', after: 0 }
    ] as const) {
      const refused = setup.s3.fault({ operation: 'GetObject', action, times: 3 })
      t.equal(failureOf(await service.upload(token, gif)), 'Failed to upload file to S3')
      t.ok(refused.hits > 0)
      setup.s3.clear()
      t.equal(await eventually(settled), before)
    }
    t.equal((await service.upload(token, gif)).status, 201)
  })

  t.test('Slow clients that have gone leave nothing', async t => {
    for (const request of slow) request.destroy()
    t.match(await setup.settled(), { uploads: 0, multipartUploads: 0 })
    t.equal((await service.upload(token, gif)).status, 201)
  })
})

t.test('Uploads that stall for long make room with 503 when memory is full, and no other is refused', async t => {
  const setup = await startFaultySetup(t)
  const service = await setup.start(PATIENCE)
  const { token } = await service.signIn()
  const size = 5 * MIB - 100_000
  const stalled = Array.from({ length: 30 }, () => open(service, token, { 'content-length': size }))
  const answers = stalled.map(request =>
    new Promise<IncomingMessage | undefined>(resolve => {
      request.on('response', resolve).on('close', () => resolve(undefined))
    }))
  for (const request of stalled) request.write(form([user, file(gif)], { end: '' }))
  const first = await Promise.race(answers)
  t.match({ status: first?.statusCode, retry: first?.headers['retry-after'], body: await json(first!) }, {
    status: 503,
    retry: '5',
    body: { error: 'Server is busy' }
  })

  const others = await Promise.all([gif, gif, gif, gifOf(size)].map(bytes => service.upload(token, bytes)))
  t.strictSame(others.map(({ status }) => status), [201, 201, 201, 201])
  for (const request of stalled) request.destroy()
  await Promise.all(answers)
  t.match(await setup.settled(), { uploads: 0, multipartUploads: 0, library: 4 })
})

t.test('A client may pause its upload for longer than the store may be silent', async t => {
  const PAUSE_MS = 10_000
  const setup = await startFaultySetup(t)
  const service = await setup.start()
  const { token } = await service.signIn()
  const whole = form([user, file(gifOf(6 * MIB))])
  const attempts = [
    ['in the middle', 3 * MIB, true],
    ['just before the end', whole.length - 30, true],
    ['behind the first part', 5.5 * MIB, true],
    ['in the middle, in chunks', 3 * MIB, false], ['behind the first part, in chunks', 5.5 * MIB, false]
  ] as const
  await Promise.all(attempts.map(async ([name, at, withLength]) => {
    const request = open(service, token, withLength ? { 'content-length': whole.length } : {})
    const answered = once(request, 'response') as Promise<[IncomingMessage]>
    request.write(whole.subarray(0, at))
    await pause(PAUSE_MS) // the pause of the client
    request.end(whole.subarray(at))
    const [response] = await answered
    t.match({ status: response.statusCode, body: await json(response) }, { status: 201, body: { size: 6 * MIB } }, name)
  }))

  const silent = setup.s3.fault({ operation: 'UploadPart', action: { do: 'throttle', bytesPerSecond: 0 }, times: 1 })
  t.match(await send(service, token, [whole], { headers: { 'content-length': whole.length } }), {
    status: 500,
    body: { error: 'Failed to upload file to S3' }
  })
  t.equal(silent.hits, 1, 'while a store that is silent still counts as gone')
  setup.s3.clear()
  t.match(await setup.settled(), { library: attempts.length })
})

const bytesAt = async (url: string) => Buffer.from(await (await fetch(url)).arrayBuffer())
