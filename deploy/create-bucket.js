/**
 * Creates S3_BUCKET if it is missing, permits everyone to read library/* in it (public-read-policy.json beside this
 * file), and lets web pages read what everyone can (public-read-cors.json). The service itself does none of this, so
 * that the operator decides. A second run changes nothing.
 */
import { CreateBucketCommand, PutBucketCorsCommand, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3'
import { readFile } from 'node:fs/promises'

const { S3_BUCKET: Bucket, S3_REGION: region = 'us-east-1', S3_ENDPOINT: endpoint } = process.env
const client = new S3Client({ region, ...(endpoint && { endpoint, forcePathStyle: true }), maxAttempts: 10 })
const read = name => readFile(new URL(name, import.meta.url), 'utf8')
const policy = await read('public-read-policy.json')
const rules = JSON.parse(await read('public-read-cors.json'))

try {
  await client.send(new CreateBucketCommand({ Bucket }))
} catch (error) {
  if (error.name !== 'BucketAlreadyOwnedByYou') throw error
}
await client.send(new PutBucketPolicyCommand({ Bucket, Policy: policy.replace(':::hookaba/', `:::${Bucket}/`) }))
console.log(`${Bucket}: everyone can read library/*`)
try {
  await client.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: rules }))
} catch (error) {
  if (error.name !== 'NotImplemented') throw error
  console.log(`${Bucket}: the store knows no CORS rules, so the console shows pictures without their frames`)
}
