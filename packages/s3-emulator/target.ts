import type { IncomingMessage } from 'node:http'
import { S3Error } from './errors.js'
import { decodeUri } from './names.js'

/** The target of a request, before authentication. */
export interface Target {
  method: string
  /** Decoded, with its leading slash, as it was signed. */
  path: string
  bucket: string
  key: string
  query: ReadonlyMap<string, string>
  /** Lower-case names; repeated headers joined by a comma as SigV4 wants them. */
  headers: ReadonlyMap<string, string>
}

/** Addresses are path-style. Throws InvalidURI. */
export function parseTarget (request: IncomingMessage): Target {
  const url = request.url ?? ''
  if (!url.startsWith('/')) throw new S3Error('InvalidURI')
  const [, rawPath = '', rawQuery = ''] = /^([^?]*)\??([^]*)$/.exec(url) ?? []
  const path = decodeUri(rawPath)
  const slash = path.indexOf('/', 1)
  return {
    method: request.method ?? '',
    path,
    bucket: slash === -1 ? path.slice(1) : path.slice(1, slash),
    key: slash === -1 ? '' : path.slice(slash + 1),
    query: parseQuery(rawQuery),
    headers: joinHeaders(request.rawHeaders)
  }
}

function parseQuery (text: string): Map<string, string> {
  return new Map(text.split('&').filter(part => part !== '').map(part => {
    const [name = '', ...value] = part.split('=')
    return [decodeUri(name, true), decodeUri(value.join('='), true)]
  }))
}

function joinHeaders (raw: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>()
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase()
    const value = raw[i + 1]!.trim()
    const earlier = headers.get(name)
    headers.set(name, earlier === undefined ? value : `${earlier},${value}`)
  }
  return headers
}
