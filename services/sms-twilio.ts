import twilio from 'twilio'
import type RequestClient from 'twilio/lib/base/RequestClient.js'
import TwilioServiceException from 'twilio/lib/base/TwilioServiceException.js'
import { NumberRefused, type SendSms } from './ports.js'

/** Twilio's codes for a number that takes no texts: invalid, region not allowed, unsubscribed, no mobile. */
const REFUSED = new Set([21211, 21408, 21610, 21614])
const TWILIO_URL = 'https://api.twilio.com'
const MOST_RETRIES = 2
const BACKOFF_MS = 200

export interface TwilioOptions {
  accountSid: string
  authToken: string
  from: string
  channel: 'sms' | 'whatsapp'
  /** Another base URL, for a relay or a test. */
  apiUrl?: string
  /** Where Twilio reports what became of a text, with its `reference` in the query; without it, it does not. */
  statusUrl?: string
  /** For a text with all its retries. */
  timeoutMs: number
  /** From 0 to below 1. */
  random: () => number
  /** Resolves after so many milliseconds; rejects when `signal` aborts before. */
  wait: (ms: number, signal: AbortSignal) => Promise<void>
}

/**
 * Sends by Twilio's Messages resource, again at most twice after a 429 or 5xx, with full jitter; never after a silence, a reset or anything
 * else that leaves open whether the text is on its way. Rejects with NumberRefused for Twilio's own refusals of the number, else with a plain error, in time.
 */
export function createTwilioSms ({ accountSid, authToken, from, channel, apiUrl = TWILIO_URL, statusUrl, timeoutMs, random, wait }: TwilioOptions): SendSms {
  const relay = new RelayClient(apiUrl, timeoutMs)
  const address = (number: string) => channel === 'whatsapp' ? `whatsapp:${number}` : number

  return async ({ to, body, reference }) => {
    const deadline = AbortSignal.timeout(timeoutMs)
    const { messages } = twilio(accountSid, authToken, { httpClient: relay.until(deadline) })
    const statusCallback = statusUrl && `${statusUrl}?${new URLSearchParams({ reference })}`
    for (let retries = 0; ; retries++) {
      try {
        const { sid } = await messages.create({ to: address(to), from: address(from), body, ...(statusCallback && { statusCallback }) })
        if (sid === undefined) throw new Error('an answer without a message')
        return
      } catch (error) {
        if (isAnswer(error) && REFUSED.has(Number(error.code))) throw new NumberRefused(`Twilio ${error.code}`)
        if (retries === MOST_RETRIES || !isAnswer(error) || !(error.status === 429 || error.status >= 500)) throw new Error(reason(error))
        await wait(random() * BACKOFF_MS * 2 ** retries, deadline).catch(() => { throw new Error(reason(error)) })
      }
    }
  }
}

/** The SDK's own client, at another base URL. */
class RelayClient extends twilio.RequestClient {
  constructor (private readonly base: string, timeout: number) {
    super({ timeout })
  }

  /** The same client, with the same connections, for what must end by `signal`. */
  until (signal: AbortSignal): RelayClient {
    const { axios } = this
    return Object.assign(Object.create(this) as RelayClient, { axios: (config: object) => axios({ ...config, signal }) })
  }

  override request<T> (options: RequestClient.RequestOptions<T>) {
    return super.request({ ...options, uri: options.uri.replace(TWILIO_URL, this.base.replace(/\/+$/, '')) })
  }
}

const isAnswer = (error: unknown): error is { status: number, code?: number } =>
  error instanceof twilio.RestException || error instanceof TwilioServiceException.default

/** What went wrong, without the request: it holds the number and the code. */
function reason (error: unknown): string {
  if (isAnswer(error)) return `Twilio answered ${error.status}, code ${error.code}`
  return `Twilio could not be asked: ${error instanceof Error && 'code' in error ? error.code : 'no sensible answer'}`
}
