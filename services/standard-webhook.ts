import { createHmac } from 'node:crypto'

const PREFIX = 'whsec_'

/** The bytes of a secret `whsec_<base64>`; undefined if it is none, or has not 24 to 64 bytes. */
export function webhookKey (secret: string): Buffer | undefined {
  const text = secret.slice(PREFIX.length)
  const key = Buffer.from(text, 'base64')
  const isCanonical = key.toString('base64').replace(/=+$/, '') === text.replace(/=+$/, '')
  return secret.startsWith(PREFIX) && isCanonical && key.length >= 24 && key.length <= 64 ? key : undefined
}

/**
 * The headers of a message, signed by the Standard Webhooks specification 1.0.0. A receiver knows a repetition by `id`.
 */
export function webhookHeaders (id: string, at: Date, body: string, key: Buffer): Record<string, string> {
  const timestamp = String(Math.floor(at.getTime() / 1000))
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': `v1,${signature}`
  }
}
