import { api, ask, askOr } from './api.js'
import type { Session } from './session.js'

/** The person who is signed in. */
export interface Me {
  account: string
  phone: string
  /** Undefined until the account has a name. */
  name: string | undefined
  isAdmin: boolean
}

export async function loadMe ({ account, phone }: Session): Promise<Me> {
  const user = await askOr(404, api.GET('/users/me'))
  if (user) return { account, phone: user.number, name: user.username, isAdmin: user.admin }
  // the API tells nothing about an account without a name, so ask for what only admins get
  const page = await askOr(403, api.GET('/users', { params: { query: { limit: 1 } } }))
  return { account, phone, name: undefined, isAdmin: page !== undefined }
}

/** Gives the account its name, or another one. */
export async function rename (me: Me, name: string): Promise<void> {
  if (me.name === undefined) await ask(api.POST('/users', { body: { username: name, number: me.phone } }))
  else await ask(api.PATCH('/users/me', { body: { username: name } }))
  me.name = name.trim()
}

/** The label that the API wants of each upload. */
export const labelOf = ({ name, account }: Me) => name ?? account
