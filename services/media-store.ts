import { AbortMultipartUploadCommand, DeleteObjectCommand, HeadBucketCommand, ListMultipartUploadsCommand, S3ServiceException, type S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import type { MediaStore } from './ports.js'

/** Bytes in memory for each upload: this many, times two to four. S3 takes no smaller part. */
const PART_SIZE = 5 * 1024 * 1024

export interface MediaStoreOptions {
  s3: S3Client
  bucket: string
  /** Where the public reads the bucket: an item's url is this, `/`, and its key. */
  publicUrl: string
}

/** A MediaStore in one bucket of an S3-compatible service. */
export function createMediaStore ({ s3, bucket: Bucket, publicUrl }: MediaStoreOptions): MediaStore {
  return {
    async put (Key, Body, ContentType) {
      const params = { Bucket, Key, Body, ContentType, CacheControl: 'public, max-age=31536000, immutable' }
      const { ETag } = await new Upload({ client: s3, params, partSize: PART_SIZE, queueSize: 1, leavePartsOnError: true }).done()
      if (!ETag) throw new Error('the store did not confirm the object')
    },

    async remove (Key) {
      const { Uploads = [] } = await s3.send(new ListMultipartUploadsCommand({ Bucket, Prefix: Key }))
      for (const { UploadId } of Uploads) await s3.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId })).catch(unlessGone)
      await s3.send(new DeleteObjectCommand({ Bucket, Key }))
    },

    async ping () {
      await s3.send(new HeadBucketCommand({ Bucket }))
    },

    url: key => `${publicUrl}/${key}`
  }
}

function unlessGone (error: unknown): void {
  if (!(error instanceof S3ServiceException && error.name === 'NoSuchUpload')) throw error
}
