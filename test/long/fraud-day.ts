import t from 'tap'
import { startService } from '../helpers/service.js'
import { simulateDay } from '../helpers/simulated-day.js'
import { scale } from '../helpers/test-length.js'

const KNOWN = scale({ short: 200, long: 1000 })

t.setTimeout(3_600_000)

for (const networks of [60, 6, 600].slice(0, scale({ short: 1, long: 3 }))) {
  t.test(
    `at least 95 % of ${KNOWN} people with an account get in on a day under attack from ${networks} networks`,
    async t => {
      const service = await startService(t, {
        env: {
          SMS_PROVIDER: 'http',
          SMS_HTTP_URL: 'http://gateway.invalid',
          SMS_HOURLY_CAP: '300',
          SMS_DAILY_CAP: '3000',
          LIMIT_SMS_PER_ADDRESS: '30',
          LOG_LEVEL: 'error'
        }
      })
      const { known, strangers, sms, mostInHour } = await simulateDay(service, {
        networks,
        everySeconds: 600,
        known: KNOWN,
        strangers: 100
      })
      t.comment(`${known} of ${KNOWN} with an account and ${strangers} of 100 without got in`)
      t.ok(known >= 0.95 * KNOWN, `${known} of ${KNOWN}`)
      t.ok(sms <= 3000 && mostInHour <= 300, `the caps hold: ${sms} SMS, ${mostInHour} in one hour`)
    }
  )
}
