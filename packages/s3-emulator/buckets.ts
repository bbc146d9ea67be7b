import { secondsNow, type Call, type Reply } from './call.js'
import { verifiedText } from './ingest.js'
import { parsePolicy } from './policy.js'

/** When its owner creates a bucket again: 200, as in us-east-1. */
export async function createBucket ({ store, bucket, settings }: Call): Promise<Reply> {
  store.createBucket({ name: bucket, createdAt: secondsNow(settings) })
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
  parsePolicy(text, bucket)
  store.setPolicy(bucket, text)
  return { status: 204 }
}
