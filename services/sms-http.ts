import type { SendSms } from './ports.js'

export interface HttpSmsOptions {
  url: string
  token?: string
  timeoutMs: number
}

/** Sends by any gateway that takes a JSON `POST {"to", "body"}` with a bearer token (RFC 6750) and answers 2xx. Rejects on every other answer, and in time. */
export function createHttpSms ({ url, token, timeoutMs }: HttpSmsOptions): SendSms {
  return async ({ to, body }) => {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) },
      body: JSON.stringify({ to, body }),
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs)
    })
    await response.body?.cancel()
    if (!response.ok) throw new Error(`the gateway answered ${response.status}`)
  }
}
