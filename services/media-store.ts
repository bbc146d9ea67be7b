import { Readable } from 'node:stream'
import { AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CreateMultipartUploadCommand, DeleteObjectCommand, GetObjectCommand, HeadBucketCommand, ListMultipartUploadsCommand, NoSuchKey, paginateListObjectsV2, PutObjectCommand, S3ServiceException, UploadPartCommand, type ListMultipartUploadsCommandOutput, type S3Client } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import type { MediaStore } from './ports.js'

/** S3 takes no smaller part but the last. Also: bytes in memory for an upload of unknown length, times two to four. */
const PART_SIZE = 5 * 1024 * 1024
const FOR_EVER = 'public, max-age=31536000, immutable'

export interface MediaStoreOptions {
  s3: S3Client
  bucket: string
  /** Where the public reads the bucket: an item's url is this, `/`, and its key. */
  publicUrl: string
  /** Whether nobody between here and the store can change what is sent, so that bytes may go without a signature of their own: it would want them all beforehand. */
  trustworthy: boolean
}

/** A MediaStore in one bucket of an S3-compatible service. */
export function createMediaStore ({ s3, bucket: Bucket, publicUrl, trustworthy }: MediaStoreOptions): MediaStore {
  const described = (Key: string, ContentType: string) => ({ Bucket, Key, ContentType, CacheControl: FOR_EVER })
  const store: MediaStore = {
    async put (key, body, contentType, sure) {
      if (sure === undefined || (sure > PART_SIZE && !trustworthy)) return putUnknown(key, body, contentType)
      const source = body[Symbol.asyncIterator]()
      if (sure <= PART_SIZE) return store.putBytes(key, await bytesOf(source), contentType)
      return putParts(key, source, contentType, sure)
    },

    async putBytes (key, Body, contentType) {
      confirmed(await s3.send(new PutObjectCommand({ ...described(key, contentType), Body })))
    },

    async get (Key) {
      try {
        const { Body, ContentLength } = await s3.send(new GetObjectCommand({ Bucket, Key }))
        return { body: Body as Readable, size: ContentLength! }
      } catch (error) {
        if (error instanceof NoSuchKey) return undefined
        throw error
      }
    },

    async remove (prefix) {
      for await (const { key, uploadId } of store.unfinished(prefix)) await store.abort(key, uploadId)
      for await (const { key } of store.list(prefix)) await store.removeObject(key)
    },

    async removeObject (Key) {
      await s3.send(new DeleteObjectCommand({ Bucket, Key }))
    },

    async * list (Prefix) {
      for await (const { Contents = [] } of paginateListObjectsV2({ client: s3 }, { Bucket, Prefix })) {
        for (const { Key, Size } of Contents) yield { key: Key!, size: Size! }
      }
    },

    async * unfinished (Prefix) {
      let page: ListMultipartUploadsCommandOutput | undefined
      do {
        page = await s3.send(new ListMultipartUploadsCommand({ Bucket, Prefix, KeyMarker: page?.NextKeyMarker, UploadIdMarker: page?.NextUploadIdMarker }))
        for (const { Key, UploadId } of page.Uploads ?? []) yield { key: Key!, uploadId: UploadId! }
      } while (page.IsTruncated)
    },

    async abort (Key, UploadId) {
      await s3.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId })).catch(unlessGone)
    },

    async presignPost (Key, contentType, size, Expires) {
      return createPresignedPost(s3, { Bucket, Key, Expires, Fields: { 'Content-Type': contentType }, Conditions: [['content-length-range', size, size]] })
    },

    async ping () {
      await s3.send(new HeadBucketCommand({ Bucket }))
    },

    url: key => `${publicUrl}/${key}`
  }
  return store

  async function putUnknown (key: string, body: AsyncIterable<Buffer>, contentType: string): Promise<void> {
    const params = { ...described(key, contentType), Body: Readable.from(body, { objectMode: false }) }
    confirmed(await new Upload({ client: s3, params, partSize: PART_SIZE, queueSize: 1, leavePartsOnError: true }).done())
  }

  /** In two parts: what is sure to come, as it comes, and the little that may follow. */
  async function putParts (Key: string, source: AsyncIterator<Buffer>, contentType: string, sure: number): Promise<void> {
    const first = await source.next() // nothing is begun for a stream that fails at once or is held back
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand(described(Key, contentType)))
    const part = { Bucket, Key, UploadId }
    const stream = exactly(sure, first, source)
    const { ETag } = await sendStream(stream, (Body, abortSignal) => s3.send(new UploadPartCommand({ ...part, PartNumber: 1, Body, ContentLength: sure }), { abortSignal }))
    const Parts = [{ ETag, PartNumber: 1 }]
    const rest = await bytesOf(source, stream.left)
    if (rest.length > 0) Parts.push({ ETag: (await s3.send(new UploadPartCommand({ ...part, PartNumber: 2, Body: rest }))).ETag, PartNumber: 2 })
    confirmed(await s3.send(new CompleteMultipartUploadCommand({ ...part, MultipartUpload: { Parts } })))
  }
}

interface Exactly { chunks: AsyncIterable<Buffer>, left: Buffer[] }

/** The first `size` bytes of a stream, whose first chunk has been taken from it; what came with the last of them is in `left` then. Throws when there are less. */
function exactly (size: number, first: IteratorResult<Buffer>, source: AsyncIterator<Buffer>): Exactly {
  const left: Buffer[] = []
  return { left, chunks: take() }

  async function * take (): AsyncGenerator<Buffer> {
    let missing = size
    for (let next = first; ; next = await source.next()) {
      if (next.done) throw new Error('the stream ended before its time')
      const piece = next.value.subarray(0, missing)
      if (piece.length < next.value.length) left.push(next.value.subarray(piece.length))
      missing -= piece.length
      yield piece
      if (missing === 0) return
    }
  }
}

/** Sends a stream as the body of one request; the request ends when the stream fails, which the SDK would not notice. */
async function sendStream<T> ({ chunks }: Exactly, send: (body: Readable, abortSignal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController()
  const body = Readable.from(chunks, { objectMode: false, highWaterMark: 1 })
  const failed = new Promise<never>((_resolve, reject) => body.once('error', error => { reject(error); controller.abort() }))
  failed.catch(() => {})
  try {
    return await Promise.race([failed, send(body, controller.signal)])
  } finally {
    body.destroy()
  }
}

async function bytesOf (source: AsyncIterator<Buffer>, chunks: Buffer[] = []): Promise<Buffer> {
  for (let next = await source.next(); !next.done; next = await source.next()) chunks.push(next.value)
  return Buffer.concat(chunks)
}

/** Some stores answer 200 and an error in the body. */
function confirmed ({ ETag }: { ETag?: string }): void {
  if (!ETag) throw new Error('the store did not confirm the object')
}

function unlessGone (error: unknown): void {
  if (!(error instanceof S3ServiceException && error.name === 'NoSuchUpload')) throw error
}
