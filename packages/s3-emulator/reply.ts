import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Reply } from './call.js'
import { S3Error } from './errors.js'
import { xmlDocument } from './xml.js'

export interface ReplyContext { method: string, requestId: string, resource: string, now: Date }

export function newRequestId (): string {
  return randomBytes(8).toString('hex').toUpperCase()
}

/** The `<Error>` document of an S3Error. Any other error becomes an InternalError without details. */
export function errorReply (
  error: unknown,
  { requestId, resource }: Pick<ReplyContext, 'requestId' | 'resource'>
): Reply {
  const known = error instanceof S3Error ? error : new S3Error('InternalError', shortageOf(error))
  const body = xmlDocument(
    'Error',
    {
      Code: known.code,
      Message: known.message,
      ...known.details,
      Resource: resource,
      RequestId: requestId
    },
    false
  )
  return { status: known.status, headers: { 'content-type': 'application/xml', ...known.headers }, body }
}

/** Sends the reply and resolves when the last byte has left; fails when the client has gone or the source fails. */
export async function sendReply (
  response: ServerResponse,
  reply: Reply,
  { method, requestId, now }: ReplyContext
): Promise<void> {
  // a destroyed response emits no further event, not even its end
  if (response.destroyed) throw new Error('The client has gone')
  const { body } = reply
  response.statusCode = reply.status
  response.sendDate = false
  const headers = {
    'x-amz-request-id': requestId,
    date: now.toUTCString(),
    ...reply.headers,
    server: 'AmazonS3'
  }
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) response.setHeader(name, headerText(String(value)))
  }
  if (body !== undefined) {
    response.setHeader('content-length', typeof body === 'string' ? Buffer.byteLength(body) : body.length)
  }
  if (body === undefined || method === 'HEAD' || typeof body === 'string') {
    await new Promise<void>((resolve, reject) => {
      response.once('error', reject)
      response.once('close', resolve)
      response.end(method === 'HEAD' || typeof body !== 'string' ? undefined : body, resolve)
    })
  } else {
    await pipeline(Readable.from(body.bytes), response)
  }
}

/** Header values are bytes: wider characters become UTF-8, control characters become spaces. */
function headerText (value: string): string {
  const isWide = [...value].some(char => char > '\xff')
  const bytes = isWide ? Buffer.from(value).toString('latin1') : value
  return Array.from(bytes, byte => byte < ' ' || byte === '\x7f' ? ' ' : byte).join('')
}

/** Shortages of the machine, named so that clients do not take them for an error of the server. */
const SHORTAGES: Record<string, string> = {
  EMFILE: 'Too many open files.',
  ENFILE: 'Too many open files.',
  ENOMEM: 'Out of memory.',
  ENOSPC: 'No space left on device.'
}
const shortageOf = (error: unknown) => SHORTAGES[(error as NodeJS.ErrnoException | undefined)?.code ?? '']
