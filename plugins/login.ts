import fp from 'fastify-plugin'
import { createAddressLimit } from '../services/address-limits.js'
import { listOf, sendsRealTexts } from '../services/config.js'
import { createLogin } from '../services/login.js'
import { createTextCounts } from '../services/text-counts.js'
import { createTextGuard } from '../services/text-guard.js'

declare module 'fastify' {
  interface FastifyInstance {
    login: ReturnType<typeof createLogin>
  }
}

const HOURLY_CAP = 500
const DAILY_CAP = 2000

/** `app.login`: codes by text message, and who knows them. */
export default fp(async function login (app) {
  const { config, collections, sendSms, standing, testCode, now } = app
  const costly = sendsRealTexts(config)
  const countries = listOf(config.SMS_ALLOWED_COUNTRIES)
  const guard = createTextGuard({
    counts: createTextCounts(collections.texts),
    addresses: createAddressLimit(config.LIMIT_SMS_PER_ADDRESS, now),
    secret: config.OTP_SECRET,
    caps: { hour: config.SMS_HOURLY_CAP ?? (costly ? HOURLY_CAP : 0), day: config.SMS_DAILY_CAP ?? (costly ? DAILY_CAP : 0) },
    fraud: { minTexts: config.FRAUD_MIN_SMS, minVerified: config.FRAUD_MIN_VERIFIED, stop: costly },
    now
  })
  app.decorate('login', createLogin({
    otps: collections.otps,
    sendSms,
    guard,
    failures: createAddressLimit(config.LIMIT_FAILURES_PER_ADDRESS, now),
    takesTexts: ({ country, isMobile }) => !costly || (countries.includes(country) && isMobile),
    isBlocked: standing.isBlocked,
    testCode,
    secret: config.OTP_SECRET,
    lifeSeconds: config.OTP_EXPIRY_SECONDS,
    region: config.DEFAULT_REGION,
    wording: { brand: config.SMS_BRAND, androidHash: config.SMS_ANDROID_HASH, webOrigin: config.SMS_WEB_ORIGIN },
    now
  }))
}, { name: 'login', dependencies: ['env', 'clock', 'mongo', 'sms', 'standing'] })
