import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CreateBucketCommand, DeleteBucketCommand, DeleteObjectsCommand, ListObjectsV2Command, PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3'
import type { Test } from 'tap'
import { root } from './paths.js'

export interface Services {
  mongoUri: string
  s3: { endpoint: string, region: string, accessKeyId: string, secretAccessKey: string, bucket: string }
}

/**
 * Makes a database and a bucket for this test, on the servers that MONGO_URI and S3_ENDPOINT name, else on the embedded
 * emulators. They are removed when `t` ends.
 */
export async function startServices (t: Test): Promise<Services> {
  const name = `hookaba-test-${randomBytes(5).toString('hex')}`
  const path = await mkdtemp(join(tmpdir(), `${name}-`))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  const base = process.env.MONGO_URI ?? await embeddedMongo(t, path)
  const mongo = new URL(base)
  mongo.pathname = `/${name}`
  const s3 = await startS3(t, path)
  const client = s3Client({ mongoUri: '', s3: { ...s3, bucket: name } })
  await client.send(new CreateBucketCommand({ Bucket: name }))
  await publish(client, name, 'library/*')
  t.teardown(() => emptyAndDelete(client, name))
  return { mongoUri: mongo.href, s3: { ...s3, bucket: name } }
}

/** Permits everyone to read the objects of a bucket whose keys match. */
export async function publish (client: S3Client, Bucket: string, keys: string): Promise<void> {
  const Resource = `arn:aws:s3:::${Bucket}/${keys}`
  const Policy = JSON.stringify({
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource }]
  })
  await client.send(new PutBucketPolicyCommand({ Bucket, Policy }))
}

/** Sets the policy for takeovers. Independent servers know no `NotResource`: there everything is public. */
export async function publishTakeover (client: S3Client, Bucket: string): Promise<void> {
  if (process.env.S3_ENDPOINT) return publish(client, Bucket, '*')
  const policy = await readFile(join(root, 'deploy/public-read-policy-takeover.json'), 'utf8')
  const Policy = policy.replaceAll(':::hookaba/', `:::${Bucket}/`)
  await client.send(new PutBucketPolicyCommand({ Bucket, Policy }))
}

async function embeddedMongo (t: Test, path: string): Promise<string> {
  const { startMongo } = await import('../../packages/mongo-emulator/server.js')
  const server = await startMongo({ path: join(path, 'mongo'), isDurable: false })
  t.teardown(server.close)
  return server.uri
}

async function startS3 (t: Test, path: string): Promise<Omit<Services['s3'], 'bucket'>> {
  const {
    S3_ENDPOINT: endpoint,
    S3_REGION: region = 'us-east-1',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey
  } = process.env
  if (endpoint && accessKeyId && secretAccessKey) return { endpoint, region, accessKeyId, secretAccessKey }
  const { startS3: start } = await import('../../packages/s3-emulator/server.js')
  const credentials = { accessKeyId: 'test', secretAccessKey: randomBytes(20).toString('hex') }
  const server = await start({ path: join(path, 's3'), credentials, isDurable: false })
  t.teardown(server.close)
  return { endpoint: server.endpoint, region: 'us-east-1', ...credentials }
}

export const s3Client = ({ s3: { endpoint, region, accessKeyId, secretAccessKey } }: Services) => new S3Client({
  endpoint,
  region,
  credentials: { accessKeyId, secretAccessKey },
  forcePathStyle: true,
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED'
})

async function emptyAndDelete (client: S3Client, Bucket: string): Promise<void> {
  for (;;) {
    const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }))
    if (Contents.length === 0) break
    await client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: Contents.map(({ Key }) => ({ Key })) } }))
  }
  await client.send(new DeleteBucketCommand({ Bucket }))
  client.destroy()
}

/** The environment of a service that uses `services`, as an operator would write it. */
export function environment ({ mongoUri, s3 }: Services): Record<string, string> {
  return {
    NODE_ENV: 'test',
    MONGO_URI: mongoUri,
    S3_ENDPOINT: s3.endpoint,
    S3_BUCKET: s3.bucket,
    S3_REGION: s3.region,
    AWS_ACCESS_KEY_ID: s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    JWT_SECRET_KEY: 'wS1zUu3hW6vX0yQ9kD2fB7nM4pL8rT5c',
    OTP_SECRET: 'Hq7Vn2Zx9Lk4Jf1Gs8Da3Pe6Rt0Yw5Ub',
    LIMIT_SMS_PER_ADDRESS: '0', // all tests share one address; tests of the limits set their own
    LIMIT_FAILURES_PER_ADDRESS: '0'
  }
}

/** A database's address with one option more. */
export function withUriOption (uri: string, name: string, value: string): string {
  const url = new URL(uri)
  url.searchParams.set(name, value)
  return url.href
}
