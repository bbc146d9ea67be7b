import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * Refresh tokens are not stored: `<account>.<sid>.<n>.<MAC>`, where the MAC is HMAC-SHA-256(secret, …) over the rest. A
 * replaced token can therefore get the same successor as a parallel request, and a leaked database gives none.
 */
export function createRefreshTokens (secret: string) {
  const mac = (body: string) => createHmac('sha256', secret).update(`refresh\0${body}`).digest()
  return {
    issue (account: string, sid: string, n: number): string {
      const body = `${account}.${sid}.${n}`
      return `${body}.${mac(body).toString('base64url')}`
    },

    /** Undefined for every token that was not issued here. */
    read (token: string): { account: string, sid: string, n: number } | undefined {
      const [, body, account, sid, n, tag] =
        /^(([0-9a-f]{24})\.([0-9a-f]{24})\.(0|[1-9][0-9]{0,8}))\.([\w-]{43})$/.exec(token) ?? []
      if (body === undefined || account === undefined || sid === undefined || tag === undefined) return undefined
      const expected = Buffer.from(mac(body).toString('base64url'))
      return timingSafeEqual(expected, Buffer.from(tag)) ? { account, sid, n: Number(n) } : undefined
    }
  }
}
