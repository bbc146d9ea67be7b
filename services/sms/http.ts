import type { SmsProvider } from '../ports.js'
import { postOnce, throwRefused } from './post-once.js'

export interface HttpSmsOptions {
  url: string
  token?: string
}

/** Sends by any gateway that takes a JSON `POST {"to", "body"}` with a bearer token (RFC 6750) and answers 2xx. */
export function createHttpSms ({ url, token }: HttpSmsOptions): SmsProvider {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) }
  return async ({ to, body }, timeoutMs) => {
    const answer = await postOnce(url, headers, JSON.stringify({ to, body }), timeoutMs)
    if (answer.status < 200 || answer.status > 299) throwRefused('the gateway', answer)
  }
}
