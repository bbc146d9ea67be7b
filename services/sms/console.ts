import type { SmsProvider } from '../ports.js'

/** "Sends" by one line on `write`, for trying the service without a provider: `SMS {"to":…,"body":…}`. */
export function createConsoleSms (write: (line: string) => Promise<void>): SmsProvider {
  return ({ to, body }) => write(`SMS ${JSON.stringify({ to, body })}\n`)
}
