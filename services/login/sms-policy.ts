import type { Config } from '../../schemas/env.js'
import { listOf, sendsRealTexts } from '../config.js'
import type { Phone } from '../phone.js'
import type { SmsGuardOptions } from './sms-guard.js'

const MAX_SMS_PER_HOUR = 500
const MAX_SMS_PER_DAY = 2000

export interface SmsPolicy extends SmsGuardOptions {
  /** Whether an SMS may go to this number at all. */
  takesSms: (phone: Phone) => boolean
}

/**
 * The limits of SMS by the environment. Where an SMS costs money, there are caps and a fraud guard by default, and only
 * mobile numbers of SMS_ALLOWED_COUNTRIES get one.
 */
export function smsPolicy (config: Config): SmsPolicy {
  const costly = sendsRealTexts(config)
  const countries = listOf(config.SMS_ALLOWED_COUNTRIES)
  return {
    caps: {
      hour: config.SMS_HOURLY_CAP ?? (costly ? MAX_SMS_PER_HOUR : 0),
      day: config.SMS_DAILY_CAP ?? (costly ? MAX_SMS_PER_DAY : 0)
    },
    ...(costly &&
      config.FRAUD_MIN_SMS > 0 &&
      { fraud: { minSms: config.FRAUD_MIN_SMS, minVerified: config.FRAUD_MIN_VERIFIED } }),
    takesSms: ({ country, isMobile }) => !costly || (countries.includes(country) && isMobile)
  }
}
