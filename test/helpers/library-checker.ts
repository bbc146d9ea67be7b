/** Checks a library: every acknowledged item is there, and nothing is there that does not belong to it. */
import { GetObjectCommand, paginateListObjectsV2, ListMultipartUploadsCommand } from '@aws-sdk/client-s3'
import { MongoClient } from 'mongodb'
import type { Test } from 'tap'
import type { LibraryDocument, UploadDocument } from '../../schemas/documents.js'
import { s3Client, type Services } from './backends.js'
import { sha256 } from './bytes.js'

/** An item as a 201 showed it. */
export interface Acknowledged {
  id: string
  original_url: string
  sha256: string
  size: number
  renditions: Record<string, { url: string, bytes: number }>
}

/** Reads a database and a bucket directly, not through the service. Closes itself when `t` ends. */
export async function libraryChecker (t: Test, services: Services) {
  const mongo = await new MongoClient(services.mongoUri).connect()
  const s3 = s3Client(services)
  t.teardown(async () => {
    s3.destroy()
    await mongo.close()
  })
  const Bucket = services.s3.bucket
  const library = mongo.db().collection<LibraryDocument>('library')
  const uploads = mongo.db().collection<UploadDocument>('uploads')
  const renditions = new Map<string, string>()
  return { mongo, library, uploads, afterSweep, missing }

  /** Rows and objects that remain after a sweep, in the database, in the bucket, or in one of them alone. */
  async function afterSweep (): Promise<string[]> {
    const { Uploads = [] } = await s3.send(new ListMultipartUploadsCommand({ Bucket }))
    const objects = new Map<string, number>()
    for await (const { Contents = [] } of paginateListObjectsV2({ client: s3 }, { Bucket })) {
      for (const { Key, Size } of Contents) objects.set(Key!, Size!)
    }
    const named = new Map((await library.find().toArray()).flatMap(({ key = '', size, renditions = [] }) =>
      [
        [key, size],
        ...renditions.map(({ size, content_type: type, bytes }) =>
          [key.replace(/[^/]*$/, `${size}.${type === 'image/png' ? 'png' : 'gif'}`), bytes] as const)
      ] as Array<[string, number]>))
    return [
      ...(await uploads.find().toArray()).map(({ _id, state }) => `a row of uploads, ${state}: ${_id.toHexString()}`),
      ...Uploads.map(({ Key }) => `a multipart upload: ${Key}`),
      ...[...objects.keys()].filter(key => !named.has(key)).map(key => `an object without an item: ${key}`),
      ...[...named].filter(([key, size]) => objects.get(key) !== size).map(([key, size]) =>
        `an item's object of ${size} bytes that is ${objects.get(key) ?? 'not there'}: ${key}`)
    ]
  }

  /**
   * The differences from what was acknowledged: the row, the bytes of the original by their SHA-256, and those of the
   * renditions by their size and by earlier renditions of the same file.
   */
  async function missing (items: Acknowledged[]): Promise<string[]> {
    const faults: string[] = []
    const rows = new Map((await library.find().toArray()).map(row => [row._id.toHexString(), row]))
    for (const { id, original_url: url, ...item } of items) {
      if (rows.get(id)?.sha256 !== item.sha256) faults.push(`${id} is not in the library as it was acknowledged`)
      const original = await storedBytes(url)
      if (sha256(original) !== item.sha256 || original.length !== item.size) {
        faults.push(`${id} has ${original.length} other bytes than the ${item.size} that were acknowledged`)
      }
      for (const [size, { url, bytes }] of Object.entries(item.renditions)) {
        const rendition = await storedBytes(url)
        const source = `${size} of ${item.sha256}`
        if (!renditions.has(source)) renditions.set(source, sha256(rendition))
        if (rendition.length !== bytes || renditions.get(source) !== sha256(rendition)) {
          faults.push(`${id} has another rendition ${size}, of ${rendition.length} bytes`)
        }
      }
    }
    return faults
  }

  async function storedBytes (url: string): Promise<Uint8Array> {
    const [, Key] = url.split(`/${Bucket}/`)
    try {
      return await (await s3.send(new GetObjectCommand({ Bucket, Key }))).Body!.transformToByteArray()
    } catch { return new Uint8Array() }
  }
}
