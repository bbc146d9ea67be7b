import type { Settings } from './call.js'
import { S3Error, type ErrorCode } from './errors.js'
import { canonicalRequest, equalText, sign, stringToSign, type Scope } from './signature.js'
import type { Target } from './target.js'

const SKEW_MS = 15 * 60 * 1000

/** The announced form of the body, from `x-amz-content-sha256`: its hash, or none. */
export interface Identity { isOwner: boolean, sha256: string | undefined }

/**
 * Returns the signer of the request, from its Authorization header. Refuses every signature that does not match (AWS
 * Signature Version 4, "Authenticating Requests"). A request without a signature is anonymous.
 */
export function authenticate (target: Target, settings: Settings): Identity {
  const { headers } = target
  const header = headers.get('authorization')
  const payloadHash = headers.get('x-amz-content-sha256')
  if (header === undefined) return { isOwner: false, sha256: payloadOf(payloadHash ?? 'UNSIGNED-PAYLOAD') }
  if (!header.startsWith('AWS4-HMAC-SHA256 ')) {
    throw new S3Error('InvalidArgument', 'Unsupported Authorization Type', { ArgumentName: 'Authorization' })
  }
  const [credential, signed, signature] = ['Credential', 'SignedHeaders', 'Signature'].map(name =>
    new RegExp(`[ ,]${name}=([^, ]+)`).exec(header)?.[1])
  if (!credential || !signed || !signature) {
    throw new S3Error(
      'AuthorizationHeaderMalformed',
      'The authorization header is malformed; it must hold Credential, SignedHeaders and Signature.'
    )
  }
  const stamp = headers.get('x-amz-date') ?? ''
  checkTime(stamp, settings)
  const scope = checkCredential(credential, stamp, settings, 'AuthorizationHeaderMalformed')
  if (payloadHash === undefined) {
    throw new S3Error('InvalidRequest', 'Missing required header for this request: x-amz-content-sha256')
  }
  const sha256 = payloadOf(payloadHash)
  const names = signed.toLowerCase().split(';')
  checkSignature(signature, scope, stringToSign(stamp, scope, canonicalRequest(target, names, payloadHash)), settings)
  return { isOwner: true, sha256 }
}

/**
 * Checks `<access key>/<date>/<region>/s3/aws4_request`, as requests and forms carry it, against the time of the
 * signature. Throws InvalidAccessKeyId or `code`.
 */
export function checkCredential (text: string, stamp: string, settings: Settings, code: ErrorCode): Scope {
  const [, accessKeyId, date, region] = /^(.+)\/(\d{8})\/([^/]+)\/s3\/aws4_request$/.exec(text) ?? []
  if (accessKeyId === undefined || date === undefined || region === undefined || !stamp.startsWith(date)) {
    throw new S3Error(
      code,
      'The Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/s3/aws4_request" of the request\'s date.'
    )
  }
  if (!equalText(accessKeyId, settings.credentials.accessKeyId)) {
    throw new S3Error('InvalidAccessKeyId', undefined, { AWSAccessKeyId: accessKeyId })
  }
  if (region !== settings.region) {
    throw new S3Error(code, `The region '${region}' is wrong; expecting '${settings.region}'`)
  }
  return { date, region }
}

/** Throws SignatureDoesNotMatch. */
export function checkSignature (signature: string, scope: Scope, text: string, { credentials }: Settings): void {
  if (!equalText(signature, sign(credentials.secretAccessKey, scope, text))) {
    throw new S3Error('SignatureDoesNotMatch')
  }
}

function checkTime (stamp: string, { now }: Settings): void {
  const time = Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\dT\d\d)(\d\d)(\d\dZ)$/, '$1-$2-$3:$4:$5'))
  if (Number.isNaN(time)) throw new S3Error('AccessDenied', 'AWS authentication requires a valid x-amz-date header')
  if (Math.abs(now().getTime() - time) > SKEW_MS) {
    throw new S3Error('RequestTimeTooSkewed')
  }
}

/** Throws NotImplemented for a body in signed chunks or with a trailer. */
function payloadOf (declared: string): string | undefined {
  if (declared === 'UNSIGNED-PAYLOAD') return undefined
  if (/^[0-9a-f]{64}$/.test(declared)) return declared
  if (declared.startsWith('STREAMING-')) {
    throw new S3Error('NotImplemented', undefined, { Header: `x-amz-content-sha256: ${declared}` })
  }
  throw new S3Error('InvalidArgument', 'x-amz-content-sha256 must be UNSIGNED-PAYLOAD or a valid sha256 value.', {
    ArgumentName: 'x-amz-content-sha256',
    ArgumentValue: declared
  })
}
