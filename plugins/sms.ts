import { randomInt } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import fp from 'fastify-plugin'
import type { Config } from '../schemas/env.js'
import { smsProviders } from '../services/config.js'
import {
  type AppSettings,
  type Log,
  NumberRefused,
  type SendSms,
  type SmsProvider,
  SmsUnconfirmed
} from '../services/ports.js'
import { createConsoleSms } from '../services/sms/console.js'
import { createHttpSms } from '../services/sms/http.js'

declare module 'fastify' {
  interface FastifyInstance {
    sendSms: SendSms
  }
}

/** Milliseconds for one provider. All of them together have twice this. */
const TIMEOUT_MS = 4000
const STATUS_PATH = '/webhooks/twilio/status'
const RETRY: Retry = {
  random: () => randomInt(2 ** 32) / 2 ** 32,
  wait: (ms, signal) => setTimeout(ms, undefined, { signal })
}

type Retry = NonNullable<AppSettings['smsRetry']>

/** `app.sendSms`: the providers of SMS_PROVIDER, the next one if one fails. */
export default fp<AppSettings>(async function sms (app, { sendSms, smsTimeoutMs = TIMEOUT_MS, smsRetry = RETRY }) {
  app.decorate(
    'sendSms',
    sendSms ??
      inOrder(
        app.log,
        smsTimeoutMs,
        await Promise.all(smsProviders(app.config).map(name => provider(name, app.config, smsRetry)))
      )
  )
}, { name: 'sms', dependencies: ['env'] })

async function provider (name: string, config: Config, retry: Retry): Promise<SmsProvider> {
  if (name === 'http') return createHttpSms({ url: config.SMS_HTTP_URL!, token: config.SMS_HTTP_TOKEN })
  if (name === 'console') return createConsoleSms(print)
  const { createTwilioSms } = await import('../services/sms/twilio.js')
  return createTwilioSms({
    accountSid: config.TWILIO_ACCOUNT_SID!,
    authToken: config.TWILIO_AUTH_TOKEN!,
    from: config.TWILIO_PHONE_NUMBER!,
    channel: config.TWILIO_CHANNEL,
    apiUrl: config.TWILIO_API_URL,
    statusUrl: config.PUBLIC_URL && config.PUBLIC_URL.replace(/\/+$/, '') + STATUS_PATH,
    ...retry
  })
}

const print = (line: string) => new Promise<void>((resolve, reject) => {
  process.stdout.write(line, error => error ? reject(error) : resolve())
})

/**
 * Asks the next provider if one has failed, but never if the SMS may have been sent. All together take at most twice
 * the time of one.
 */
function inOrder (log: Log, timeoutMs: number, providers: SmsProvider[]): SendSms {
  return async text => {
    const deadline = performance.now() + 2 * timeoutMs
    for (const [i, provider] of providers.entries()) {
      try {
        return await provider(text, Math.max(1, Math.min(timeoutMs, deadline - performance.now())))
      } catch (err) {
        if (err instanceof SmsUnconfirmed) {
          log.warn(
            { event: 'sms.delivery_unconfirmed', err },
            'A provider did not say whether it has sent an SMS: it counts as sent'
          )
        }
        const isLast = i === providers.length - 1 || performance.now() >= deadline
        if (isLast || err instanceof NumberRefused || err instanceof SmsUnconfirmed) throw err
        log.warn({ event: 'sms.provider_failed', err }, 'A provider failed to send an SMS: the next one is asked')
      }
    }
    throw new Error('SMS_PROVIDER names no provider')
  }
}
