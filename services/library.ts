import type { Collection } from 'mongodb'
import type { LibraryDocument } from '../schemas/documents.js'
import type { LibraryItem, LibraryPage, LibraryQuery } from '../schemas/library.js'
import type { MediaStore } from './ports.js'
import { storedTime } from './stored-time.js'

const MOST_PER_PAGE = 100

export function createLibrary ({ library, media }: { library: Collection<LibraryDocument>, media: MediaStore }) {
  return { list, present }

  /** One page, newest first, ties broken by id; a page past the end is empty. */
  async function list ({ page = 1, per_page: asked = 10 }: LibraryQuery): Promise<LibraryPage> {
    const perPage = Math.min(asked, MOST_PER_PAGE)
    const total = await library.countDocuments()
    const skip = (page - 1) * perPage
    const items = skip >= total ? [] : await library.find().sort({ created_at: -1, _id: -1 }).skip(skip).limit(perPage).toArray()
    return { items: items.map(present), page, per_page: perPage, total, total_pages: Math.ceil(total / perPage) }
  }

  /** An item as the world sees it; a row of the replaced system gets defaults for what it lacks. */
  function present (row: LibraryDocument): LibraryItem {
    const url = row.key ? media.url(row.key) : String(row.url ?? '')
    const type = row.type ?? typeOf(url)
    return {
      id: row._id.toHexString(),
      url,
      user_id: String(row.user_id ?? ''),
      created_at: storedTime(row.created_at, row._id).toISOString(),
      type,
      category: row.category ?? categoryOf(type),
      ...(row.title !== undefined && { title: row.title }),
      ...(row.content_type !== undefined && { content_type: row.content_type, size: row.size, sha256: row.sha256 })
    }
  }
}

/** What an item is taken for whose row does not say. */
export const typeOf = (url: string) => /\.gif($|\?)/i.test(url) ? 'gif' : 'image'
export const categoryOf = (type: string) => type === 'gif' ? 'GIF' : 'Images'
