import { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListMultipartUploadsCommand,
  NoSuchKey,
  paginateListObjectsV2,
  PutObjectCommand,
  S3ServiceException,
  UploadPartCommand,
  type ListMultipartUploadsCommandOutput,
  type S3Client
} from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import type { MediaStore } from '../ports.js'
import { createUrls } from './addresses.js'
import { createGatherBudget, type Reservation } from './gather-budget.js'

/** Bytes. S3 takes no smaller part except the last. A gathered upload has this much in memory. */
const PART_BYTES = 5 * 1024 * 1024
/** Bytes that may follow the first `minBytes`. */
const TAIL_BYTES = 128 * 1024
const FOR_EVER = 'public, max-age=31536000, immutable'

export interface MediaStoreOptions {
  s3: S3Client
  bucket: string
  /** The addresses of the bucket. An item's url is the first, `/`, and its key. */
  addresses: string[]
  /** Where clients post direct uploads; the endpoint without it. */
  postAddress?: string
  /**
   * Whether nothing between here and the store can change the bytes, so that they may go without a signature, which
   * would need all of them beforehand.
   */
  trustworthy: boolean
  /** The store counts as gone if it takes none of the available bytes for this many milliseconds. */
  silenceMs: number
}

/**
 * A MediaStore in one bucket of an S3-compatible service.
 *
 * It sends multipart uploads itself, because `Upload` of @aws-sdk/lib-storage holds up to four parts of 5 MiB for each
 * upload, however slow its client is, and knows no bound over all uploads. It costs 1.2 to 2.1 times the CPU, and with
 * 10 and 50 uploads at once 4 and 14 times the memory (bench/README.md). Here at most one part of an upload is held,
 * all of them share a budget, and a large file of known length goes on as it comes.
 */
export function createMediaStore ({
  s3,
  bucket: Bucket,
  addresses,
  postAddress,
  trustworthy,
  silenceMs
}: MediaStoreOptions): MediaStore {
  const gathering = createGatherBudget()
  const described = (Key: string, ContentType: string) => ({ Bucket, Key, ContentType, CacheControl: FOR_EVER })
  const store: MediaStore = {
    async put (key, body, contentType, minBytes) {
      const source = body[Symbol.asyncIterator]()
      if (minBytes !== undefined && minBytes > PART_BYTES && trustworthy) {
        return putParts(key, source, contentType, minBytes)
      }
      return putGathered(key, source, contentType, minBytes === undefined ? PART_BYTES : minBytes + TAIL_BYTES)
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
      await s3.send(new DeleteObjectCommand({ Bucket, Key })).catch(unlessGone)
    },

    async * list (Prefix) {
      for await (const { Contents = [] } of paginateListObjectsV2({ client: s3 }, { Bucket, Prefix })) {
        for (const { Key, Size } of Contents) yield { key: Key!, size: Size! }
      }
    },

    async * unfinished (Prefix) {
      let page: ListMultipartUploadsCommandOutput | undefined
      do {
        page = await s3.send(new ListMultipartUploadsCommand({
          Bucket,
          Prefix,
          KeyMarker: page?.NextKeyMarker,
          UploadIdMarker: page?.NextUploadIdMarker
        }))
        for (const { Key, UploadId } of page.Uploads ?? []) yield { key: Key!, uploadId: UploadId! }
      } while (page.IsTruncated)
    },

    async abort (Key, UploadId) {
      await s3.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId })).catch(unlessGone)
    },

    async presignPost (Key, contentType, size, Expires) {
      const { url, fields } = await createPresignedPost(s3, {
        Bucket,
        Key,
        Expires,
        Fields: { 'Content-Type': contentType },
        Conditions: [['content-length-range', size, size]]
      })
      return { url: postAddress ?? url, fields }
    },

    async ping () {
      await s3.send(new HeadBucketCommand({ Bucket }))
    },

    ...createUrls(addresses)
  }
  return store

  /** Sends part by part, each from memory, so that no request to the store waits for a silent client. */
  async function putGathered (
    Key: string,
    source: AsyncIterator<Buffer>,
    contentType: string,
    expected: number
  ): Promise<void> {
    const Parts: Array<{ ETag?: string, PartNumber: number }> = []
    let UploadId: string | undefined
    for (let isLast = false; !isLast;) {
      const memory = await gathering.reserve(Math.min(PART_BYTES, expected))
      try {
        const { bytes: Body, ended } = await gathered(source, memory)
        isLast = ended
        if (isLast && !UploadId) return await store.putBytes(Key, Body, contentType)
        UploadId ??= (await s3.send(new CreateMultipartUploadCommand(described(Key, contentType)))).UploadId
        const PartNumber = Parts.length + 1
        if (Body.length > 0) {
          Parts.push({
            ETag: (await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))).ETag,
            PartNumber
          })
        }
      } finally {
        memory.release()
      }
    }
    confirmed(await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } })))
  }

  /** Sends two parts: the first `minBytes` as they come, and the few that may follow. */
  async function putParts (
    Key: string,
    source: AsyncIterator<Buffer>,
    contentType: string,
    minBytes: number
  ): Promise<void> {
    const first = await source.next() // begins nothing for a stream that fails at once or is held back
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand(described(Key, contentType)))
    const part = { Bucket, Key, UploadId }
    const stream = exactly(minBytes, first, source)
    const { ETag } = await sendStream(stream, silenceMs, (Body, abortSignal) =>
      s3.send(new UploadPartCommand({ ...part, PartNumber: 1, Body, ContentLength: minBytes }), { abortSignal }))
    const Parts = [{ ETag, PartNumber: 1 }]
    const rest = await bytesOf(source, stream.left)
    if (rest.length > 0) {
      Parts.push({
        ETag: (await s3.send(new UploadPartCommand({ ...part, PartNumber: 2, Body: rest }))).ETag,
        PartNumber: 2
      })
    }
    confirmed(await s3.send(new CompleteMultipartUploadCommand({ ...part, MultipartUpload: { Parts } })))
  }
}

interface Exactly { chunks: AsyncIterable<Buffer>, left: Buffer[] }

/**
 * The first `size` bytes of a stream whose first chunk is already read. `left` then has the bytes that came with the
 * last of them. Throws if there are fewer.
 */
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

/** Sends a stream as the body of one request. Ends the request if the stream fails, which the SDK would not notice. */
async function sendStream<T> (
  { chunks }: Exactly,
  silenceMs: number,
  send: (body: Readable, abortSignal: AbortSignal) => Promise<T>
): Promise<T> {
  const controller = new AbortController()
  let timer: NodeJS.Timeout | undefined
  let fail!: (error: Error) => void
  const failed = new Promise<never>((_resolve, reject) => { fail = reject })
  failed.catch(() => controller.abort())
  const body = Readable.from(timed(), { objectMode: false, highWaterMark: 1 }).once('error', fail)
  try {
    return await Promise.race([failed, send(body, controller.signal)])
  } finally {
    clearTimeout(timer)
    body.destroy()
  }

  /** Times only the store: while it has a chunk to take, and when it has them all. */
  async function * timed (): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      time()
      yield chunk
      clearTimeout(timer)
    }
    time()
  }

  function time (): void {
    timer = setTimeout(() => fail(new Error('the store did not answer in time')), silenceMs)
  }
}

/** Reads the next part of a stream, and whether that was the end. */
async function gathered (source: AsyncIterator<Buffer>, memory: Reservation): Promise<{
  bytes: Buffer
  ended: boolean
}> {
  const chunks: Buffer[] = []
  for (let size = 0; size < PART_BYTES;) {
    const next = await memory.forClient(source.next())
    if (next.done) return { bytes: Buffer.concat(chunks), ended: true }
    chunks.push(next.value)
    size += next.value.length
  }
  return { bytes: Buffer.concat(chunks), ended: false }
}

async function bytesOf (source: AsyncIterator<Buffer>, chunks: Buffer[] = []): Promise<Buffer> {
  for (let next = await source.next(); !next.done; next = await source.next()) chunks.push(next.value)
  return Buffer.concat(chunks)
}

/** Some stores answer 200 with an error in the body. */
function confirmed ({ ETag }: { ETag?: string }): void {
  if (!ETag) throw new Error('the store did not confirm the object')
}

/** S3 itself answers 204 to the deletion of a missing object. Other stores answer 404 if two delete it at once. */
function unlessGone (error: unknown): void {
  if (!(error instanceof S3ServiceException && ['NoSuchUpload', 'NoSuchKey'].includes(error.name))) throw error
}
