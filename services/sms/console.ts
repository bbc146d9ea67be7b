import type { SmsProvider } from '../ports.js'

/** Writes one line instead of an SMS, to try the service without a provider: `SMS {"to":…,"body":…}`. */
export function createConsoleSms (write: (line: string) => Promise<void>): SmsProvider {
  return ({ to, body }) => write(`SMS ${JSON.stringify({ to, body })}\n`)
}
