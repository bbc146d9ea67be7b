import { checkCredential, checkSignature } from './auth.js'
import { quoted, type Call, type Reply } from './call.js'
import { S3Error } from './errors.js'
import { readForm } from './form-data.js'
import { refuseUnsupported } from './headers.js'
import { MAX_PUT } from './ingest.js'
import { checkKey, encodeUri } from './names.js'
import { storeObject } from './objects.js'
import { checkPolicy, type SizeRange } from './post-policy.js'

const UNSUPPORTED = /^(acl|redirect|tagging|success_action_.*|x-ignore-.*)$/

/**
 * A browser's upload (S3 API reference, "POST Object"): the form carries a signed policy in place of a signed request.
 */
export async function postObject (call: Call): Promise<Reply> {
  const { bucket, headers, body, settings } = call
  const { fields, file } = await readForm(headers.get('content-type') ?? '', body.bytes())
  const key = fields.get('key') ?? ''
  if (key === '') throw new S3Error('InvalidArgument', 'Bucket POST must contain a field named \'key\'.')
  const range = checkPolicy(signedPolicy(call, fields), fields, bucket, settings.now())
  const unsupported = [...fields.keys()].find(name => UNSUPPORTED.test(name))
  if (unsupported !== undefined) throw new S3Error('NotImplemented', undefined, { Field: unsupported })
  refuseUnsupported({ method: 'POST', headers: fields })
  checkKey(key)
  const md5 = await storeObject(call, key, limited(file, range), fields)
  const location = `http://${headers.get('host') ?? ''}/${bucket}/${encodeUri(key)}`
  return { status: 204, headers: { etag: quoted(md5), location } }
}

/** Returns the policy that the owner signed. A form without a policy is refused. */
function signedPolicy ({ settings }: Call, fields: ReadonlyMap<string, string>): string {
  const policy = fields.get('policy')
  if (policy === undefined) throw new S3Error('AccessDenied')
  const [algorithm, credential = '', stamp = '', signature = ''] =
    ['x-amz-algorithm', 'x-amz-credential', 'x-amz-date', 'x-amz-signature'].map(name => fields.get(name))
  if (algorithm !== 'AWS4-HMAC-SHA256') {
    throw new S3Error('InvalidArgument', 'X-Amz-Algorithm only supports AWS4-HMAC-SHA256')
  }
  checkSignature(signature, checkCredential(credential, stamp, settings, 'InvalidArgument'), policy, settings)
  return policy
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
