import { secondsNow, xmlReply, type Call, type Reply } from './call.js'
import { S3Error } from './errors.js'
import { verifiedText } from './ingest.js'
import { parsePolicy } from './policy.js'
import { queryValue } from './target.js'
import { childText, parseXml, xmlDocument } from './xml.js'

const MAX_POLICY = 20 * 1024
const MAX_BUCKETS = 10_000

/** Lists buckets by name, in pages; `max-buckets` is at most 10,000. */
export async function listBuckets ({ store, settings, query }: Call): Promise<Reply> {
  const [
    prefix, token, region
  ] = ['prefix', 'continuation-token', 'bucket-region'].map(name => queryValue({ query }, name))
  const limit = bucketLimit(queryValue({ query }, 'max-buckets'))
  const after = Buffer.from(token ?? '', 'base64url').toString()
  const rest = region !== undefined && region !== settings.region
    ? []
    : store.buckets().filter(({ name }) => name.startsWith(prefix ?? '') && name > after)
  const page = rest.slice(0, limit)
  return xmlReply(xmlDocument('ListAllMyBucketsResult', {
    Owner: { ID: settings.ownerId },
    Buckets: {
      Bucket: page.map(({ name, createdAt }) => ({ Name: name, CreationDate: new Date(createdAt).toISOString() }))
    },
    ContinuationToken: rest.length > page.length
      ? Buffer.from(page.at(-1)?.name ?? '').toString('base64url')
      : undefined,
    Prefix: prefix
  }))
}

/** When its owner creates a bucket again: 200 in us-east-1, elsewhere BucketAlreadyOwnedByYou, as in S3. */
export async function createBucket (call: Call): Promise<Reply> {
  const { store, bucket, settings } = call
  const text = await call.body.text()
  const constraint = text.trim() === '' ? undefined : childText(parseXml(text), 'LocationConstraint')
  if (constraint !== undefined && constraint !== settings.region) {
    throw new S3Error(
      'IllegalLocationConstraintException',
      `The ${constraint} location constraint is incompatible for the region specific endpoint this request was sent to.`
    )
  }
  const created = store.createBucket({ name: bucket, createdAt: secondsNow(settings) })
  if (!created && settings.region !== 'us-east-1') {
    throw new S3Error('BucketAlreadyOwnedByYou', undefined, { BucketName: bucket })
  }
  return { status: 200, headers: { location: `/${bucket}` } }
}

export async function headBucket ({ settings }: Call): Promise<Reply> {
  return {
    status: 200,
    headers: {
      'x-amz-bucket-region': settings.region,
      'x-amz-access-point-alias': 'false',
      'content-type': 'application/xml'
    }
  }
}

export async function deleteBucket ({ store, bucket }: Call): Promise<Reply> {
  store.deleteBucket(bucket)
  return { status: 204 }
}

export async function getBucketLocation ({ settings }: Call): Promise<Reply> {
  return xmlReply(xmlDocument('LocationConstraint', settings.region === 'us-east-1' ? '' : settings.region))
}

export async function getBucketVersioning (): Promise<Reply> {
  return xmlReply(xmlDocument('VersioningConfiguration', ''))
}

export async function getBucketPolicy ({ store, bucket }: Call): Promise<Reply> {
  const { policy } = store.bucket(bucket)
  if (policy === undefined) throw new S3Error('NoSuchBucketPolicy', undefined, { BucketName: bucket })
  return { status: 200, headers: { 'content-type': 'application/json' }, body: policy }
}

export async function putBucketPolicy ({ store, bucket, body, headers }: Call): Promise<Reply> {
  const text = await verifiedText(headers, body)
  if (Buffer.byteLength(text) > MAX_POLICY) {
    throw new S3Error('MalformedPolicy', 'Policy exceeds the maximum allowed document size.')
  }
  parsePolicy(text, bucket)
  store.setPolicy(bucket, text)
  return { status: 204 }
}

export async function deleteBucketPolicy ({ store, bucket }: Call): Promise<Reply> {
  store.setPolicy(bucket, undefined)
  return { status: 204 }
}

function bucketLimit (text: string | undefined): number {
  if (text === undefined) return MAX_BUCKETS
  if (!/^\d{1,5}$/.test(text) || Number(text) < 1 || Number(text) > MAX_BUCKETS) {
    throw new S3Error('InvalidArgument', `Argument max-buckets must be an integer between 1 and ${MAX_BUCKETS}`, {
      ArgumentName: 'max-buckets',
      ArgumentValue: text
    })
  }
  return Number(text)
}
