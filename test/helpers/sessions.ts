import type { Test } from 'tap'
import { claimsOf } from './accounts.js'
import { startServices } from './backends.js'
import { requestCode } from './codes.js'
import { startService, type Service } from './service.js'

export const DAY = 24 * 3600
export const INVALID_TOKEN = { status: 401, body: { error: 'Invalid access token' } }
export const INVALID_REFRESH = { status: 401, body: { error: 'Invalid refresh token' } }
/** The secret of the replaced system as an operator gives it, with a space at its end. */
export const LEGACY_SECRET = 'super-secret, of old '

/** Starts two services on one database and one clock, which take tokens of the replaced system. */
export async function startTwoServices (t: Test) {
  const services = await startServices(t)
  const service = await startService(t, { services, env: { JWT_LEGACY_SECRET: LEGACY_SECRET } })
  /** In effect another process: its own cache, the same clock, the same database. */
  const other = await startService(t, {
    services,
    env: { JWT_LEGACY_SECRET: LEGACY_SECRET },
    now: () => service.clock.now
  })
  const me = (token: string, at: Pick<Service, 'call'> = service) => at.call('GET', '/auth/sessions', { token })
  const signedIn = async (token: string, at: Pick<Service, 'call'> = service) => (await me(token, at)).status === 200
  /** A further sign-in of a phone. */
  const signIn = async (phone: string) => { service.clock.advance(1); return (await service.signIn(phone)).token }
  return { services, service, other, me, signedIn, signIn }
}

/** The id of the session of an access token. */
export const idOf = (token: string): string => claimsOf(token).sid

/** Signs a phone in with the code of its SMS. `extra` are further members of the request. */
export async function verify (at: Service, phone: string, extra: object = {}) {
  const otp = await requestCode(at, phone)
  return at.call('POST', '/auth/verify-otp', { json: { phone, otp, ...extra } })
}
