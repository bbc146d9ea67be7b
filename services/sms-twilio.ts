import twilio from 'twilio'
import type RequestClient from 'twilio/lib/base/RequestClient.js'
import { NumberRefused, type SendSms } from './ports.js'

/** Twilio's codes for a number that takes no texts: invalid, region not allowed, unsubscribed, no mobile. */
const REFUSED = new Set([21211, 21408, 21610, 21614])
const TWILIO_URL = 'https://api.twilio.com'

export interface TwilioOptions {
  accountSid: string
  authToken: string
  from: string
  channel: 'sms' | 'whatsapp'
  /** Another base URL, for a relay or a test. */
  apiUrl?: string
  timeoutMs: number
}

/** Sends by Twilio's Messages resource. Rejects with NumberRefused for Twilio's own refusals of the number, else with a plain error, in time. */
export function createTwilioSms ({ accountSid, authToken, from, channel, apiUrl = TWILIO_URL, timeoutMs }: TwilioOptions): SendSms {
  const client = twilio(accountSid, authToken, { httpClient: new RelayClient(apiUrl, timeoutMs) })
  const address = (number: string) => channel === 'whatsapp' ? `whatsapp:${number}` : number
  return async ({ to, body }) => {
    try {
      await client.messages.create({ to: address(to), from: address(from), body })
    } catch (error) {
      if (error instanceof twilio.RestException && REFUSED.has(Number(error.code))) throw new NumberRefused(`Twilio ${error.code}`)
      throw new Error(reason(error))
    }
  }
}

/** The SDK's own client, at another base URL. */
class RelayClient extends twilio.RequestClient {
  constructor (private readonly base: string, timeout: number) {
    super({ timeout })
  }

  override request<T> (options: RequestClient.RequestOptions<T>) {
    return super.request({ ...options, uri: options.uri.replace(TWILIO_URL, this.base.replace(/\/+$/, '')) })
  }
}

/** What went wrong, without the request: it holds the number and the code. */
function reason (error: unknown): string {
  if (error instanceof twilio.RestException) return `Twilio answered ${error.status}, code ${error.code}`
  return `Twilio could not be asked: ${error instanceof Error && 'code' in error ? error.code : 'no answer'}`
}
