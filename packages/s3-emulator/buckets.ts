import { secondsNow, xmlReply, type Call, type Reply } from './call.js'
import { S3Error } from './errors.js'
import { verifiedText } from './ingest.js'
import { parsePolicy } from './policy.js'
import { childText, parseXml, xmlDocument } from './xml.js'

const MAX_POLICY = 20 * 1024

export async function listBuckets ({ store }: Call): Promise<Reply> {
  return xmlReply(xmlDocument('ListAllMyBucketsResult', {
    Buckets: {
      Bucket: store.buckets().map(({ name, createdAt }) => ({
        Name: name,
        CreationDate: new Date(createdAt).toISOString()
      }))
    }
  }))
}

/** When its owner creates a bucket again: 200 in us-east-1, elsewhere BucketAlreadyOwnedByYou, as in S3. */
export async function createBucket ({ store, bucket, settings, body }: Call): Promise<Reply> {
  const text = (await body.whole()).toString()
  const constraint = text.trim() === '' ? undefined : childText(parseXml(text), 'LocationConstraint')
  if (constraint !== undefined && constraint !== settings.region) {
    throw new S3Error('IllegalLocationConstraintException')
  }
  const created = store.createBucket({ name: bucket, createdAt: secondsNow(settings) })
  if (!created && settings.region !== 'us-east-1') {
    throw new S3Error('BucketAlreadyOwnedByYou', undefined, { BucketName: bucket })
  }
  return { status: 200, headers: { location: `/${bucket}` } }
}

export async function headBucket ({ settings }: Call): Promise<Reply> {
  return { status: 200, headers: { 'x-amz-bucket-region': settings.region, 'content-type': 'application/xml' } }
}

export async function deleteBucket ({ store, bucket }: Call): Promise<Reply> {
  store.deleteBucket(bucket)
  return { status: 204 }
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
