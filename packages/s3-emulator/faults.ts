import { setTimeout as sleep } from 'node:timers/promises'
import type { Reply } from './call.js'
import { S3Error } from './errors.js'

const ACTIONS = [
  'slow-down', 'internal-error', 'forbidden', 'error', 'reset', 'lost-reply', 'delay', 'silence', 'broken-xml',
  'error-in-200'
] as const

export interface Fault {
  /** All given members must match; a `key` that ends with `*` is a prefix. */
  match?: { method?: string, operation?: string, key?: string }
  /**
   * `slow-down` 503, `internal-error` 500, `forbidden` 403, `error` (`code`, `status`): refused, nothing is done.
   * `reset`: the connection is reset after `bytes` bytes (default 0) of the request's body or of a read's answer.
   * `lost-reply`: the work is done, then the connection is reset. `delay`: waits `ms` before it begins.
   * `silence`: never answers. `broken-xml`: cut XML with `status` (200), nothing is done.
   * `error-in-200`: status 200 with an `<Error>` document, nothing is done.
   */
  action: typeof ACTIONS[number]
  /** How many requests fail; without it, all until the fault is cleared. */
  times?: number
  bytes?: number
  ms?: number
  status?: number
  code?: string
}

/** Thrown to reset the connection. */
export class ConnectionReset extends Error {}

export interface Befallen {
  /** Applies the fault to the request's bytes. */
  received: (source: AsyncIterable<Buffer>) => AsyncIterable<Buffer>
  /** Applies the fault to the answer. */
  replied: (reply: Reply) => Reply
  /** Runs before the operation: returns an answer in its place, throws, or waits. */
  before: (signal: AbortSignal) => Promise<Reply | undefined>
}

export class Faults {
  #faults: Fault[] = []

  /** Returns a function that removes the fault. */
  add (fault: Fault): () => void {
    const own = { ...fault }
    this.#faults.push(own)
    return () => { this.#faults = this.#faults.filter(other => other !== own) }
  }

  clear (): void {
    this.#faults = []
  }

  list (): Fault[] {
    return this.#faults
  }

  /** Returns the first fault that matches, and counts one use of it. */
  take (request: { method: string, operation: string, key: string }): Befallen | undefined {
    const fault = this.#faults.find(({ match = {}, times }) => (times ?? 1) > 0 &&
      (match.method ?? request.method) === request.method &&
      (match.operation ?? request.operation) === request.operation &&
      fitsKey(match.key, request.key))
    if (fault === undefined) return undefined
    if (fault.times !== undefined && --fault.times === 0) this.#faults = this.#faults.filter(other => other !== fault)
    return befall(fault)
  }
}

/** Reads a fault from JSON of unknown origin. Throws InvalidArgument. */
export function parseFault (text: string): Fault {
  let given: unknown
  try {
    given = JSON.parse(text)
  } catch {
    throw new S3Error('InvalidArgument', 'A fault is a JSON object')
  }
  const fault = Object(given) as Record<string, unknown>
  const match = Object(fault.match) as Record<string, unknown>
  const action = ACTIONS.find(name => name === fault.action)
  if (action === undefined) throw new S3Error('InvalidArgument', `A fault's action is one of ${ACTIONS.join(', ')}`)
  const number = (name: string): object => typeof fault[name] === 'number' ? { [name]: fault[name] } : {}
  const string = (from: Record<string, unknown>, name: string): object => typeof from[name] === 'string'
    ? { [name]: from[name] }
    : {}
  return {
    action,
    match: { ...string(match, 'method'), ...string(match, 'operation'), ...string(match, 'key') },
    ...number('times'),
    ...number('bytes'),
    ...number('ms'),
    ...number('status'),
    ...string(fault, 'code')
  }
}

function befall (fault: Fault): Befallen {
  const cuts = fault.action === 'reset'
  return {
    received: source => cuts ? cut(source, fault.bytes ?? 0) : source,
    replied: reply => {
      if (fault.action === 'lost-reply') {
        reply.release?.()
        throw new ConnectionReset()
      }
      if (!cuts || typeof reply.body !== 'object') return reply
      return { ...reply, body: { length: reply.body.length, bytes: cut(reply.body.bytes, fault.bytes ?? 0) } }
    },
    before: signal => before(fault, signal)
  }
}

async function before ({ action, ms = 0, bytes = 0, status, code }: Fault, signal: AbortSignal): Promise<
  | Reply
  | undefined> {
  switch (action) {
    case 'slow-down': throw new S3Error('SlowDown')
    case 'internal-error': throw new S3Error('InternalError')
    case 'forbidden': throw new S3Error('AccessDenied')
    case 'error': throw new S3Error(code ?? 'InternalError', undefined, {}, {}, status)
    case 'broken-xml': return {
      status: status ?? 200,
      headers: { 'content-type': 'application/xml' },
      body: '<?xml version="1.0" encoding="UTF-8"?>\n<Result><Key>cut'
    }
    case 'error-in-200': throw new S3Error(code ?? 'InternalError', undefined, {}, {}, 200)
    case 'reset': if (bytes === 0) throw new ConnectionReset()
      return undefined
    case 'delay': await sleep(ms, undefined, { signal })
      return undefined
    case 'silence': return await new Promise((_resolve, reject) => {
      if (signal.aborted) reject(new ConnectionReset())
      signal.addEventListener('abort', () => { reject(new ConnectionReset()) }, { once: true })
    })
    case 'lost-reply': return undefined
  }
}

async function * cut (source: AsyncIterable<Buffer>, bytes: number): AsyncGenerator<Buffer> {
  let left = bytes
  for await (const chunk of source) {
    if (chunk.length >= left) {
      if (left > 0) yield chunk.subarray(0, left)
      throw new ConnectionReset()
    }
    left -= chunk.length
    yield chunk
  }
}

function fitsKey (pattern: string | undefined, key: string): boolean {
  if (pattern === undefined) return true
  return pattern.endsWith('*') ? key.startsWith(pattern.slice(0, -1)) : key === pattern
}
