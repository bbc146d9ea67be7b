import type { Env } from '../../schemas/env.js'
import { listOf } from '../config.js'
import { toAsciiDigits } from '../digits.js'
import { normalizePhone } from '../phone.js'
import type { Clock } from '../ports.js'

/**
 * The numbers of OTP_TEST_NUMBERS with their fixed codes, for app store reviewers, until OTP_TEST_NUMBERS_UNTIL (a day
 * counts whole, in UTC). After that they are numbers like any other.
 */
export function createTestNumbers (
  {
    OTP_TEST_NUMBERS,
    OTP_TEST_NUMBERS_UNTIL,
    DEFAULT_REGION
  }: Pick<Env, 'OTP_TEST_NUMBERS' | 'OTP_TEST_NUMBERS_UNTIL' | 'DEFAULT_REGION'>,
  now: Clock
) {
  const codes = new Map(listOf(OTP_TEST_NUMBERS).map(entry => {
    const [number = '', code = ''] = entry.split(':')
    return [normalizePhone(number, DEFAULT_REGION), toAsciiDigits(code)]
  }))
  const end = OTP_TEST_NUMBERS_UNTIL === undefined ? Infinity : lastMoment(OTP_TEST_NUMBERS_UNTIL)
  return {
    /** The fixed code of a test number; undefined for every other. */
    codeOf: (phone: string): string | undefined => now().getTime() < end ? codes.get(phone) : undefined,

    /**
     * The latest end of what a test number's code opened `at`: the next holder is another person. Undefined for other
     * numbers, and without an end.
     */
    endOf (phone: string, at: Date): Date | undefined {
      return codes.has(phone) && at.getTime() < end && end < Infinity ? new Date(end) : undefined
    }
  }
}

const DAY_MS = 24 * 3600 * 1000
const lastMoment = (text: string) => Date.parse(text) + (text.includes('T') ? 0 : DAY_MS)
