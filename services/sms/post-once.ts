import { request as requestHttp } from 'node:http'
import { request as requestHttps } from 'node:https'
import { SmsUnconfirmed } from '../ports.js'

const MAX_ANSWER_BYTES = 64 * 1024

export interface Answer { status: number, body: string }

/**
 * One POST over a connection of its own, never repeated or redirected. Rejects with SmsUnconfirmed when the request may
 * have arrived and no whole answer came within `timeoutMs`, or at all. Rejects with another error when no connection
 * was made, so that nothing can have arrived. Keeps about 64 KiB of the body.
 */
export function postOnce (
  url: string,
  headers: Record<string, string>,
  body: string,
  timeoutMs: number
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { protocol } = new URL(url)
    const secure = protocol === 'https:'
    let connected = false
    let status: number | undefined
    let text = ''
    const finish = (settle: () => void) => {
      clearTimeout(timer)
      settle()
      request.destroy()
    }
    const fail = (reason: string) => finish(() => reject(connected ? new SmsUnconfirmed(reason) : new Error(reason)))
    const request = (secure ? requestHttps : requestHttp)(url, {
      method: 'POST',
      agent: false,
      headers: { ...headers, 'content-length': Buffer.byteLength(body), connection: 'close' }
    })
    const timer = setTimeout(
      () => fail(status === undefined ? 'no answer in time' : `no whole answer in time, status ${status}`),
      timeoutMs
    )
    request.on('socket', socket => socket.once(secure ? 'secureConnect' : 'connect', () => { connected = true }))
    request.on('response', response => {
      status = response.statusCode!
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => { if (text.length < MAX_ANSWER_BYTES) text += chunk })
      response.on('end', () => finish(() => resolve({ status: status!, body: text })))
      response.on('error', () => fail(`half an answer, status ${status}`))
      response.on('aborted', () => fail(`half an answer, status ${status}`))
    })
    request.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? 'the connection failed'))
    request.end(body)
  })
}

/**
 * Throws the error for an answer that is no 2xx. 504 means "no answer in time" from the system behind a gateway, so the
 * SMS may have been sent. Every other status says that it was not.
 */
export function throwRefused (provider: string, { status }: Answer, code?: number): never {
  const reason = `${provider} answered ${status}${code === undefined ? '' : `, code ${code}`}`
  throw status === 504 ? new SmsUnconfirmed(reason) : new Error(reason)
}
