import { createHmac } from 'node:crypto'
import { checkAccessKey, isoSeconds, type AuthOptions } from './credential.js'
import { S3Error } from './errors.js'
import { encodeUri } from './names.js'
import { equalText } from './signature.js'
import { queryValue, type Target } from './target.js'

/** "Signing and authenticating REST requests", CanonicalizedResource. */
const SIGNED_QUERY = new Set([
  'acl',
  'cors',
  'delete',
  'lifecycle',
  'location',
  'logging',
  'notification',
  'partNumber',
  'policy',
  'requestPayment',
  'response-cache-control',
  'response-content-disposition',
  'response-content-encoding',
  'response-content-language',
  'response-content-type',
  'response-expires',
  'restore',
  'tagging',
  'torrent',
  'uploadId',
  'uploads',
  'versionId',
  'versioning',
  'versions',
  'website'
])

/**
 * Checks a URL presigned with Signature Version 2, which is boto3's default. Such a signature in an Authorization
 * header is no client's default, and is refused. Throws AccessDenied, InvalidAccessKeyId, SignatureDoesNotMatch.
 */
export function checkQueryV2 (target: Target, options: AuthOptions): void {
  const [
    accessKeyId, signature, expires
  ] = ['AWSAccessKeyId', 'Signature', 'Expires'].map(name => queryValue(target, name))
  if (!accessKeyId || !signature || !expires) {
    throw new S3Error(
      'AccessDenied',
      'Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters'
    )
  }
  if (!/^-?\d{1,12}$/.test(expires)) {
    throw new S3Error('AccessDenied', `Invalid date (should be seconds since epoch): ${expires}`)
  }
  checkAccessKey(accessKeyId, options)
  const now = options.now().getTime()
  if (now > Number(expires) * 1000) {
    throw new S3Error('AccessDenied', 'Request has expired', {
      Expires: isoSeconds(Number(expires) * 1000),
      ServerTime: isoSeconds(now)
    })
  }
  const texts = resources(target).map(resource => textV2(target, expires, resource))
  if (!texts.some(text => equalText(signature, signV2(options.credentials.secretAccessKey, text)))) {
    throw new S3Error('SignatureDoesNotMatch', undefined, {
      AWSAccessKeyId: accessKeyId,
      StringToSign: texts[0] ?? '',
      SignatureProvided: signature
    })
  }
}

/** Signs a presigned request or the policy of a form. Each character of `text` stands for one byte. */
export function signV2 (secret: string, text: string): string {
  return createHmac('sha1', secret).update(text, 'latin1').digest('base64')
}

function textV2 ({ method, headers, query }: Target, expires: string, resource: string): string {
  const amz = new Map<string, string>()
  for (const [name, value] of query) amz.set(name.toLowerCase(), Buffer.from(value).toString('latin1'))
  for (const [name, value] of headers) amz.set(name, value)
  const lines = [...amz]
    .filter(([name]) => name.startsWith('x-amz-'))
    .map(([name, value]) => `${name}:${value}\n`)
    .sort()
  return `${method}\n${headers.get('content-md5') ?? ''}\n${headers.get('content-type') ?? ''}\n${expires}\n${lines.join('')}${resource}`
}

/** A client may sign a bucket's address with its last slash or, in path style, without it. */
function resources ({ path, bucket, key, query }: Target): string[] {
  const places = key !== ''
    ? [`/${bucket}/${key}`]
    : bucket === '' ? ['/'] : path === '/' ? [`/${bucket}/`] : [`/${bucket}`, `/${bucket}/`]
  const signed = query
    .filter(([name]) => SIGNED_QUERY.has(name))
    .map(([name, value]) => value === '' ? name : `${name}=${Buffer.from(value).toString('latin1')}`)
    .sort()
  return places.map(place => encodeUri(place, true) + (signed.length === 0 ? '' : `?${signed.join('&')}`))
}
