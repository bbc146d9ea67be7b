import { checkQueryV2 } from './auth-v2.js'
import {
  checkAccessKey,
  checkScope,
  checkToken,
  isoSeconds,
  parseCredential,
  parseStamp,
  type AuthOptions
} from './credential.js'
import { S3Error } from './errors.js'
import { canonicalRequest, ChunkSigner, equalText, sign, signingKey, stringToSign, type Scope } from './signature.js'
import { queryValue, type Target } from './target.js'

const SKEW_MS = 15 * 60 * 1000
const WEEK_SECONDS = 7 * 24 * 3600
const QUERY_FIELDS = [
  'X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Date', 'X-Amz-Expires', 'X-Amz-SignedHeaders', 'X-Amz-Signature'
] as const

/** The announced form of the body: `x-amz-content-sha256`. */
export type Payload =
  | { kind: 'plain', sha256?: string }
  | { kind: 'chunks', signer?: ChunkSigner, trailer: boolean }

export interface Identity { principal: 'owner' | 'anonymous', presigned: boolean, payload: Payload }

/**
 * Returns the signer of the request, from its Authorization header or its query. Refuses every signature that does not
 * match (AWS Signature Version 4, "Authenticating Requests"; in a query Version 2 too). A request without a signature
 * is anonymous.
 */
export function authenticate (target: Target, options: AuthOptions): Identity {
  const header = target.headers.get('authorization')
  const inQuery = target.query.some(([name]) =>
    name === 'X-Amz-Algorithm' || name === 'X-Amz-Signature' || name === 'X-Amz-Credential')
  if (header !== undefined && inQuery) {
    throw new S3Error(
      'InvalidArgument',
      'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified'
    )
  }
  if (header !== undefined) return byHeader(target, header, options)
  if (inQuery) return byQuery(target, options)
  if (queryValue(target, 'Signature') !== undefined || queryValue(target, 'AWSAccessKeyId') !== undefined) {
    return byQueryV2(target, options)
  }
  return {
    principal: 'anonymous',
    presigned: false,
    payload: payloadOf(target.headers.get('x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD')
  }
}

function byHeader (target: Target, header: string, options: AuthOptions): Identity {
  const space = header.indexOf(' ')
  const scheme = header.slice(0, space)
  if (scheme === 'AWS') throw onlyVersion4()
  if (scheme !== 'AWS4-HMAC-SHA256') {
    throw new S3Error('InvalidArgument', 'Unsupported Authorization Type', { ArgumentName: 'Authorization' })
  }
  const fields = new Map(header.slice(space).split(',').map(field => {
    const [name = '', ...value] = field.trim().split('=')
    return [name, value.join('=')]
  }))
  const [
    credential, signed, signature
  ] = [fields.get('Credential'), fields.get('SignedHeaders'), fields.get('Signature')]
  if (!credential || !signed || !signature || fields.size !== 3) {
    throw new S3Error(
      'AuthorizationHeaderMalformed',
      'The authorization header is malformed; it must hold Credential, SignedHeaders and Signature.'
    )
  }
  const time = headerTime(target)
  const { accessKeyId, scope } = parseCredential(
    credential,
    'AuthorizationHeaderMalformed',
    'The authorization header is malformed'
  )
  checkAccessKey(accessKeyId, options)
  checkScope(scope, time.stamp, options, 'AuthorizationHeaderMalformed', 'The authorization header is malformed')
  if (Math.abs(options.now().getTime() - time.date.getTime()) > SKEW_MS) throw tooSkewed(time.stamp, options)
  const payloadHash = target.headers.get('x-amz-content-sha256')
  if (payloadHash === undefined) {
    throw new S3Error('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256')
  }
  const payload = payloadOf(payloadHash)
  checkToken(target.headers.get('x-amz-security-token'))
  const key = checkSignature({ target, signed, signature, payloadHash, stamp: time.stamp, scope, accessKeyId }, options)
  if (payload.kind === 'chunks' && !payloadHash.startsWith('STREAMING-UNSIGNED')) {
    payload.signer = new ChunkSigner(key, time.stamp, scope, signature)
  }
  return { principal: 'owner', presigned: false, payload }
}

function byQuery (target: Target, options: AuthOptions): Identity {
  const [algorithm, credential, stamp, expires, signed, signature] = QUERY_FIELDS.map(name => queryValue(target, name))
  if (!algorithm || !credential || !stamp || !expires || !signed || !signature) {
    throw badQuery(
      'Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.'
    )
  }
  if (algorithm !== 'AWS4-HMAC-SHA256') {
    throw badQuery('X-Amz-Algorithm only supports "AWS4-HMAC-SHA256 and AWS4-ECDSA-P256-SHA256"')
  }
  const date = parseStamp(stamp)
  if (date === undefined) throw badQuery('X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd\'T\'HHmmss\'Z\'"')
  if (!/^-?\d+$/.test(expires)) throw badQuery('X-Amz-Expires should be a number')
  if (Number(expires) < 0) throw badQuery('X-Amz-Expires must be non-negative')
  if (Number(expires) > WEEK_SECONDS) {
    throw badQuery(
      'X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds'
    )
  }
  const { accessKeyId, scope } = parseCredential(
    credential,
    'AuthorizationQueryParametersError',
    'Error parsing the X-Amz-Credential parameter'
  )
  checkAccessKey(accessKeyId, options)
  checkScope(scope, stamp, options, 'AuthorizationQueryParametersError', 'Error parsing the X-Amz-Credential parameter')
  const now = options.now().getTime()
  const end = date.getTime() + Number(expires) * 1000
  if (date.getTime() > now + SKEW_MS) {
    throw new S3Error('AccessDenied', 'Request is not valid yet', {
      'X-Amz-Date': stamp,
      ServerTime: new Date(now).toISOString()
    })
  }
  if (now > end) {
    throw new S3Error('AccessDenied', 'Request has expired', {
      'X-Amz-Expires': expires,
      Expires: isoSeconds(end),
      ServerTime: isoSeconds(now)
    })
  }
  checkToken(queryValue(target, 'X-Amz-Security-Token'))
  const payloadHash =
    queryValue(target, 'X-Amz-Content-Sha256') ?? target.headers.get('x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD'
  const payload = payloadOf(payloadHash)
  checkSignature({ target, signed, signature, payloadHash, stamp, scope, accessKeyId }, options)
  adoptHoistedHeaders(target)
  return { principal: 'owner', presigned: true, payload }
}

function byQueryV2 (target: Target, options: AuthOptions): Identity {
  checkQueryV2(target, options)
  adoptHoistedHeaders(target)
  checkToken(target.headers.get('x-amz-security-token'))
  return {
    principal: 'owner',
    presigned: true,
    payload: payloadOf(target.headers.get('x-amz-content-sha256') ?? 'UNSIGNED-PAYLOAD')
  }
}

interface Claim {
  target: Target
  signed: string
  signature: string
  payloadHash: string
  stamp: string
  scope: Scope
  accessKeyId: string
}

function checkSignature (
  { target, signed, signature, payloadHash, stamp, scope, accessKeyId }: Claim,
  { credentials }: AuthOptions
): Buffer {
  const signedHeaders = signed.toLowerCase().split(';')
  const required = [...target.headers.keys()].filter(name =>
    name === 'host' || (name.startsWith('x-amz-') && name !== 'x-amz-content-sha256'))
  const unsigned = required.filter(name => !signedHeaders.includes(name))
  if (unsigned.length > 0) {
    throw new S3Error('AccessDenied', 'There were headers present in the request which were not signed', {
      HeadersNotSigned: unsigned.join(', ')
    })
  }
  const request = canonicalRequest(target, signedHeaders, payloadHash)
  const text = stringToSign(stamp, scope, request)
  const key = signingKey(credentials.secretAccessKey, scope)
  if (!equalText(signature, sign(key, text))) {
    throw new S3Error('SignatureDoesNotMatch', undefined, {
      AWSAccessKeyId: accessKeyId,
      StringToSign: text,
      SignatureProvided: signature,
      CanonicalRequest: request
    })
  }
  return key
}

function payloadOf (declared: string): Payload {
  switch (declared) {
    case 'UNSIGNED-PAYLOAD': return { kind: 'plain' }
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD': return { kind: 'chunks', trailer: false }
    case 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER': return { kind: 'chunks', trailer: true }
    case 'STREAMING-UNSIGNED-PAYLOAD-TRAILER': return { kind: 'chunks', trailer: true }
  }
  if (/^[0-9a-f]{64}$/.test(declared)) return { kind: 'plain', sha256: declared }
  throw new S3Error(
    'InvalidArgument',
    'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.',
    { ArgumentName: 'x-amz-content-sha256', ArgumentValue: declared }
  )
}

function headerTime (target: Target): { date: Date, stamp: string } {
  const given = target.headers.get('x-amz-date') ?? target.headers.get('date') ?? ''
  const date = parseStamp(given) ?? new Date(given)
  if (Number.isNaN(date.getTime())) {
    throw new S3Error('AccessDenied', 'AWS authentication requires a valid Date or x-amz-date header')
  }
  return { date, stamp: isoSeconds(date.getTime()).replace(/[-:]/g, '') }
}

/**
 * A presigner moves `x-amz-*` headers into the query, where they mean the same. S3 ignores only checksums there (the
 * official SDK puts the one of an empty body into each presigned PUT).
 */
function adoptHoistedHeaders (target: Target): void {
  const own = new Set<string>(QUERY_FIELDS)
  for (const [name, value] of target.query) {
    const header = name.toLowerCase()
    const counts =
      header.startsWith('x-amz-') && !/^x-amz-(checksum-(?!mode$|algorithm$|type$)|sdk-checksum-)/.test(header)
    if (counts && !own.has(name) && !target.headers.has(header)) target.headers.set(header, value)
  }
}

function tooSkewed (stamp: string, { now }: AuthOptions): S3Error {
  return new S3Error('RequestTimeTooSkewed', undefined, {
    RequestTime: stamp,
    ServerTime: isoSeconds(now().getTime()),
    MaxAllowedSkewMilliseconds: SKEW_MS
  })
}

function badQuery (message: string): S3Error {
  return new S3Error('AuthorizationQueryParametersError', message)
}

function onlyVersion4 (): S3Error {
  return new S3Error(
    'InvalidRequest',
    'The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.'
  )
}
