import fp from 'fastify-plugin'
import { listOf, sendsRealTexts } from '../services/config.js'
import { createAddressLimit } from '../services/login/address-limits.js'
import { createLogin } from '../services/login/login.js'
import { createSmsGuard } from '../services/login/sms-guard.js'

declare module 'fastify' {
  interface FastifyInstance {
    login: ReturnType<typeof createLogin>
  }
}

const MAX_SMS_PER_HOUR = 500
const MAX_SMS_PER_DAY = 2000

/** `app.login`: sends codes by SMS, and verifies them. */
export default fp(async function login (app) {
  const { config, collections, sendSms, roles, testCode, now } = app
  const costly = sendsRealTexts(config)
  const countries = listOf(config.SMS_ALLOWED_COUNTRIES)
  const guard = createSmsGuard({
    caps: {
      hour: config.SMS_HOURLY_CAP ?? (costly ? MAX_SMS_PER_HOUR : 0),
      day: config.SMS_DAILY_CAP ?? (costly ? MAX_SMS_PER_DAY : 0)
    },
    ...(costly &&
      config.FRAUD_MIN_SMS > 0 &&
      { fraud: { minSms: config.FRAUD_MIN_SMS, minVerified: config.FRAUD_MIN_VERIFIED } })
  })
  app.decorate('login', createLogin({
    otps: collections.otps,
    sendSms,
    guard,
    addresses: createAddressLimit(config.LIMIT_SMS_PER_ADDRESS, now),
    failures: createAddressLimit(config.LIMIT_FAILURES_PER_ADDRESS, now),
    takesSms: ({ country, isMobile }) => !costly || (countries.includes(country) && isMobile),
    accountStateOf: roles.accountStateOf,
    testCode,
    secret: config.OTP_SECRET,
    lifeSeconds: config.OTP_EXPIRY_SECONDS,
    region: config.DEFAULT_REGION,
    wording: { brand: config.SMS_BRAND, androidHash: config.SMS_ANDROID_HASH, webOrigin: config.SMS_WEB_ORIGIN },
    now
  }))
}, { name: 'login', dependencies: ['env', 'clock', 'mongo', 'sms', 'roles'] })
