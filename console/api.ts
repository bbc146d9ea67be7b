import createClient from 'openapi-fetch'
import type { components, paths } from './openapi.js'
import { Refusal, toRefusal, UNREACHABLE } from './refusal.js'
import { findSession, forgetSession } from './session.js'

type Schemas = components['schemas']
export type Item = Schemas['LibraryItem']
export type UploadForm = Schemas['UploadForm']
export type Fit = NonNullable<UploadForm['fit']>
export type Uploaded = Schemas['FileUploaded']

/** The folder of the page. Behind a proxy it may have a prefix. */
export const base = new URL('.', document.baseURI).href.replace(/\/$/, '')

/** Calls the public API by the types of openapi.json. */
export const api = createClient<paths>({ baseUrl: base })
api.use({
  onRequest ({ request }) {
    const session = findSession()
    if (session) request.headers.set('authorization', `Bearer ${session.token}`)
    return request
  },
  onResponse ({ request, response }) {
    if (response.status === 401) sessionEnded(request.headers.get('authorization'))
  }
})

let onSessionEnd = () => {}
/** Sets what happens when the server no longer knows the session. */
export function whenSessionEnds (listener: () => void): void {
  onSessionEnd = listener
}

/** A late answer to the session before says nothing about the one that is kept now. */
function sessionEnded (authorization: string | null): void {
  const session = findSession()
  if (session && authorization !== `Bearer ${session.token}`) return
  forgetSession()
  onSessionEnd()
}

/** The data of an answer. Throws a Refusal for every answer outside 2xx, and where there is none. */
export async function ask<T> (
  call: Promise<{ data?: T, error?: unknown, response: Response }>
): Promise<NonNullable<T>> {
  const { data, error, response } = await call.catch(() => { throw new Refusal(UNREACHABLE, 0) })
  if (response.ok) return data as NonNullable<T>
  const { headers, status } = response
  throw toRefusal(status, error, headers.get('retry-after'), headers.get('x-request-id'))
}

/** The same for a call whose refusal with this status is an answer: undefined. */
export async function askOr<T> (
  status: number,
  call: Promise<{ data?: T, error?: unknown, response: Response }>
): Promise<NonNullable<T> | undefined> {
  return await ask(call).catch((error: unknown) => {
    if (error instanceof Refusal && error.status === status) return undefined
    throw error
  })
}

/**
 * Uploads a form, and tells how much of it has left. It uses XMLHttpRequest, because fetch tells no progress.
 * `key` is an Idempotency-Key: the same upload under the same key is stored once.
 */
export function upload (
  fields: Omit<UploadForm, 'file'> & { file: File },
  { key, signal, onProgress }: { key: string, signal: AbortSignal, onProgress: (share: number) => void }
): Promise<Uploaded> {
  const body = new FormData()
  const { file, ...others } = fields
  for (const [name, value] of Object.entries(others)) body.append(name, value)
  body.append('file', file) // the last one, so that the server can refuse a wrong field without reading it
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest()
    request.open('POST', `${base}/library/upload`)
    const authorization = `Bearer ${findSession()?.token ?? ''}`
    request.setRequestHeader('authorization', authorization)
    request.setRequestHeader('idempotency-key', key)
    request.responseType = 'json'
    request.upload.addEventListener('progress', ({ loaded, total }) => { onProgress(total > 0 ? loaded / total : 0) })
    signal.addEventListener('abort', () => { request.abort() })
    request.addEventListener('abort', () => { reject(new Refusal('The upload is cancelled. Nothing is lost.', 0)) })
    request.addEventListener('error', () => { reject(new Refusal(UNREACHABLE, 0)) })
    request.addEventListener('load', () => {
      const { status, response } = request
      if (status === 401) sessionEnded(authorization)
      if (status === 201) resolve(response as Uploaded)
      else {
        reject(toRefusal(
          status,
          response,
          request.getResponseHeader('retry-after'),
          request.getResponseHeader('x-request-id')
        ))
      }
    })
    request.send(body)
  })
}
