/**
 * Creates S3_BUCKET if it is missing, permits everyone to read library/* in it (public-read-policy.json beside this
 * file), and lets web pages read what everyone can (public-read-cors.json), unless the bucket has CORS rules. The
 * service itself does none of this, so that the operator decides. A second run changes nothing.
 */
import {
  CreateBucketCommand,
  GetBucketCorsCommand,
  PutBucketCorsCommand,
  PutBucketPolicyCommand,
  S3Client
} from '@aws-sdk/client-s3'
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
const present = await client.send(new GetBucketCorsCommand({ Bucket })).catch(() => undefined)
if (present?.CORSRules?.length > 0) console.log(`${Bucket}: its CORS rules stay as they are`)
else {
  // only the console needs it
  await client.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: rules })).then(
    () => console.log(`${Bucket}: web pages can read library/*`),
    error => console.log(`${Bucket}: no CORS rule was set (${error.name}), so the console shows pictures without their frames`)
  )
}
