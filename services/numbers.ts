import type { Collection } from 'mongodb'
import type { UserDocument } from '../schemas/documents.js'
import type { CurrentUser } from '../schemas/users.js'
import { invalidField, sentences, userNotFound } from './errors.js'
import type { createLogin } from './login.js'
import type { createMoves } from './moves.js'
import { requirePhone, type Phone } from './phone.js'
import type { Visitor } from './ports.js'
import type { createStanding } from './standing.js'
import { shownToSelf } from './users.js'

export interface NumbersOptions {
  users: Collection<UserDocument>
  login: Pick<ReturnType<typeof createLogin>, 'requestOtp' | 'verifyOtp'>
  moves: Pick<ReturnType<typeof createMoves>, 'move'>
  standing: Pick<ReturnType<typeof createStanding>, 'isTestNumber'>
  region: string
}

/** A new phone number for a user who can read its texts, under the login's own rules. Whether somebody has the number, only its holder learns. */
export function createNumbers ({ users, login, moves, standing, region }: NumbersOptions) {
  return {
    /** Sends a code to the new number. 400, 404 the caller is no user yet, 429. */
    async request (number: string, caller: string, visitor: Visitor): Promise<void> {
      const phone = await accepted(number, caller)
      await login.requestOtp(phone, 'other', visitor, 'number')
    },

    /** The user with their new number, everything of theirs moved; undefined for a wrong code. 400, 404, 409, 429. */
    async verify (number: string, otp: string, caller: string, visitor: Visitor): Promise<CurrentUser | undefined> {
      const phone = await accepted(number, caller)
      if (!await login.verifyOtp(phone, otp, visitor)) return undefined
      return shownToSelf(await moves.move(caller, phone.e164, visitor))
    }
  }

  /** Another number than the caller's. One whose code others know is nobody's own, and its user nobody's to take along. */
  async function accepted (number: string, caller: string): Promise<Phone> {
    const phone = requirePhone(number, region, 'number')
    const isRefused = phone.e164 === caller || standing.isTestNumber(phone.e164) || standing.isTestNumber(caller)
    if (isRefused) throw invalidField('number', sentences.value)
    if (!await users.findOne({ number: caller }, { projection: { _id: 1 } })) throw userNotFound()
    return phone
  }
}
