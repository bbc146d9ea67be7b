import type { IncomingMessage } from 'node:http'
import { S3Error } from './errors.js'
import { decodeUri, isBucketName } from './names.js'

/** The target of a request, before authentication. */
export interface Target {
  method: string
  /** Decoded, with its leading slash, as it was signed. */
  path: string
  bucket: string
  key: string
  query: readonly (readonly [name: string, value: string])[]
  /** Lower-case names; repeated headers joined by a comma as SigV4 wants them. */
  headers: Map<string, string>
}

/** Throws InvalidURI. */
export function parseTarget (request: IncomingMessage): Target {
  const url = request.url ?? ''
  if (!url.startsWith('/')) throw new S3Error('InvalidURI')
  const mark = url.indexOf('?')
  const path = decodeUri(mark === -1 ? url : url.slice(0, mark))
  const headers = joinHeaders(request.rawHeaders)
  return {
    method: request.method ?? '',
    path,
    ...address(path, headers.get('host') ?? ''),
    query: mark === -1 ? [] : parseQuery(url.slice(mark + 1)),
    headers
  }
}

export function queryValue (target: Pick<Target, 'query'>, name: string): string | undefined {
  return target.query.find(([known]) => known === name)?.[1]
}

function parseQuery (text: string): (readonly [string, string])[] {
  return text.split('&').filter(part => part !== '').map(part => {
    const equals = part.indexOf('=')
    return equals === -1
      ? [decodeUri(part, true), ''] as const
      : [decodeUri(part.slice(0, equals), true), decodeUri(part.slice(equals + 1), true)] as const
  })
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

/** Path style, or virtual-hosted style under `*.localhost` and `*.s3.…`. */
function address (path: string, host: string): { bucket: string, key: string } {
  const hosted = /^(.+?)\.(?:localhost|s3[.-][a-z0-9.-]+)(?::\d+)?$/i.exec(host)?.[1]
  if (hosted !== undefined && isBucketName(hosted)) return { bucket: hosted, key: path.slice(1) }
  const slash = path.indexOf('/', 1)
  return slash === -1
    ? { bucket: path.slice(1), key: '' }
    : { bucket: path.slice(1, slash), key: path.slice(slash + 1) }
}
