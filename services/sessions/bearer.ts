import { createHash, timingSafeEqual } from 'node:crypto'

const hash = (text: string) => createHash('sha256').update(text).digest()

/** Whether an Authorization header presents this very token (RFC 6750 §2.1), in a time that does not reveal it. */
export const isBearer = (authorization: string | undefined, token: string) =>
  timingSafeEqual(hash(/^Bearer +(.*)$/i.exec(authorization ?? '')?.[1] ?? ''), hash(token))
