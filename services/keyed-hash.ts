import { createHmac } from 'node:crypto'

/**
 * What `value` is called where it must not be read again: 24 hex digits of HMAC-SHA-256(secret, label ‖ 0 ‖ value).
 * Another `label`, another name.
 */
export const keyedHash = (secret: string, label: string, value: string) =>
  createHmac('sha256', secret).update(`${label}\0${value}`).digest('hex').slice(0, 24)
