import { createHash } from 'node:crypto'
import { BSON, ObjectId } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { LibraryItem } from '../../schemas/library.js'
import type { MediaStore } from '../ports.js'
import { storedTime } from '../stored-time.js'
import { folderOfOldItem, renditionKey } from './object-keys.js'

const BLUETOOTH_BYTES_PER_SECOND = 9000
const FACTS = [
  'title', 'content_type', 'size', 'sha256', 'width', 'height', 'frames', 'duration_ms', 'dominant_color'
] as const

/** The fields of a row that no client sees, and that may be long. */
export const PRIVATE_FIELDS = { words: 0, upload_key: 0 } as const

/**
 * Turns a row into the item that clients see. A row of the replaced system gets defaults for missing fields. An item's
 * `url` is that of the rendition `urlRendition` (`<width>x<height>`), if that is given and the item has it.
 */
export function createToItem (media: Pick<MediaStore, 'url'>, urlRendition?: string) {
  return function toItem (row: LibraryDocument): LibraryItem {
    const original = row.key ? media.url(row.key) : String(row.url ?? '')
    const renditions = renditionsOf(row)
    const type = row.type ?? typeOf(original)
    return {
      id: publicId(row._id),
      url: (urlRendition && renditions?.[urlRendition]?.url) ?? original,
      user_id: String(row.user_id ?? ''),
      created_at: storedTime(row.created_at, row._id).toISOString(),
      type,
      category: row.category ?? categoryOf(type),
      owner_id: row.owner instanceof ObjectId ? row.owner.toHexString() : null,
      original_url: original,
      ...factsOf(row),
      ...(row.hidden && { hidden: true }),
      ...(renditions && { renditions })
    }
  }

  function renditionsOf ({ _id, key, renditions }: LibraryDocument): LibraryItem['renditions'] {
    if (!renditions || !(key || _id instanceof ObjectId)) return undefined
    const place = key || folderOfOldItem(_id)
    return Object.fromEntries(renditions.map(rendition => {
      const { size, content_type: type = 'image/gif', bytes, frames, duration_ms: duration } = rendition
      return [size, {
        url: media.url(renditionKey(place, rendition)),
        content_type: type,
        bytes,
        frames,
        duration_ms: duration,
        ble_seconds: bluetoothSeconds(type === 'image/png' ? bitmapBytes(size) : bytes)
      }]
    }))
  }
}

/** The id of an item as 24 hexadecimal digits. A row whose id is no ObjectId gets digits that stay the same. */
export const publicId = (id: unknown) => id instanceof ObjectId
  ? id.toHexString()
  : createHash('sha256').update(BSON.serialize({ id })).digest('hex').slice(0, 24)

/** The bytes of the 24-bit bitmap of `<width>x<height>` that a panel receives for a still. */
function bitmapBytes (size: string): number {
  const [width = 0, height = 0] = size.split('x').map(Number)
  return width * height * 3
}

/** Rounded up to tenths. */
const bluetoothSeconds = (bytes: number) => Math.ceil(bytes * 10 / BLUETOOTH_BYTES_PER_SECOND) / 10

function factsOf (row: LibraryDocument): Partial<LibraryItem> {
  const facts: Record<string, unknown> = {}
  for (const name of FACTS) if (row[name] !== undefined && row[name] !== null) facts[name] = row[name]
  return facts
}

/** The type of an item whose row has none. */
export const typeOf = (url: string) => /\.gif($|\?)/i.test(url) ? 'gif' : 'image'
export const categoryOf = (type: string) => type === 'gif' ? 'GIF' : 'Images'
