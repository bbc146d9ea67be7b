import { randomInt } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { styleText } from 'node:util'
import fp from 'fastify-plugin'
import { Gauge, Histogram } from 'prom-client'
import type { Config } from '../schemas/env.js'
import { smsProviders } from '../services/config.js'
import { NumberRefused, type AppSettings, type SendSms, type SmsProvider } from '../services/ports.js'
import { smsPolicy } from '../services/login/sms-policy.js'
import { createConsoleSms } from '../services/sms/console.js'
import { createFallback } from '../services/sms/fallback.js'
import { createHttpSms } from '../services/sms/http.js'

declare module 'fastify' {
  interface FastifyInstance {
    sendSms: SendSms
  }
}

/** Milliseconds for one provider. All of them together have twice this. */
const TIMEOUT_MS = 4000
/** Seconds. */
const BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8]
const STATUS_PATH = '/webhooks/twilio/status'
const RETRY: Retry = {
  random: () => randomInt(2 ** 32) / 2 ** 32,
  wait: (ms, signal) => setTimeout(ms, undefined, { signal })
}

type Retry = NonNullable<AppSettings['smsRetry']>

/** `app.sendSms`: the providers of SMS_PROVIDER, the next one if one fails. */
export default fp<AppSettings>(async function sms (app, { sendSms, smsTimeoutMs = TIMEOUT_MS, smsRetry = RETRY }) {
  const { config, log, metrics: { registry } } = app
  const duration = new Histogram({
    name: 'hookaba_sms_duration_seconds',
    help: 'SMS that were given to a provider, by provider and outcome',
    labelNames: ['provider', 'outcome'],
    buckets: BUCKETS,
    registers: [registry]
  })
  const cap = new Gauge({
    name: 'hookaba_sms_cap',
    help: 'SMS that the whole service may send in an hour and in a day; 0: no cap',
    labelNames: ['period'],
    registers: [registry]
  })
  const { caps } = smsPolicy(config)
  cap.set({ period: 'hour' }, caps.hour)
  cap.set({ period: 'day' }, caps.day)
  const providers = await Promise.all(smsProviders(config).map(async name => {
    const send = await provider(name, config, smsRetry)
    return {
      name,
      send: (...given: Parameters<SmsProvider>) => app.inSpan({
        name: `SMS ${name}`,
        kind: 'client',
        isFailure: error => !(error instanceof NumberRefused)
      }, () => send(...given))
    }
  }))
  const send = createFallback(providers, smsTimeoutMs, log, (provider, outcome, seconds) => {
    duration.observe({ provider, outcome }, seconds)
  })
  app.decorate('sendSms', sendSms ?? send)
}, { name: 'sms', dependencies: ['env', 'metrics', 'tracing'] })

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

/** On a terminal the line stands out among those of the log. */
const print = (line: string) => new Promise<void>((resolve, reject) => {
  const { stdout } = process
  const isColoured = stdout.isTTY && stdout.hasColors()
  const printed = isColoured ? `${styleText(['black', 'bgYellow'], line.trimEnd())}\n` : line
  stdout.write(printed, error => error ? reject(error) : resolve())
})
