import type {
  LibraryDocument,
  StoredRendition,
  UploadDocument,
  UploadedFields,
  UploadKey
} from '../../schemas/documents.js'
import { folderOf } from '../library/item-objects.js'
import { categoryOf } from '../library/item.js'
import { titleWords } from '../library/title-words.js'
import type { Picture } from '../pictures/pictures.js'
import type { createPicturePool } from '../pictures/pool.js'
import type { Clock, Log, MediaStore } from '../ports.js'
import type { StoredFile } from './ingest.js'
import type { createQuota } from './quota.js'
import { wrapStoreFailure, type createUploadRecords } from './upload-records.js'

export interface PublishOptions {
  media: MediaStore
  uploadRecords: Pick<ReturnType<typeof createUploadRecords>, 'commit'>
  quota: ReturnType<typeof createQuota>
  /** Without it an item has neither facts nor renditions. */
  pictures?: Pick<ReturnType<typeof createPicturePool>, 'read'>
  now: Clock
}

/** Turns an uploaded file into an item. */
export function createPublish ({ media, uploadRecords, quota, pictures, now }: PublishOptions) {
  /**
   * Decodes a stored file, stores its renditions beside it, and makes it an item of the library. 400 for a damaged
   * picture, 413 beyond the owner's quota.
   */
  return async function publish (
    row: UploadDocument,
    fields: UploadedFields,
    file: StoredFile,
    log: Log,
    key?: UploadKey
  ): Promise<LibraryDocument> {
    const picture = pictures && await pictures.read(await file.bytes(), fields.fit ?? 'contain')
    file.release()
    const renditions = await putRenditions(row, picture)
    const claim = await quota.claim(
      row.owner,
      row._id,
      file.size + renditions.reduce((sum, { bytes }) => sum + bytes, 0)
    )
    try {
      const item = await uploadRecords.commit(row, {
        ...itemOf(row, fields, file, picture, renditions),
        ...(key && { upload_key: key })
      })
      const { _id, content_type: contentType, size } = item
      log.info({ event: 'library.uploaded', id: _id.toHexString(), content_type: contentType, size })
      return item
    } finally {
      await claim.end()
    }
  }

  async function putRenditions ({ key }: UploadDocument, picture?: Picture): Promise<StoredRendition[]> {
    return Promise.all((picture?.renditions ?? []).map(async ({ size, bytes, frames, duration_ms: duration }) => {
      await wrapStoreFailure(media.putBytes(`${folderOf(key)}${size}.gif`, bytes, 'image/gif'))
      return { size, bytes: bytes.length, frames, duration_ms: duration }
    }))
  }

  /** Names every member, so that no other field gets into an item. */
  function itemOf (
    { _id, key, owner }: UploadDocument,
    { user_id: userId, category, title }: UploadedFields,
    { contentType, size, sha256, frames }: StoredFile,
    picture: Picture | undefined,
    renditions: StoredRendition[]
  ): LibraryDocument {
    const type = contentType === 'image/gif' || frames > 1 ? 'gif' : 'image'
    return {
      _id,
      key,
      ...(owner !== undefined && { owner }),
      user_id: userId,
      category: category ?? categoryOf(type),
      ...(title !== undefined && { title, words: titleWords(title) }),
      type,
      content_type: contentType,
      size,
      sha256,
      ...(picture && { ...factsOf(picture), renditions }),
      created_at: now()
    }
  }
}

const factsOf = ({
  facts: { width, height, frames, duration_ms: duration, dominant_color: color }
}: Picture): Partial<LibraryDocument> =>
  ({ width, height, frames, duration_ms: duration, dominant_color: color })
