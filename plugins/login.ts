import fp from 'fastify-plugin'
import { createAddressLimit } from '../services/login/address-limits.js'
import { createLogin } from '../services/login/login.js'
import { createSmsGuard } from '../services/login/sms-guard.js'
import { smsPolicy } from '../services/login/sms-policy.js'

declare module 'fastify' {
  interface FastifyInstance {
    login: ReturnType<typeof createLogin>
  }
}

/** `app.login`: sends codes by SMS, and verifies them. */
export default fp(async function login (app) {
  const { config, collections, sendSms, roles, testNumbers, now } = app
  const { takesSms, ...limits } = smsPolicy(config)
  app.decorate('login', createLogin({
    otps: collections.otps,
    sendSms,
    guard: createSmsGuard(limits),
    addresses: createAddressLimit(config.LIMIT_SMS_PER_ADDRESS, now),
    failures: createAddressLimit(config.LIMIT_FAILURES_PER_ADDRESS, now),
    takesSms,
    accountStateOf: roles.accountStateOf,
    testCode: testNumbers.codeOf,
    secret: config.OTP_SECRET,
    lifeSeconds: config.OTP_EXPIRY_SECONDS,
    region: config.DEFAULT_REGION,
    wording: { brand: config.SMS_BRAND, androidHash: config.SMS_ANDROID_HASH, webOrigin: config.SMS_WEB_ORIGIN },
    now
  }))
}, { name: 'login', dependencies: ['env', 'clock', 'mongo', 'sms', 'roles', 'test-numbers'] })
