import { ObjectId, type Collection, type UpdateFilter } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { LibraryItem, LibraryItemChange } from '../../schemas/library.js'
import { FieldError, itemNotFound, sentences } from '../errors.js'
import type { Caller, RequestContext } from '../ports.js'
import { retryConflict } from '../retry.js'
import { categoryOf, PRIVATE_FIELDS } from './item.js'
import { isLabel } from './label.js'
import { recordItemEvent, requirePermission, withSameOwner } from './permission.js'
import { titleWords } from './title-words.js'

export interface ItemEditOptions {
  library: Collection<LibraryDocument>
  isAdmin: (caller: Caller) => boolean
  toItem: (row: LibraryDocument) => LibraryItem
}

/** Changes the labels of items at a caller's request. */
export function createItemEdit ({ library, isAdmin, toItem }: ItemEditOptions) {
  return { editItem }

  /**
   * Changes the title and the category, where they are sent, for the item's owner or an admin. Without a text the title
   * goes, and the category is that of the type. Resolves with the item as it is then. 400, 403, 404.
   */
  async function editItem (
    id: string,
    change: LibraryItemChange,
    caller: Caller,
    requestContext: RequestContext
  ): Promise<LibraryItem> {
    validateLabels(change)
    const _id = new ObjectId(id)
    await retryConflict('a library item', () => edit(_id, change, caller, requestContext))
    const row = await library.findOne({ _id }, { projection: PRIVATE_FIELDS })
    if (!row) throw itemNotFound()
    return toItem(row)
  }

  /** Undefined if the owner changed after the item was read. */
  async function edit (
    _id: ObjectId,
    change: LibraryItemChange,
    caller: Caller,
    requestContext: RequestContext
  ): Promise<true | undefined> {
    const row = await library.findOne({ _id })
    if (!row) throw itemNotFound()
    requirePermission(row, caller, isAdmin, requestContext)
    const update = updateOf(change, toItem(row).type)
    if (!update) return true
    const { matchedCount } = await library.updateOne(withSameOwner(row), update)
    if (matchedCount === 0) return undefined
    recordItemEvent('library.edited', row, caller, requestContext)
    return true
  }
}

/** Undefined if nothing is to be changed. */
function updateOf ({ title, category }: LibraryItemChange, type: string): UpdateFilter<LibraryDocument> | undefined {
  if (title === undefined && category === undefined) return undefined
  const set = {
    ...(hasText(title) && { title, words: titleWords(title) }),
    ...(category !== undefined && { category: hasText(category) ? category : categoryOf(type) })
  }
  return {
    ...(Object.keys(set).length > 0 && { $set: set }),
    ...(title !== undefined && !hasText(title) && { $unset: { title: '', words: '' } })
  }
}

/** A lone surrogate would be stored as another character. */
function validateLabels (change: LibraryItemChange): void {
  const wrong = Object.entries(change).filter(([name, value]) =>
    ['title', 'category'].includes(name) && hasText(value) && !isLabel(value))
  if (wrong.length > 0) throw new FieldError(Object.fromEntries(wrong.map(([name]) => [name, [sentences.value]])))
}

const hasText = (value: string | undefined): value is string => value !== undefined && value.trim() !== ''
