import fc from 'fast-check'
import t from 'tap'
import { readConfig } from '../../../services/config.js'
import type { Platform } from '../../../schemas/auth.js'
import { smsMessage, type Wording } from '../../../services/sms/message.js'
import { scale } from '../../helpers/test-length.js'

const WORDINGS = scale({ short: 100, long: 400 })
const MESSAGES = scale({ short: 3000, long: 20_000 })

t.test('smsMessage', async t => {
  const wording = { brand: 'Hookaba', androidHash: 'FA+9qCX9VSu', webOrigin: 'app.hookaba.com' }
  const platforms: Platform[] = ['android', 'ios', 'web', 'other']

  t.test('each platform gets its own words', async t => {
    t.equal(smsMessage('123456', 'android', wording), '<#> Your Hookaba code is: 123456\nFA+9qCX9VSu')
    t.equal(smsMessage('123456', 'other', wording), '<#> Your Hookaba code is: 123456\nFA+9qCX9VSu')
    t.equal(smsMessage('123456', 'ios', wording), '123456 is your Hookaba verification code.')
    t.equal(smsMessage('123456', 'web', wording), 'Your Hookaba code is: 123456\n@app.hookaba.com #123456')
    t.equal(smsMessage('123456', 'web', { ...wording, webOrigin: undefined }), 'Your Hookaba code is: 123456')
    t.equal(smsMessage('123456', 'ios', { ...wording, brand: 'Köpi' }), '123456 is your Köpi verification code.')
  })

  t.test(
    'every SMS fits in 140 bytes, its code is the first run of 4 to 6 digits, and the part that a phone looks for is last',
    async t => {
      const brand = fc.oneof(
        fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }),
        fc.string({ minLength: 1, maxLength: 40 }),
        fc.stringMatching(/^[A-Za-z]{0,10} ?\d{1,3}( \d{1,3}){0,3}$/),
        fc.string({ minLength: 30, maxLength: 50, unit: fc.constantFrom('ß', 'é', 'x', '1', ' ') })
      )
      const host = fc.oneof(fc.domain(), fc.constant('localhost'), fc.stringMatching(/^[a-z0-9-]{1,60}$/))
      const wordings = fc
        .sample(fc.record({ brand, webOrigin: host, androidHash: fc.stringMatching(/^[A-Za-z0-9+/]{11}$/) }), {
          numRuns: WORDINGS,
          seed: 5
        })
        .filter(isTaken)
      t.ok(wordings.length > WORDINGS / 4, `${wordings.length} of them`)
      const code = fc.integer({ min: 0, max: 999_999 }).map(number => String(number).padStart(6, '0'))
      fc.assert(
        fc.property(fc.constantFrom(...wordings), fc.constantFrom(...platforms), code, (wording, platform, code) => {
          const text = smsMessage(code, platform, wording)
          const last = text.split('\n').at(-1)
          return /\d{4,6}/.exec(text)?.[0] === code &&
            Buffer.byteLength(text) <= 140 &&
            (platform !== 'web' || last === `@${wording.webOrigin} #${code}`) &&
            (platform === 'web' || platform === 'ios' || (last === wording.androidHash && text.startsWith('<#> ')))
        }),
        { numRuns: MESSAGES, seed: 5 }
      )
    }
  )
})

/** Whether a service would start with this wording. */
function isTaken ({ brand, androidHash, webOrigin }: Wording): boolean {
  try {
    return readConfig({
      SMS_BRAND: brand,
      SMS_ANDROID_HASH: androidHash,
      SMS_WEB_ORIGIN: webOrigin
    }).SMS_BRAND === brand
  } catch {
    return false
  }
}
