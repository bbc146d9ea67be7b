import type { OtpRequest, OtpVerification } from '../../schemas/auth.js'
import { requirePhone } from '../phone.js'
import type { Clock, RequestContext } from '../ports.js'
import type { createLogin } from './login.js'
import type { createTestNumbers } from './test-numbers.js'

export interface SignInOptions<Opened> {
  login: Pick<ReturnType<typeof createLogin>, 'requestOtp' | 'verifyOtp'>
  /** Opens a session in the account of a number. Undefined for a blocked account. */
  open: (
    phone: string,
    requestContext: RequestContext,
    options: { refreshable?: boolean, endsBy?: Date }
  ) => Promise<Opened | undefined>
  testNumbers: Pick<ReturnType<typeof createTestNumbers>, 'endOf'>
  region: string
  now: Clock
}

/** Sign-in by a code: the login's rules first, then a session. */
export function createSignIn<Opened> ({ login, open, testNumbers, region, now }: SignInOptions<Opened>) {
  return { requestOtp, verifyOtp }

  /** Sends a code. 400, 429. */
  async function requestOtp ({ phone, platform = 'other' }: OtpRequest, requestContext: RequestContext): Promise<void> {
    await login.requestOtp(requirePhone(phone, region, 'phone'), platform, requestContext)
  }

  /** Opens a session. Undefined for a wrong code and for a blocked account. 400, 429. */
  async function verifyOtp (
    { phone: typed, otp, refresh: refreshable }: OtpVerification,
    requestContext: RequestContext
  ): Promise<Opened | undefined> {
    const phone = requirePhone(typed, region, 'phone')
    const guessedAt = now()
    if (!await login.verifyOtp(phone, otp, requestContext)) return undefined
    return open(phone.e164, requestContext, { refreshable, endsBy: testNumbers.endOf(phone.e164, guessedAt) })
  }
}
