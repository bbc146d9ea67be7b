import type { IncomingMessage, ServerResponse } from 'node:http'
import { authenticate, type Identity } from './auth.js'
import { openBody } from './body.js'
import { xmlReply, type Call, type Reply, type Settings } from './call.js'
import { refuseUnsupported } from './describe.js'
import { S3Error } from './errors.js'
import { ConnectionReset, parseFault, type Faults } from './faults.js'
import { checkKey, isBucketName } from './names.js'
import { findOperation, type Operation } from './operations.js'
import { isAllowed } from './policy.js'
import { errorReply, newRequestId, sendReply } from './reply.js'
import { RequestBytes } from './request-bytes.js'
import { equalText } from './signature.js'
import type { Store } from './store.js'
import { parseTarget, type Target } from './target.js'

export interface HandlerOptions { store: Store, faults: Faults, settings: Settings }

interface Context extends HandlerOptions { bytes: RequestBytes, signal: AbortSignal }

const FAULTS_BUCKET = '_faults'

/**
 * Answers any request, and reads its body to the end so that the connection stays in step. Never rejects: a client that
 * has left is not an error.
 */
export async function handle (
  request: IncomingMessage,
  response: ServerResponse,
  options: HandlerOptions
): Promise<void> {
  const gone = new AbortController()
  response.once('close', () => { gone.abort() })
  const bytes = new RequestBytes(request, response)
  const context = {
    method: request.method ?? '',
    requestId: newRequestId(),
    resource: (request.url ?? '').split('?')[0] ?? '',
    now: options.settings.now()
  }
  let release: (() => void) | undefined
  try {
    const reply = await perform(request, { ...options, bytes, signal: gone.signal })
      .catch((error: unknown) => {
        if (error instanceof ConnectionReset || response.destroyed) throw error
        return errorReply(error, context)
      })
    release = reply.release
    if (!bytes.canContinue()) response.setHeader('connection', 'close')
    await sendReply(response, reply, context)
    await bytes.drain()
  } catch (error) {
    if (error instanceof ConnectionReset) response.socket?.resetAndDestroy()
    response.destroy()
  } finally {
    release?.()
  }
}

async function perform (request: IncomingMessage, context: Context): Promise<Reply> {
  const target = parseTarget(request)
  if (target.bucket === FAULTS_BUCKET) return await administerFaults(target, context)
  if (target.method === 'OPTIONS') {
    throw target.headers.has('origin')
      ? new S3Error('AccessForbidden')
      : new S3Error('BadRequest', 'Insufficient information. Origin request header needed.')
  }
  const identity = authenticate(target, context.settings)
  const operation = findOperation(target)
  if (target.bucket !== '' && !isBucketName(target.bucket)) {
    throw new S3Error('InvalidBucketName', undefined, { BucketName: target.bucket })
  }
  checkKey(target.key)
  const befallen = context.faults.take({ method: target.method, operation: operation.name, key: target.key })
  const instead = await befallen?.before(context.signal)
  if (instead !== undefined) return instead
  const body = openBody(target, identity.payload, befallen?.received(context.bytes) ?? context.bytes)
  const call: Call = {
    ...target,
    identity,
    body,
    store: context.store,
    settings: context.settings,
    allows: action => permits(context, target, identity, action)
  }
  authorize(context, operation, call)
  refuseUnsupported(call.headers)
  if (operation.takesBody !== true) await body.text()
  const reply = withCors(await operation.run(call), operation, call)
  return befallen?.replied(reply) ?? reply
}

function authorize (context: Context, operation: Operation, call: Call): void {
  if (operation.level !== 'service' && operation.name !== 'CreateBucket') context.store.bucket(call.bucket)
  if (operation.byForm === true) return
  if (!permits(context, call, call.identity, operation.action)) throw new S3Error('AccessDenied')
}

function permits ({ store }: Context, { bucket, key }: Target, { principal }: Identity, action: string): boolean {
  const policy = bucket === '' ? undefined : store.findBucket(bucket)?.policy
  // The owner can always change the policy, or a wrong one could never be repaired.
  if (principal === 'owner' && action.endsWith('BucketPolicy')) return true
  const ofBucket = key === '' || action === 's3:ListBucket'
  return isAllowed(policy, bucket, {
    principal,
    action,
    resource: ofBucket ? `arn:aws:s3:::${bucket}` : `arn:aws:s3:::${bucket}/${key}`
  })
}

/** `PUT /_faults` with a fault as JSON, `GET` for the list, `DELETE` to clear; signed, or with Basic credentials. */
async function administerFaults (target: Target, { faults, settings, bytes }: Context): Promise<Reply> {
  const { accessKeyId, secretAccessKey } = settings.credentials
  const basic = `Basic ${Buffer.from(`${accessKeyId}:${secretAccessKey}`).toString('base64')}`
  const isBasic = equalText(target.headers.get('authorization') ?? '', basic)
  const identity: Identity = isBasic
    ? { principal: 'owner', presigned: false, payload: { kind: 'plain' } }
    : authenticate(target, settings)
  if (identity.principal !== 'owner') throw new S3Error('AccessDenied')
  const text = await openBody(target, identity.payload, bytes).text()
  switch (target.method) {
    case 'PUT': faults.add(parseFault(text))
      return { status: 204 }
    case 'DELETE': faults.clear()
      return { status: 204 }
    case 'GET': return { ...xmlReply(JSON.stringify(faults.list())), headers: { 'content-type': 'application/json' } }
  }
  throw new S3Error('MethodNotAllowed')
}

/** Any web page may read public objects, as from a bucket that is set up to serve them. */
function withCors (reply: Reply, operation: Operation, { headers }: Call): Reply {
  if (operation.action !== 's3:GetObject' || !headers.has('origin')) return reply
  return {
    ...reply,
    headers: { ...reply.headers, 'access-control-allow-origin': '*', 'access-control-expose-headers': 'ETag' }
  }
}
