/** `Upload` of @aws-sdk/lib-storage with its defaults, behind the same parser as the floor. */
import { randomUUID } from 'node:crypto'
import { S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { formServer } from './form-server.js'

const client = new S3Client({ endpoint: process.env.S3_ENDPOINT, region: 'us-east-1', forcePathStyle: true })

await formServer(async (Body, ContentType) => {
  await new Upload({ client, params: { Bucket: 'bench', Key: randomUUID(), Body, ContentType } }).done()
})
