import { setTimeout as wait } from 'node:timers/promises'
import t from 'tap'
import { ServiceError } from '../../services/errors.js'
import { retry, retryConflict } from '../../services/retry.js'
import { settledWithin } from '../../services/settled-within.js'

/** The pauses of `retry` let the process end. */
const alive = setInterval(() => {}, 1000)
t.teardown(() => clearInterval(alive))

t.test('retry', async t => {
  t.test('repeats work until it succeeds, and tells of each failure', async t => {
    const failures: unknown[] = []
    let calls = 0
    const work = async () => { if (++calls < 3) throw new Error(String(calls)) }
    const { signal } = new AbortController()
    t.equal(await retry(work, { attempts: 5, signal, onFailure: error => failures.push(error) }), true)
    t.match(failures, [{ message: '1' }, { message: '2' }])
    t.equal(calls, 3)
  })

  t.test('gives up after its attempts', async t => {
    let calls = 0
    const work = async () => { calls++; throw new Error('no') }
    const { signal } = new AbortController()
    t.equal(await retry(work, { attempts: 2, signal, onFailure () {} }), false)
    t.equal(calls, 2)
  })

  t.test('an abort ends the pause, and one last attempt follows', async t => {
    let calls = 0
    const controller = new AbortController()
    const work = async () => { calls++; throw new Error('no') }
    const trying = retry(work, { attempts: 100, signal: controller.signal, onFailure () {} })
    await wait(50)
    controller.abort()
    t.equal(await trying, false)
    t.equal(calls, 2)
  })
})

t.test('retryConflict', async t => {
  t.test('returns the first result that is not undefined, null included', async t => {
    t.equal(await retryConflict('a row', async race => race === 3 ? race : undefined), 3)
    t.equal(await retryConflict('a row', async () => null), null)
  })

  t.test('is 503 after a hundred lost races', async t => {
    let races = 0
    const error: unknown = await retryConflict('a row', async () => { races++ }).catch((error: unknown) => error)
    t.ok(error instanceof ServiceError)
    t.match(error, { statusCode: 503, cause: { message: /^a row was changed by another request at each of 100/ } })
    t.equal(races, 100)
  })
})

t.test('settledWithin tells whether work ended in time, well or not', async t => {
  t.equal(await settledWithin(Promise.resolve(), 1000), true)
  t.equal(await settledWithin(Promise.reject(new Error('no')), 1000), true)
  t.equal(await settledWithin(new Promise(() => {}), 10), false)
})
