import type {
  LibraryDocument,
  StoredRendition,
  UploadDocument,
  UploadedFields,
  UploadKey
} from '../../schemas/documents.js'
import { categoryOf } from '../library/item.js'
import { renditionKey } from '../library/object-keys.js'
import { titleWords } from '../library/title-words.js'
import type { Picture } from '../pictures/pictures.js'
import type { Clock, Log, MediaStore } from '../ports.js'
import type { StoredFile } from './ingest.js'
import type { createQuota } from './quota.js'
import { allStored, wrapStoreFailure, type createUploadRecords } from './upload-records.js'

export interface PublishOptions {
  media: MediaStore
  uploadRecords: Pick<ReturnType<typeof createUploadRecords>, 'commit'>
  quota: ReturnType<typeof createQuota>
  now: Clock
}

/** A file that is stored and decoded. */
export interface ReceivedFile {
  record: UploadDocument
  fields: UploadedFields
  file: StoredFile
  picture?: Picture
  /** Identifies a request with an `Idempotency-Key`. */
  key?: UploadKey
}

/** Turns a received file into an item. */
export function createPublish ({ media, uploadRecords, quota, now }: PublishOptions) {
  /** Stores the renditions beside the file and makes it an item of the library. 413 beyond the owner's quota. */
  return async function publish (received: ReceivedFile, log: Log): Promise<LibraryDocument> {
    const { record, file, picture } = received
    const renditions = await putRenditions(record, picture)
    const bytes = renditions.reduce((sum, { bytes }) => sum + bytes, file.size)
    const claim = await quota.claim(record.owner, record._id, bytes)
    try {
      const item = await uploadRecords.commit(record, itemOf(received, renditions))
      const { _id, content_type: contentType, size } = item
      log.info({ event: 'library.uploaded', id: _id.toHexString(), content_type: contentType, size })
      return item
    } finally {
      await claim.end()
    }
  }

  async function putRenditions ({ key }: UploadDocument, picture?: Picture): Promise<StoredRendition[]> {
    return allStored((picture?.renditions ?? []).map(async rendition => {
      const { size, content_type: type, bytes, frames, duration_ms: duration } = rendition
      await wrapStoreFailure(media.putBytes(renditionKey(key, { size, content_type: type }), bytes, type))
      return { size, content_type: type, bytes: bytes.length, frames, duration_ms: duration }
    }))
  }

  /** Names every member, so that no other field gets into an item. */
  function itemOf (received: ReceivedFile, renditions: StoredRendition[]): LibraryDocument {
    const { record, fields, file, picture, key } = received
    const { user_id: userId, category, title } = fields
    const { contentType, size, sha256, frames } = file
    const type = contentType === 'image/gif' || frames > 1 ? 'gif' : 'image'
    return {
      _id: record._id,
      key: record.key,
      ...(record.owner !== undefined && { owner: record.owner }),
      user_id: userId,
      category: category ?? categoryOf(type),
      ...(title !== undefined && { title, words: titleWords(title) }),
      type,
      content_type: contentType,
      size,
      sha256,
      ...(picture && { ...factsOf(picture), renditions }),
      ...(key && { upload_key: key }),
      created_at: now()
    }
  }
}

export const factsOf = ({
  facts: { width, height, frames, duration_ms: duration, dominant_color: color }
}: Picture): Partial<LibraryDocument> =>
  ({ width, height, frames, duration_ms: duration, dominant_color: color })
