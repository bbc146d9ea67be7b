import type { ClientRequest } from 'node:http'
import t from 'tap'
import { file, form, gif } from '../fixtures.js'
import { eventually } from '../helper.js'
import { failed, faultBed, MIB, open, user } from '../uploads.js'

/** Together all that is kept of files until they are decoded, and one more. */
const SLOW = 7
const LARGE = 8 * MIB

t.test('E15: POST /library/upload while others upload slowly, as much as they may', async t => {
  const bed = await faultBed(t)
  const service = await bed.start()
  const { token } = await service.signIn()
  const alone = await service.upload(token, gif)
  t.equal(alone.status, 201)
  const begun = form([user, file(gif)], { end: '' })
  const slow: ClientRequest[] = []
  for (let i = 0; i < SLOW; i++) {
    slow.push(open(service, token, { 'content-length': LARGE }))
    slow[i]!.write(begun)
  }
  await eventually(async () => (await bed.left()).uploads === SLOW)
  const settled = async () => {
    const { objects, library, uploads } = await bed.left()
    return uploads === SLOW && objects === library ? library : undefined
  }

  t.test('nobody waits for them, and everybody gets the same facts and renditions', async t => {
    for (const { status, body } of await Promise.all(Array.from({ length: 20 }, () => service.upload(token, gif)))) {
      t.equal(status, 201)
      const { frames, duration_ms: duration, dominant_color: color, sha256, renditions: { '64x64': { url, ...rendition } } } = body
      const { url: first, ...expected } = alone.body.renditions['64x64']
      t.strictSame({ frames, duration, color, sha256, rendition }, { frames: alone.body.frames, duration: alone.body.duration_ms, color: alone.body.dominant_color, sha256: alone.body.sha256, rendition: expected })
      t.same(await bytesAt(url), await bytesAt(first))
    }
  })

  t.test('F7: a store that does not give back what it took is a 500, and nothing is left of the upload', async t => {
    const before = await eventually(settled)
    for (const action of [{ do: 'answer', status: 403, code: 'AccessDenied' }, { do: 'answer', status: 404, code: 'NoSuchKey' }, { do: 'lose' }, { do: 'reset', after: 0 }] as const) {
      const refused = bed.s3.fault({ operation: 'GetObject', action, times: 3 })
      failed(t, await service.upload(token, gif), 'Failed to upload file to S3')
      t.ok(refused.hits > 0)
      bed.s3.clear()
      t.equal(await eventually(settled), before)
    }
    t.equal((await service.upload(token, gif)).status, 201)
  })

  t.test('when they have gone, nothing is left of them', async t => {
    for (const request of slow) request.destroy()
    t.match(await bed.settled(), { uploads: 0, multipartUploads: 0 })
    t.equal((await service.upload(token, gif)).status, 201)
  })
})

const bytesAt = async (url: string) => Buffer.from(await (await fetch(url)).arrayBuffer())
