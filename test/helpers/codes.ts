import { stateOf } from '../../services/login/otp-store.js'
import { freshAddress } from './accounts.js'
import type { Reply, Service } from './service.js'

/** Asks for a code, from a client address of its own unless the service trusts no proxy. */
export const askForCode = ({ call }: Service, phone: string, more: { platform?: string } = {}): Promise<Reply> =>
  call('POST', '/auth/request-otp', { json: { phone, ...more }, headers: { 'x-forwarded-for': freshAddress() } })

/** Submits a code. */
export const submitCode = ({ call }: Service, phone: string, otp: string): Promise<Reply> =>
  call('POST', '/auth/verify-otp', { json: { phone, otp } })

/** Lets the service send a code. Resolves with the code. */
export async function requestCode (service: Service, phone: string): Promise<string> {
  const { status, text } = await service.call('POST', '/auth/request-otp', { json: { phone } })
  if (status !== 200) throw new Error(`request of a code for ${phone}: ${status} ${text}`)
  return service.lastCode(phone)
}

/** A code other than the phone's last one. */
export const wrongCode = ({ lastCode }: Pick<Service, 'lastCode'>, phone: string): string =>
  String((Number(lastCode(phone)) + 1) % 1_000_000).padStart(6, '0')

/** Submits wrong codes, one after the other. Rejects when one is not answered as a wrong code. */
export async function useWrongCode (service: Service, phone: string, times = 1): Promise<void> {
  for (let i = 1; i <= times; i++) {
    const json = { phone, otp: wrongCode(service, phone) }
    const { status, body, text } = await service.call('POST', '/auth/verify-otp', { json })
    if (status !== 200 || body.success !== false) throw new Error(`wrong code ${i} of ${phone}: ${status} ${text}`)
  }
}

/** The stored state of a phone's codes; undefined without one. */
export const otpStateOf = async ({ app }: Pick<Service, 'app'>, phone: string) =>
  stateOf(await app.collections.otps.findOne({ _id: phone }))
