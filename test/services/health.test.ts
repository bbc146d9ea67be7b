import t from 'tap'
import { createHealth } from '../../services/health.js'

t.test('one check a second serves all probes, and none that began earlier does', async t => {
  let now = 0
  let asked = 0
  const health = createHealth({ checks: { store: async () => { asked++ } }, monotonic: () => now })
  await Promise.all(Array.from({ length: 100 }, () => health.ready()))
  now = 999
  await health.ready()
  t.equal(asked, 1)
  now = 1000
  await Promise.all([health.ready(), health.ready()])
  t.equal(asked, 2)
})

t.test('a dependency that fails or says nothing is not ready, and its return is noticed by the next check', async t => {
  let now = 0
  let answer: () => Promise<unknown> = async () => { throw new Error('gone') }
  const health = createHealth({ checks: { database: async () => {}, store: () => answer() }, monotonic: () => now })
  const refused = {
    statusCode: 503,
    message: 'Not ready',
    retryAfter: 5,
    cause: { message: 'store cannot be reached', cause: { message: 'gone' } }
  }
  await t.rejects(health.ready(), refused)
  answer = () => new Promise(() => {})
  await t.rejects(health.ready(), refused, 'the check of this second has failed')
  now = 1000
  const silent = { ...refused, cause: { message: 'store cannot be reached', cause: { message: 'no answer' } } }
  await t.rejects(health.ready(), silent, 'silent')
  answer = async () => {}
  now = 2000
  await health.ready()
})
