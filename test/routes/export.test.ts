import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import { ObjectId } from 'mongodb'
import t from 'tap'
import type { UploadDocument } from '../../schemas/documents.js'
import { eventually, insertRows, startService } from '../helper.js'

const ROWS = 20_000

t.test('GET /users/me/export runs once at a time, and gives everything however much it is', async t => {
  const service = await startService(t)
  const { token } = await service.signIn()
  await service.call('POST', '/library/uploads', {
    token,
    json: { content_type: 'image/gif', size: 1, user_id: 'meera' }
  })
  const { owner } = (await service.app.collections.uploads.findOne())!
  const rows = Array.from({ length: ROWS - 1 }, (): UploadDocument => ({
    _id: new ObjectId(),
    key: '',
    owner,
    state: 'staged',
    started_at: new Date()
  }))
  await insertRows(service.app.collections.uploads, rows)
  const ask = () => service.call('GET', '/users/me/export', { token })

  const answers = await Promise.all(Array.from({ length: 12 }, ask))
  const done = answers.filter(({ status }) => status === 200)
  t.ok(done.length >= 1)
  for (const { body } of done) t.equal(body.uploads.length, ROWS)
  const refused = answers.filter(({ status }) => status !== 200)
  t.ok(refused.length >= 1)
  for (const { status, headers, body } of refused) {
    t.strictSame([status, headers.get('retry-after'), body], [429, '10', { error: 'Another export is running' }])
  }
  t.equal((await ask()).status, 200, 'when it has ended, the next one runs')

  t.test('a client that reads nothing holds its turn, until it goes away', async t => {
    const request = http.get(`${service.url}/users/me/export`, {
      agent: false,
      headers: { authorization: `Bearer ${token}` }
    })
    const [response] = await once(request, 'response') as [IncomingMessage]
    response.pause()
    t.equal((await ask()).status, 429)
    response.destroy()
    t.ok(await eventually(async () => (await ask()).status === 200))
  })
})
