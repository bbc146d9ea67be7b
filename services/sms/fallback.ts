import { NumberRefused, SmsUnconfirmed, type Log, type SendSms, type SmsProvider } from '../ports.js'

/**
 * Sends by the first provider. Asks the next one if it has failed, but never if the SMS may have been sent. All
 * together take at most twice `timeoutMs`, the time of one.
 */
export function createFallback (providers: SmsProvider[], timeoutMs: number, log: Log): SendSms {
  return async message => {
    const deadline = performance.now() + 2 * timeoutMs
    for (const [i, provider] of providers.entries()) {
      try {
        return await provider(message, Math.max(1, Math.min(timeoutMs, deadline - performance.now())))
      } catch (err) {
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
