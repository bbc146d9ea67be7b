import type { IncomingMessage, ServerResponse } from 'node:http'
import { authenticate } from './auth.js'
import { openBody } from './body.js'
import { createBucket } from './buckets.js'
import type { Call, Reply, Settings } from './call.js'
import { S3Error } from './errors.js'
import { refuseUnsupported } from './headers.js'
import { checkKey, isBucketName } from './names.js'
import { findOperation, type Operation } from './operations.js'
import { isPublic } from './policy.js'
import { errorReply, newRequestId, sendReply } from './reply.js'
import { RequestBytes } from './request-bytes.js'
import type { Store } from './store.js'
import { parseTarget } from './target.js'

/**
 * Answers any request, and reads its body to the end so that the connection stays in step. Never rejects: a client that
 * has left is not an error.
 */
export async function handle (
  request: IncomingMessage,
  response: ServerResponse,
  store: Store,
  settings: Settings
): Promise<void> {
  const bytes = new RequestBytes(request, response)
  const context = {
    method: request.method ?? '',
    requestId: newRequestId(),
    resource: (request.url ?? '').split('?')[0] ?? '',
    now: settings.now()
  }
  let release: (() => void) | undefined
  try {
    const reply = await perform(request, bytes, store, settings).catch((error: unknown) => {
      if (response.destroyed) throw error
      return errorReply(error, context)
    })
    release = reply.release
    if (!bytes.canContinue()) response.setHeader('connection', 'close')
    await sendReply(response, reply, context)
    await bytes.drain()
  } catch {
    response.destroy()
  } finally {
    release?.()
  }
}

async function perform (
  request: IncomingMessage,
  bytes: RequestBytes,
  store: Store,
  settings: Settings
): Promise<Reply> {
  const target = parseTarget(request)
  const { isOwner, sha256 } = authenticate(target, settings)
  const operation = findOperation(target)
  if (!isBucketName(target.bucket)) {
    throw new S3Error('InvalidBucketName', undefined, { BucketName: target.bucket })
  }
  checkKey(target.key)
  const call = { ...target, isOwner, body: openBody(target.headers, sha256, bytes), store, settings }
  authorize(operation, call)
  refuseUnsupported(target)
  const reply = await operation.run(call)
  if (operation.access !== 'public' || !target.headers.has('origin')) return reply
  // Any web page may read public objects, as from a bucket that is set up to serve them.
  const cors = { 'access-control-allow-origin': '*', 'access-control-expose-headers': 'ETag' }
  return { ...reply, headers: { ...reply.headers, ...cors } }
}

function authorize ({ access, run }: Operation, { store, bucket, key, isOwner }: Call): void {
  const policy = run === createBucket ? undefined : store.bucket(bucket).policy
  const isAllowed = isOwner || access === 'form' ||
    (access === 'public' && policy !== undefined && isPublic(policy, bucket, key))
  if (!isAllowed) throw new S3Error('AccessDenied')
}
