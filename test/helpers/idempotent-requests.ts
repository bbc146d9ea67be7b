import type { Reply, Service } from './service.js'
import { form, FORM_TYPE, type Part } from './multipart.js'
import { type Answer, picture, user } from './upload-requests.js'

export const reused: Answer = { status: 422, body: { error: 'This Idempotency-Key was used for another request' } }
export const underWay: Answer = { status: 409, body: { error: 'A request with this Idempotency-Key is still running' } }

let keys = 0
/** An Idempotency-Key that is new in this process. */
export const freshKey = () => `key-${++keys}`

export interface Options { token: string, key: string }
type Calls = Pick<Service, 'call'>

export const create = ({ call }: Calls, { token, key }: Options, body: object | string) =>
  call('POST', '/users', {
    token,
    body: typeof body === 'string' ? body : JSON.stringify(body),
    headers: { 'content-type': 'application/json', 'idempotency-key': key }
  })

export const uploadBytes = ({ call }: Calls, { token, key }: Options, body: Buffer, contentType = FORM_TYPE) =>
  call('POST', '/library/upload', { token, body, headers: { 'content-type': contentType, 'idempotency-key': key } })

export const upload = (service: Calls, options: Options, parts: Part[] = [user, picture]) =>
  uploadBytes(service, options, form(parts))

/** Why `again` is not the first answer repeated, with a header that says so; undefined if it is. */
export function strayOf (again: Reply, first: Reply): string | undefined {
  const headers = (name: string) => [first.headers.get(name), again.headers.get(name)]
  const [type, typeAgain] = headers('content-type')
  const [replayed, replayedAgain] = headers('idempotency-replayed')
  const [id, idAgain] = headers('x-request-id')
  if (again.status !== first.status || again.text !== first.text) return `${again.status} ${again.text}`
  if (type !== typeAgain) return `content-type ${typeAgain}`
  if (replayed !== null || replayedAgain !== 'true') return `idempotency-replayed ${replayed}, ${replayedAgain}`
  if (id === idAgain) return `x-request-id ${idAgain}`
}
