import { signV2 } from './auth-v2.js'
import { secondsNow, xmlReply, type Call, type Reply } from './call.js'
import { quoted, writeCondition } from './conditions.js'
import { checkAccessKey, checkScope, checkToken, parseCredential, parseStamp } from './credential.js'
import { describe, refuseUnsupported } from './describe.js'
import { S3Error } from './errors.js'
import { readForm } from './form-data.js'
import { adopt, checksumHeaders, createVerifier, ingest } from './ingest.js'
import { checkKey, encodeUri } from './names.js'
import { MAX_PUT } from './objects.js'
import { checkPolicy, type SizeRange } from './post-policy.js'
import { equalText, sign, signingKey } from './signature.js'
import { xmlDocument } from './xml.js'

/**
 * A browser's upload (S3 API reference, "POST Object"): the form carries a signed policy in place of a signed request.
 */
export async function postObject (call: Call): Promise<Reply> {
  const { store, bucket, headers, body, settings } = call
  const { fields, filename, file } = await readForm(headers.get('content-type') ?? '', body.bytes())
  const key = formKey(fields, filename)
  const policy = authorizeForm(call, fields)
  const range = checkPolicy(policy, new Map(fields).set('key', key), bucket, settings.now())
  refuseUnsupported(withAcl(fields))
  checkKey(key)
  const verifier = createVerifier({ headers: fields, trailers: new Map() })
  const { blob, size, md5, checksum } = await ingest(store, limited(file, range), verifier)
  adopt(store, blob, () => store.putObject(bucket, {
    key,
    etag: md5,
    size,
    modifiedAt: secondsNow(settings),
    pieces: [{ blob, size }],
    ...describe(fields),
    ...(checksum && { checksum })
  }, writeCondition(fields)))
  return answer(call, fields, key, md5, checksumHeaders(checksum))
}

function formKey (fields: ReadonlyMap<string, string>, filename: string): string {
  const key = fields.get('key')
  if (key === undefined || key === '') {
    throw new S3Error(
      'InvalidArgument',
      'Bucket POST must contain a field named \'key\'.  If it is specified, please check the order of the fields.',
      { ArgumentName: 'key', ArgumentValue: '' }
    )
  }
  return key.replace(/\$\{filename\}/g, () => filename.replace(/^.*[/\\]/s, ''))
}

/** Returns the policy that the owner signed. A form without a policy is refused. */
function authorizeForm ({ settings }: Call, fields: ReadonlyMap<string, string>): string {
  const policy = fields.get('policy')
  if (policy === undefined) throw new S3Error('AccessDenied')
  if (fields.has('awsaccesskeyid')) return signedV2(settings, fields, policy)
  const [
    algorithm, credential, stamp, signature
  ] = ['x-amz-algorithm', 'x-amz-credential', 'x-amz-date', 'x-amz-signature'].map(name => fields.get(name))
  checkToken(fields.get('x-amz-security-token'))
  if (algorithm === undefined || credential === undefined || stamp === undefined || signature === undefined) {
    throw new S3Error(
      'InvalidArgument',
      'Bucket POST must contain the fields x-amz-algorithm, x-amz-credential, x-amz-date and x-amz-signature beside a policy.'
    )
  }
  if (algorithm !== 'AWS4-HMAC-SHA256' || parseStamp(stamp) === undefined) {
    throw new S3Error('InvalidArgument', 'X-Amz-Algorithm only supports AWS4-HMAC-SHA256, with an ISO 8601 X-Amz-Date')
  }
  const { accessKeyId, scope } = parseCredential(
    credential,
    'InvalidArgument',
    'Error parsing the X-Amz-Credential field'
  )
  checkAccessKey(accessKeyId, settings)
  checkScope(scope, stamp, settings, 'InvalidArgument', 'Error parsing the X-Amz-Credential field')
  if (!equalText(signature, sign(signingKey(settings.credentials.secretAccessKey, scope), policy))) {
    throw new S3Error('SignatureDoesNotMatch', undefined, {
      AWSAccessKeyId: accessKeyId,
      StringToSign: policy,
      SignatureProvided: signature
    })
  }
  return policy
}

/** Checks Signature Version 2, which is boto3's default for forms. */
function signedV2 (settings: Call['settings'], fields: ReadonlyMap<string, string>, policy: string): string {
  const [accessKeyId = '', signature = ''] = ['awsaccesskeyid', 'signature'].map(name => fields.get(name))
  if (signature === '') {
    throw new S3Error('InvalidArgument', 'Bucket POST must contain a field named \'signature\'.', {
      ArgumentName: 'signature',
      ArgumentValue: ''
    })
  }
  checkToken(fields.get('x-amz-security-token'))
  checkAccessKey(accessKeyId, settings)
  if (!equalText(signature, signV2(settings.credentials.secretAccessKey, policy))) {
    throw new S3Error('SignatureDoesNotMatch', undefined, {
      AWSAccessKeyId: accessKeyId,
      StringToSign: policy,
      SignatureProvided: signature
    })
  }
  return policy
}

function withAcl (fields: ReadonlyMap<string, string>): Map<string, string> {
  const acl = fields.get('acl')
  return acl === undefined ? new Map(fields) : new Map(fields).set('x-amz-acl', acl)
}

async function * limited (file: AsyncIterable<Buffer>, range: SizeRange | undefined): AsyncGenerator<Buffer> {
  const max = Math.min(range?.max ?? MAX_PUT, MAX_PUT)
  const min = range?.min ?? 0
  let size = 0
  for await (const chunk of file) {
    size += chunk.length
    if (size > max) throw new S3Error('EntityTooLarge', undefined, { ProposedSize: size, MaxSizeAllowed: max })
    yield chunk
  }
  if (size < min) throw new S3Error('EntityTooSmall', undefined, { ProposedSize: size, MinSizeAllowed: min })
}

function answer (
  { bucket, headers }: Call,
  fields: ReadonlyMap<string, string>,
  key: string,
  md5: string,
  extra: Record<string, string>
): Reply {
  const location = `http://${headers.get('host') ?? ''}/${bucket}/${encodeUri(key)}`
  const common = { etag: quoted(md5), location, ...extra }
  const redirect = redirectTarget(fields.get('success_action_redirect') ?? fields.get('redirect'))
  if (redirect !== undefined) {
    for (const [name, value] of [['bucket', bucket], ['key', key], ['etag', quoted(md5)]] as const) {
      redirect.searchParams.append(name, value)
    }
    return { status: 303, headers: { ...common, location: redirect.href } }
  }
  const status = fields.get('success_action_status')
  if (status === '201') {
    const created = xmlDocument(
      'PostResponse',
      { Location: location, Bucket: bucket, Key: key, ETag: quoted(md5) },
      false
    )
    return { ...xmlReply(created, common), status: 201 }
  }
  return { status: status === '200' ? 200 : 204, headers: common }
}

/** S3 ignores a redirect that is no URL. */
function redirectTarget (text: string | undefined): URL | undefined {
  return text !== undefined && /^https?:/i.test(text) && URL.canParse(text) ? new URL(text) : undefined
}
