/** The sign-in that this browser keeps. README.md says why it is kept like this. */
export interface Session {
  token: string
  /** As it was typed at the sign-in. */
  phone: string
  /** The account's id. */
  account: string
}

const KEY = 'hookaba.session'

export function findSession (): Session | undefined {
  const text = localStorage.getItem(KEY)
  return text === null ? undefined : JSON.parse(text) as Session
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
