import type { Call } from './call.js'
import { S3Error } from './errors.js'
import { checkKey, decodeUri, isBucketName } from './names.js'
import type { ObjectRecord } from './records.js'

/** The object that `x-amz-copy-source` names. Throws InvalidArgument, NoSuchBucket, NoSuchKey. */
export function copySource ({ store, headers }: Call): { bucket: string, record: ObjectRecord } {
  const [location = '', version] = (headers.get('x-amz-copy-source') ?? '').split('?')
  const path = decodeUri(location).replace(/^\//, '')
  const slash = path.indexOf('/')
  const bucket = path.slice(0, slash)
  const key = path.slice(slash + 1)
  if (slash === -1 || key === '' || !isBucketName(bucket) || (version !== undefined && version !== 'versionId=null')) {
    throw new S3Error('InvalidArgument', 'Copy Source must mention the source bucket and key: sourcebucket/sourcekey', {
      ArgumentName: 'x-amz-copy-source',
      ArgumentValue: location
    })
  }
  checkKey(key)
  store.bucket(bucket)
  const record = store.object(bucket, key)
  if (record === undefined) throw new S3Error('NoSuchKey', undefined, { Key: key })
  return { bucket, record }
}
