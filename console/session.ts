/** The sign-in that this browser keeps. README.md says why it is kept like this. */
export interface Session {
  token: string
  /** As it was typed at the sign-in. */
  phone: string
  /** The account's id. */
  account: string
}

const KEY = 'hookaba.session'

/** Undefined also where the browser lets the page store nothing, and for a damaged entry. */
export function findSession (): Session | undefined {
  try {
    const session = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Session>
    return session.token && session.phone && session.account ? session as Session : undefined
  } catch {
    return undefined
  }
}

export function keepSession (token: string, phone: string): Session {
  const session = { token, phone, account: subjectOf(token) }
  localStorage.setItem(KEY, JSON.stringify(session))
  return session
}

export function forgetSession (): void {
  localStorage.removeItem(KEY)
}

/** The `sub` of a JSON Web Token (RFC 7519 §4.1.2). */
function subjectOf (token: string): string {
  const payload = token.split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/')
  return (JSON.parse(atob(payload)) as { sub: string }).sub
}
