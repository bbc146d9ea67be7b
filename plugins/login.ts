import fp from 'fastify-plugin'
import { createLogin } from '../services/login.js'

declare module 'fastify' {
  interface FastifyInstance {
    login: ReturnType<typeof createLogin>
  }
}

/** `app.login`: codes by text message, and who knows them. */
export default fp(async function login (app) {
  const { config, collections, sendSms, now } = app
  app.decorate('login', createLogin({
    otps: collections.otps,
    sendSms,
    secret: config.OTP_SECRET,
    lifeSeconds: config.OTP_EXPIRY_SECONDS,
    region: config.DEFAULT_REGION,
    wording: { brand: config.SMS_BRAND, androidHash: config.SMS_ANDROID_HASH, webOrigin: config.SMS_WEB_ORIGIN },
    now
  }))
}, { name: 'login', dependencies: ['env', 'clock', 'mongo', 'sms'] })
