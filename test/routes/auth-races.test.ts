import { isDeepStrictEqual } from 'node:util'
import t from 'tap'
import { freshPhone } from '../helpers/accounts.js'
import { startServices } from '../helpers/backends.js'
import { otpStateOf, requestCode } from '../helpers/codes.js'
import { type Answer, burstOf, type Post } from '../helpers/pipelined-posts.js'
import { startService } from '../helpers/service.js'
import { scale } from '../helpers/test-length.js'

/** Independent servers may be slow: fewer rounds there. */
const GUESSES = scale({ short: 300, long: 10_000 })
const ROUNDS = scale({ short: 3, long: 1000 })
const VERIFY = '/auth/verify-otp'
const INVALID = JSON.stringify({ success: false, message: 'Invalid OTP' })

t.setTimeout(scale({ short: 1_800_000, long: 14_400_000 }))
const services = await startServices(t)
const instances = await Promise.all([1, 2].map(async () => {
  const service = await startService(t, { services })
  return { service, burst: burstOf(t, service) }
}))
const { service, burst } = instances[0]!

t.test(`POST ${VERIFY}`, async t => {
  t.comment(`${ROUNDS} rounds of each race, ${GUESSES} guesses one after another`)
  t.test('50 verifies of one right code at once, over two instances, give exactly one token', async t => {
    const strays: unknown[] = []
    for (const phone of await phonesWithCode()) {
      const otp = service.lastCode(phone)
      const answers = await everywhere(Array.from({ length: 50 }, () => ({ path: VERIFY, json: { phone, otp } })))
      const tokens = answers.filter(({ status, body }) =>
        status === 200 && body.success === true && typeof body.access_token === 'string')
      const seen = { tokens: tokens.length, invalid: invalid(answers) }
      if (!isDeepStrictEqual(seen, { tokens: 1, invalid: 49 })) strays.push(seen)
    }
    t.same(strays, [])
  })

  t.test(
    'Five of many wrong guesses one after another are compared, and then even the right code is refused',
    async t => {
      const phone = freshPhone()
      await requestCode(service, phone)
      const code = Number(service.lastCode(phone))
      let refused = 0
      for (let i = 1; i <= GUESSES; i++) {
        refused += invalid(await burst([
          { path: VERIFY, json: { phone, otp: String((code + i) % 1_000_000).padStart(6, '0') } }
        ]))
      }
      const stored = await otpStateOf(service, phone)
      t.same([refused, stored?.challenge?.tries, stored?.failures.dates.length], [GUESSES, 5, 5])
      t.equal(invalid(await burst([{ path: VERIFY, json: { phone, otp: service.lastCode(phone) } }])), 1)
    }
  )

  t.test('Five of 500 wrong guesses at once, over two instances, are compared', async t => {
    const strays: unknown[] = []
    for (const phone of await phonesWithCode()) {
      const code = Number(service.lastCode(phone))
      const answers = await everywhere(Array.from({ length: 500 }, (_, i) => ({
        path: VERIFY,
        json: { phone, otp: String((code + i + 1) % 1_000_000).padStart(6, '0') }
      })))
      const stored = await otpStateOf(service, phone)
      const after = await burst([{ path: VERIFY, json: { phone, otp: service.lastCode(phone) } }])
      const seen = {
        invalid: invalid(answers),
        tries: stored?.challenge?.tries,
        failuresInRow: stored?.failures.row,
        failures: stored?.failures.dates.length,
        invalidAfter: invalid(after)
      }
      const expected = { invalid: 500, tries: 5, failuresInRow: 5, failures: 5, invalidAfter: 1 }
      if (!isDeepStrictEqual(seen, expected)) strays.push(seen)
    }
    t.same(strays, [])
  })
})

async function phonesWithCode (): Promise<string[]> {
  const phones = Array.from({ length: ROUNDS }, freshPhone)
  for (const phone of phones) await requestCode(service, phone)
  return phones
}

/** Sends all posts at once, by turns to each instance. */
async function everywhere (posts: Post[]): Promise<Answer[]> {
  const shares = await Promise.all(instances.map(({ burst }, share) =>
    burst(posts.filter((_, i) => i % instances.length === share))))
  return shares.flat()
}

function invalid (answers: Answer[]): number {
  return answers.filter(({ status, body }) => status === 200 && JSON.stringify(body) === INVALID).length
}
