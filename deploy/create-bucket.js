/**
 * Creates S3_BUCKET if it is missing, and permits everyone to read library/* in it (public-read-policy.json beside this
 * file). The service itself does neither, so that the operator decides. A second run changes nothing.
 */
import { CreateBucketCommand, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3'
import { readFile } from 'node:fs/promises'

const { S3_BUCKET: Bucket, S3_REGION: region = 'us-east-1', S3_ENDPOINT: endpoint } = process.env
const client = new S3Client({ region, ...(endpoint && { endpoint, forcePathStyle: true }), maxAttempts: 10 })
const policy = await readFile(new URL('public-read-policy.json', import.meta.url), 'utf8')

try {
  await client.send(new CreateBucketCommand({ Bucket }))
} catch (error) {
  if (error.name !== 'BucketAlreadyOwnedByYou') throw error
}
await client.send(new PutBucketPolicyCommand({ Bucket, Policy: policy.replace(':::hookaba/', `:::${Bucket}/`) }))
console.log(`${Bucket}: everyone can read library/*`)
