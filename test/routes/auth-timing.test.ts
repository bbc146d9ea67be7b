import { performance } from 'node:perf_hooks'
import t from 'tap'
import { freshPhone, insertRows, userRow } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startService } from '../helpers/service.js'
import { scale } from '../helpers/test-length.js'

/** Independent servers may be slow: fewer samples there. */
const SAMPLES = scale({ short: 60, long: 1000 })
const WARM_UP = scale({ short: 30, long: 100 })
const SHUFFLES = 200
const REQUEST = '/auth/request-otp'
const VERIFY = '/auth/verify-otp'

t.setTimeout(1_200_000)
const service = await startService(t)
const { call, app: { collections } } = service

t.test('The time of an answer tells nothing, in interleaved samples', async t => {
  t.comment(`2 × ${SAMPLES} samples of each pair`)
  const known = Array.from({ length: SAMPLES + WARM_UP }, freshPhone)
  await insertRows(
    collections.users,
    known.map((number, i) => userRow({ username: `known${i}`, username_key: `known${i}`, number }))
  )
  const unknown = known.map(freshPhone)
  const dead = freshPhone()
  await ok(call('POST', REQUEST, { json: { phone: dead } }))
  const right = service.lastCode(dead)
  const wrong = String((Number(right) + 1) % 1_000_000).padStart(6, '0')
  for (let i = 0; i < 5; i++) await ok(call('POST', VERIFY, { json: { phone: dead, otp: wrong } }))

  const guess = (phone: string, otp: string) => call('POST', VERIFY, { json: { phone, otp } })
  const pairs: Array<[string, Array<(i: number) => Promise<{ status: number, text: string }>>]> = [
    [
      'a guess for a known and for an unknown phone',
      [i => guess(known[i]!, '123456'), i => guess(unknown[i]!, '123456')]
    ],
    [
      'a request for a known and for an unknown phone',
      [known, unknown].map(phones => (i: number) => call('POST', REQUEST, { json: { phone: phones[i] } }))
    ],
    ['the right and a wrong code, when neither helps', [() => guess(dead, right), () => guess(dead, wrong)]]
  ]
  for (const [name, sides] of pairs) {
    const answers = new Set<string>()
    const times: Array<[number, number]> = []
    for (let i = 0; i < SAMPLES + WARM_UP; i++) {
      const took: number[] = []
      for (const side of i % 2 ? [0, 1] : [1, 0]) {
        const start = performance.now()
        const { status, text } = await sides[side]!(i)
        took[side] = performance.now() - start
        answers.add(`${status} ${text}`)
      }
      if (i >= WARM_UP) times.push(took as [number, number])
    }
    t.equal(answers.size, 1, `${name}: one answer`)
    t.ok(difference(times) < 2 * noise(times), `${name}: the same time, but for noise`)
  }
})

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]!
const difference = (pairs: Array<[number, number]>) => Math.abs(
  median(pairs.map(([a]) => a)) - median(pairs.map(([, b]) => b))
)

/** The largest difference that chance makes, over many rounds that swap the sides of each pair at random. */
function noise (pairs: Array<[number, number]>): number {
  return Math.max(
    ...Array.from({ length: SHUFFLES }, () => difference(pairs.map(([a, b]) => Math.random() < 0.5 ? [a, b] : [b, a])))
  )
}
