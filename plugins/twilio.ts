import fp from 'fastify-plugin'
import { createDeliveryReports } from '../services/sms/delivery-report.js'

type Form = Record<string, unknown>

declare module 'fastify' {
  interface FastifyInstance {
    twilio: {
      /** Whether Twilio has signed a form that was posted to this path. False without its token or PUBLIC_URL. */
      isSigned: (signature: string, path: string, form: Form) => boolean
      /** Handles the report of how an SMS ended. */
      report: ReturnType<typeof createDeliveryReports>
    }
  }
}

/** `app.twilio`: the requests that Twilio makes to this service. */
export default fp(async function twilio (app) {
  const { PUBLIC_URL, TWILIO_AUTH_TOKEN } = app.config
  app.decorate('twilio', {
    isSigned: PUBLIC_URL === undefined || TWILIO_AUTH_TOKEN === undefined
      ? () => false
      : (await import('../services/sms/twilio-signature.js')).createSignatureCheck(TWILIO_AUTH_TOKEN, PUBLIC_URL),
    report: createDeliveryReports(app.login)
  })
}, { name: 'twilio', dependencies: ['env', 'login'] })
