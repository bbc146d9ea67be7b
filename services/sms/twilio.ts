import { NumberRefused, SmsUnconfirmed, type SmsProvider } from '../ports.js'
import { postOnce, throwRefused, type Answer } from './post-once.js'

/** Twilio's codes for a number that takes no SMS: invalid, region not allowed, unsubscribed, not mobile. */
const REFUSED = new Set([21211, 21408, 21610, 21614])
const TWILIO_URL = 'https://api.twilio.com'
const MAX_RETRIES = 2
const BACKOFF_MS = 200

export interface TwilioOptions {
  accountSid: string
  authToken: string
  from: string
  channel: 'sms' | 'whatsapp'
  /** Another base URL, for a relay or a test. */
  apiUrl?: string
  /** Where Twilio reports the delivery of an SMS, with its `reference` in the query. Optional. */
  statusUrl?: string
  /** From 0 to below 1. */
  random: () => number
  /** Resolves after this many milliseconds; rejects when `signal` aborts before. */
  wait: (ms: number, signal: AbortSignal) => Promise<void>
}

/**
 * Sends by Twilio's Messages resource (https://www.twilio.com/docs/messaging/api/message-resource). Retries at most
 * twice, after a 429 or 5xx, with full jitter; never where the SMS may be on its way.
 */
export function createTwilioSms ({
  accountSid,
  authToken,
  from,
  channel,
  apiUrl = TWILIO_URL,
  statusUrl,
  random,
  wait
}: TwilioOptions): SmsProvider {
  const url = `${apiUrl.replace(/\/+$/, '')}/2010-04-01/Accounts/${accountSid}/Messages.json`
  const headers = {
    'content-type': 'application/x-www-form-urlencoded',
    authorization: `Basic ${Buffer.from(`${accountSid}:${authToken}`).toString('base64')}`
  }
  const address = (number: string) => channel === 'whatsapp' ? `whatsapp:${number}` : number

  return async ({ to, body, reference }, timeoutMs) => {
    const deadline = performance.now() + timeoutMs
    const form = new URLSearchParams({
      To: address(to),
      From: address(from),
      Body: body,
      ...(statusUrl && { StatusCallback: `${statusUrl}?${new URLSearchParams({ reference })}` })
    })
    for (let retries = 0; ; retries++) {
      const answer = await postOnce(url, headers, form.toString(), Math.max(1, deadline - performance.now()))
      const { sid, code } = membersOf(answer)
      if (answer.status >= 200 && answer.status <= 299) {
        if (sid === undefined) throw new SmsUnconfirmed(`Twilio answered ${answer.status} without a message`)
        return
      }
      if (REFUSED.has(Number(code))) throw new NumberRefused(`Twilio ${code}`)
      const isBusy = answer.status === 429 || (answer.status >= 500 && answer.status !== 504)
      if (retries === MAX_RETRIES || !isBusy) throwRefused('Twilio', answer, code)
      const left = deadline - performance.now()
      await wait(random() * BACKOFF_MS * 2 ** retries, AbortSignal.timeout(Math.max(0, Math.floor(left)))).catch(() =>
        throwRefused('Twilio', answer, code))
    }
  }
}

function membersOf ({ body }: Answer): { sid?: string, code?: number } {
  try {
    const { sid, code } = JSON.parse(body) as Record<string, unknown>
    return { ...(typeof sid === 'string' && { sid }), ...(typeof code === 'number' && { code }) }
  } catch {
    return {}
  }
}
