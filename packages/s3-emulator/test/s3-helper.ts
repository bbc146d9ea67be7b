/** A server of its own, and the SDK as its client. */
import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import type { Test } from 'tap'
import { startS3 } from '../server.js'

export const MIB = 1024 * 1024
export const credentials = { accessKeyId: 'AKTEST', secretAccessKey: 'a secret/of+this test' }
export const Bucket = 'hookaba'
export const modes: Record<string, Partial<S3ClientConfig>> = {
  'default settings': {},
  'checksums when required': {
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    forcePathStyle: true
  }
}

/** A server of its own, and a client of it. Both end with `t`. */
export async function start (t: Test, extra: Partial<S3ClientConfig> = {}) {
  const path = t.testdir()
  const server = await startS3({ path, credentials, isDurable: false })
  const client = new S3Client({ endpoint: server.endpoint, region: 'us-east-1', credentials, maxAttempts: 1, ...extra })
  t.teardown(async () => {
    client.destroy()
    await server.close()
  })
  return { ...server, client, blobs: () => readdirSync(join(path, 'blobs')).length }
}

/** Old files are removed after the answer. If a file stays, the test times out. */
export async function until (holds: () => boolean): Promise<void> {
  while (!holds()) await setImmediate()
}

export const failure = (name: string, httpStatusCode: number) => ({ name, $metadata: { httpStatusCode } })
export const statusOf = async (answer: Promise<unknown>) => await answer.then(() => 200, ({ $metadata }) =>
  $metadata.httpStatusCode)
export const md5 = (bytes: Uint8Array | string) => createHash('md5').update(bytes).digest('hex')
