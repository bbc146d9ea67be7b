import { createHmac } from 'node:crypto'

/**
 * A name for `value` that does not reveal it: 24 hex digits of HMAC-SHA-256(secret, label ‖ 0 ‖ value). Another `label`
 * gives another name.
 */
export const keyedHash = (secret: string, label: string, value: string) =>
  createHmac('sha256', secret).update(`${label}\0${value}`).digest('hex').slice(0, 24)
