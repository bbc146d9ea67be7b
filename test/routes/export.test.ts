import { once } from 'node:events'
import http, { type IncomingMessage } from 'node:http'
import t from 'tap'
import { accountOf } from '../helpers/accounts.js'
import { insertItems } from '../helpers/items.js'
import { startService } from '../helpers/service.js'
import { scale } from '../helpers/test-length.js'
import { eventually } from '../helpers/wait.js'

/**
 * More bytes together than the sockets take of an answer that the client does not read. The independent database reads
 * so many so slowly that its answers do not come in the time that a request waits: fewer there.
 */
const ROWS = scale({ short: 1000, long: 1000, real: 200 })
const TITLE = 'x'.repeat(4000)

t.test('GET /users/me/export runs once at a time, and gives everything however much it is', async t => {
  const service = await startService(t)
  const { phone, token } = await service.signIn()
  const owner = await accountOf(service.app, phone)
  await insertItems(service, ROWS, () => ({ owner, title: TITLE, created_at: service.clock.now }))
  const ask = () => service.call('GET', '/users/me/export', { token })

  const answers = await Promise.all(Array.from({ length: 12 }, ask))
  const done = answers.filter(({ status }) => status === 200)
  t.ok(done.length >= 1)
  for (const { body } of done) t.equal(body.items.length, ROWS)
  const refused = answers.filter(({ status }) => status !== 200)
  t.ok(refused.length >= 1)
  for (const { status, headers, body } of refused) {
    t.strictSame([status, headers.get('retry-after'), body], [429, '10', { error: 'Another export is running' }])
  }
  t.equal((await ask()).status, 200, 'when it has ended, the next one runs')

  t.test(
    'A client that reads nothing holds its turn, until it goes away',
    { skip: process.env.TEST_REAL ? 'the few rows of this run fit into the buffers of the sockets' : false },
    async t => {
      const request = http.get(`${service.url}/users/me/export`, {
        agent: false,
        headers: { authorization: `Bearer ${token}` }
      })
      const [response] = await once(request, 'response') as [IncomingMessage]
      response.pause()
      t.equal((await ask()).status, 429)
      response.destroy()
      t.ok(await eventually(async () => (await ask()).status === 200))
    }
  )
})
