import { join } from 'node:path'
import { open, type Database, type RootDatabase } from 'lmdb'
import { checkDataFile, sealDataFile } from '../data-file/data-file.js'
import { Blobs } from './blobs.js'
import { S3Error } from './errors.js'
import type { BucketRecord, ObjectRecord, PartRecord, UploadRecord } from './records.js'

const NUL = '\0'
const AFTER_NUL = '\x01'
const NO_KEY: Buffer = Buffer.alloc(0)
const UPLOAD_ID = /^[0-9a-f]{60}$/

/**
 * The records of the store. It knows nothing about requests. Every change is one transaction that is on disk when the
 * method returns. Keys compare as bytes (S3: "UTF-8 binary order").
 */
export class Store {
  readonly blobs: Blobs
  readonly #meta: string
  readonly #root: RootDatabase
  readonly #buckets: Database<BucketRecord, Buffer>
  readonly #objects: Database<ObjectRecord, Buffer>
  readonly #uploads: Database<UploadRecord, Buffer>
  readonly #parts: Database<PartRecord, Buffer>

  /**
   * Throws one clear sentence when the file of the records is damaged. `isDurable` makes each change wait for the disk.
   */
  constructor (path: string, isDurable: boolean) {
    this.#meta = join(path, 'meta')
    checkDataFile(this.#meta)
    this.blobs = new Blobs(join(path, 'blobs'), isDurable)
    this.#root = open({ path: this.#meta, maxDbs: 8, noSync: !isDurable })
    const options = { keyEncoding: 'binary' } as const
    this.#buckets = this.#root.openDB('buckets', options)
    this.#objects = this.#root.openDB('objects', options)
    this.#uploads = this.#root.openDB('uploads', options)
    this.#parts = this.#root.openDB('parts', options)
    this.blobs.sweep(this.#namedBlobs())
  }

  findBucket (name: string): BucketRecord | undefined {
    return this.#buckets.get(Buffer.from(name))
  }

  /** Throws NoSuchBucket. */
  bucket (name: string): BucketRecord {
    const record = this.findBucket(name)
    if (record === undefined) throw new S3Error('NoSuchBucket', undefined, { BucketName: name })
    return record
  }

  /** Leaves a bucket that exists already as it is. */
  createBucket (record: BucketRecord): void {
    this.#root.transactionSync(() => {
      if (this.findBucket(record.name) === undefined) this.#buckets.putSync(Buffer.from(record.name), record)
    })
  }

  setPolicy (name: string, policy: string): void {
    this.#root.transactionSync(() => { this.#buckets.putSync(Buffer.from(name), { ...this.bucket(name), policy }) })
  }

  /** Throws BucketNotEmpty while it holds objects. Unfinished uploads are removed with it, as in S3. */
  deleteBucket (name: string): void {
    const blobs = this.#root.transactionSync(() => {
      this.bucket(name)
      if (this.objects(name).next().done !== true) throw new S3Error('BucketNotEmpty', undefined, { BucketName: name })
      const dropped = [...this.uploads(name)].flatMap(upload => this.#dropUpload(upload))
      this.#buckets.removeSync(Buffer.from(name))
      return dropped
    })
    this.blobs.discard(blobs)
  }

  object (bucket: string, key: string): ObjectRecord | undefined {
    return this.#objects.get(path(bucket, key))
  }

  /** Objects in key order, from the given key on. */
  objects (bucket: string, from = NO_KEY): Generator<ObjectRecord> {
    return recordsOf(this.#objects, bucket, from)
  }

  /** Makes the whole object visible at once, in place of any earlier one. */
  putObject (bucket: string, record: ObjectRecord): void {
    const replaced = this.#root.transactionSync(() => this.#swapObject(bucket, record))
    this.blobs.discard(replaced)
  }

  deleteObject (bucket: string, key: string): void {
    const blobs = this.#root.transactionSync(() => {
      const current = this.object(bucket, key)
      this.#objects.removeSync(path(bucket, key))
      return blobsOf(current)
    })
    this.blobs.discard(blobs)
  }

  createUpload (record: UploadRecord): void {
    this.#root.transactionSync(() => {
      this.bucket(record.bucket)
      this.#uploads.putSync(uploadPath(record), record)
    })
  }

  findUpload (bucket: string, key: string, uploadId: string): UploadRecord | undefined {
    return UPLOAD_ID.test(uploadId) ? this.#uploads.get(uploadPath({ bucket, key, uploadId })) : undefined
  }

  /** Throws NoSuchUpload. */
  upload (bucket: string, key: string, uploadId: string): UploadRecord {
    const record = this.findUpload(bucket, key, uploadId)
    if (record === undefined) throw new S3Error('NoSuchUpload', undefined, { UploadId: uploadId })
    return record
  }

  /** Unfinished uploads by key, then by age, from the given key on. */
  uploads (bucket: string, from = NO_KEY): Generator<UploadRecord> {
    return recordsOf(this.#uploads, bucket, from)
  }

  parts (uploadId: string): PartRecord[] {
    return [...this.#parts.getRange({ start: partPath(uploadId, 0), end: partPath(uploadId, 0xFFFFFFFF) })].map(
      entry => entry.value
    )
  }

  /** Adds the part or replaces the one of that number. Throws NoSuchUpload when the upload has ended meanwhile. */
  putPart (upload: UploadRecord, part: PartRecord): void {
    const replaced = this.#root.transactionSync(() => {
      this.upload(upload.bucket, upload.key, upload.uploadId)
      const at = partPath(upload.uploadId, part.partNumber)
      const earlier = this.#parts.get(at)
      this.#parts.putSync(at, part)
      return earlier === undefined ? [] : [earlier.blob]
    })
    this.blobs.discard(replaced)
  }

  abortUpload (bucket: string, key: string, uploadId: string): void {
    const blobs = this.#root.transactionSync(() => this.#dropUpload(this.upload(bucket, key, uploadId)))
    this.blobs.discard(blobs)
  }

  /** Ends the upload and shows its object at once. Parts that `build` did not take are dropped. */
  completeUpload (upload: UploadRecord, build: (parts: PartRecord[]) => ObjectRecord): ObjectRecord {
    const { record, dropped } = this.#root.transactionSync(() => {
      const record = build(this.parts(upload.uploadId))
      const kept = blobsOf(record)
      const replaced = this.#swapObject(upload.bucket, record)
      const unlisted = this.#dropUpload(upload).filter(blob => !kept.includes(blob))
      return { record, dropped: [...replaced, ...unlisted] }
    })
    this.blobs.discard(dropped)
    return record
  }

  async close (): Promise<void> {
    await this.blobs.close()
    await this.#root.close()
    sealDataFile(this.#meta)
  }

  #swapObject (bucket: string, record: ObjectRecord): string[] {
    this.bucket(bucket)
    const current = this.object(bucket, record.key)
    this.#objects.putSync(path(bucket, record.key), record)
    return blobsOf(current)
  }

  #dropUpload (upload: UploadRecord): string[] {
    const parts = this.parts(upload.uploadId)
    for (const part of parts) this.#parts.removeSync(partPath(upload.uploadId, part.partNumber))
    this.#uploads.removeSync(uploadPath(upload))
    return parts.map(part => part.blob)
  }

  /** The size of each blob that a record names. */
  #namedBlobs (): Map<string, number> {
    const named = new Map<string, number>()
    for (const { value } of this.#objects.getRange({})) {
      for (const { blob, size } of value.pieces) named.set(blob, size)
    }
    for (const { value } of this.#parts.getRange({})) named.set(value.blob, value.size)
    return named
  }
}

/** The records of a bucket in key order, from the given key on. */
function * recordsOf<T> (database: Database<T, Buffer>, bucket: string, from: Buffer): Generator<T> {
  const start = Buffer.concat([Buffer.from(bucket + NUL), from])
  for (const { value } of database.getRange({ start, end: Buffer.from(bucket + AFTER_NUL) })) yield value
}

function blobsOf (record: ObjectRecord | undefined): string[] {
  return record?.pieces.map(piece => piece.blob) ?? []
}

function path (bucket: string, key: string): Buffer {
  return Buffer.from(bucket + NUL + key)
}

function uploadPath ({ bucket, key, uploadId }: Pick<UploadRecord, 'bucket' | 'key' | 'uploadId'>): Buffer {
  return Buffer.from(bucket + NUL + key + NUL + uploadId)
}

function partPath (uploadId: string, partNumber: number): Buffer {
  const number = Buffer.alloc(4)
  number.writeUInt32BE(partNumber)
  return Buffer.concat([Buffer.from(uploadId + NUL), number])
}
