import t from 'tap'
import { stateOf } from '../../services/login/otp-store.js'
import { burstOf, type Answer, type Post } from '../helpers/pipelined-posts.js'
import { freshPhone } from '../helpers/accounts.js'
import { startService } from '../helpers/service.js'
import { startServices } from '../helpers/backends.js'
import { scale } from '../helpers/test-length.js'

/** Independent servers may be slow: fewer rounds there. */
const GUESSES = scale({ short: 1000, long: 10_000, real: 300 })
const ROUNDS = scale({ short: 8, long: 1000, real: 3 })
const REQUEST = '/auth/request-otp'
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
  t.test(
    `50 verifies of one right code at once, over two instances, give exactly one token, ${ROUNDS} times`,
    async t => {
      const strays: unknown[] = []
      for (const phone of await phonesWithCode()) {
        const otp = service.lastCode(phone)
        const answers = await everywhere(Array.from({ length: 50 }, () => ({ path: VERIFY, json: { phone, otp } })))
        const tokens = answers.filter(({ body }) => body.success === true && typeof body.access_token === 'string')
        const seen = [tokens.length, invalid(answers)]
        if (seen.join() !== '1,49') strays.push(seen)
      }
      t.same(strays, [])
    }
  )

  t.test(
    `five of ${GUESSES} wrong guesses one after another are compared, and then even the right code is refused`,
    async t => {
      const phone = freshPhone()
      await burst([{ path: REQUEST, json: { phone } }])
      const code = Number(service.lastCode(phone))
      let refused = 0
      for (let i = 1; i <= GUESSES; i++) {
        refused += invalid(await burst([
          { path: VERIFY, json: { phone, otp: String((code + i) % 1_000_000).padStart(6, '0') } }
        ]))
      }
      const stored = stateOf(await service.app.collections.otps.findOne({ _id: phone }))
      t.same([refused, stored?.challenge?.tries, stored?.failures.dates.length], [GUESSES, 5, 5])
      t.equal(invalid(await burst([{ path: VERIFY, json: { phone, otp: service.lastCode(phone) } }])), 1)
    }
  )

  t.test(`five of 500 wrong guesses at once, over two instances, are compared, ${ROUNDS} times`, async t => {
    const strays: unknown[] = []
    for (const phone of await phonesWithCode()) {
      const code = Number(service.lastCode(phone))
      const answers = await everywhere(Array.from({ length: 500 }, (_, i) => ({
        path: VERIFY,
        json: { phone, otp: String((code + i + 1) % 1_000_000).padStart(6, '0') }
      })))
      const stored = stateOf(await service.app.collections.otps.findOne({ _id: phone }))
      const after = await burst([{ path: VERIFY, json: { phone, otp: service.lastCode(phone) } }])
      const seen = [
        invalid(answers),
        stored?.challenge?.tries,
        stored?.failures.row,
        stored?.failures.dates.length,
        invalid(after)
      ]
      if (seen.join() !== '500,5,5,5,1') strays.push(seen)
    }
    t.same(strays, [])
  })
})

async function phonesWithCode (): Promise<string[]> {
  const phones = Array.from({ length: ROUNDS }, freshPhone)
  for (const phone of phones) {
    const [answer] = await burst([{ path: REQUEST, json: { phone } }])
    if (answer?.status !== 200) throw new Error(`no code: ${answer?.status} ${JSON.stringify(answer?.body)}`)
  }
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
