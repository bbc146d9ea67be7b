import { NumberRefused, SmsUnconfirmed, type Log, type SendSms, type SmsProvider } from '../ports.js'

export interface NamedProvider { name: string, send: SmsProvider }

/** `refused`: the number takes no SMS. `unconfirmed`: the SMS may have been sent. */
export type SmsOutcome = 'sent' | 'refused' | 'unconfirmed' | 'failed'

const outcomeOf = (error: unknown): SmsOutcome => error instanceof NumberRefused
  ? 'refused'
  : error instanceof SmsUnconfirmed ? 'unconfirmed' : 'failed'

/**
 * Sends by the first provider. Asks the next one if it has failed, but never if the SMS may have been sent. All
 * together take at most twice `timeoutMs`, the time of one.
 */
export function createFallback (
  providers: NamedProvider[],
  timeoutMs: number,
  log: Log,
  onAttempt: (provider: string, outcome: SmsOutcome, seconds: number) => void = () => {}
): SendSms {
  return async message => {
    const deadline = performance.now() + 2 * timeoutMs
    for (const [i, { name, send }] of providers.entries()) {
      const began = performance.now()
      const end = (outcome: SmsOutcome) => onAttempt(name, outcome, (performance.now() - began) / 1000)
      try {
        await send(message, Math.max(1, Math.min(timeoutMs, deadline - began)))
        return end('sent')
      } catch (err) {
        end(outcomeOf(err))
        if (err instanceof SmsUnconfirmed) {
          log.warn(
            { event: 'sms.delivery_unconfirmed', err },
            'A provider did not say whether it has sent an SMS: it counts as sent'
          )
        }
        const isLast = i === providers.length - 1 || performance.now() >= deadline
        if (isLast || err instanceof NumberRefused || err instanceof SmsUnconfirmed) throw err
        log.warn({ event: 'sms.provider_failed', err }, 'A provider failed to send an SMS: the next one is asked')
      }
    }
  }
}
