import type { Collection } from 'mongodb'
import type { LibraryDocument, UserDocument } from '../../schemas/documents.js'
import type { Clock } from '../ports.js'
import { HIDDEN_ITEMS } from './view.js'

/** Longer than any request takes between the note in the owner's row and the hiding, on any clock. */
const SETTLED_MS = 10 * 60_000

export interface HiddenOwnersOptions {
  users: Collection<UserDocument>
  library: Collection<LibraryDocument>
  now: Clock
}

/** The accounts that own hidden items, and so have lists of their own. */
export function createHiddenOwners ({ users, library, now }: HiddenOwnersOptions) {
  /** Ends that for accounts without a hidden item. The holder of the sweeper's lease calls it. */
  return async function clearFormerOwners (): Promise<void> {
    const settled = { has_hidden: { $lte: new Date(now().getTime() - SETTLED_MS) } }
    if (!await users.findOne(settled, { projection: { _id: 1 } })) return
    const rows = await library.find(HIDDEN_ITEMS, { projection: { owner: 1 } }).toArray()
    const owners = rows.flatMap(({ owner }) => owner ?? [])
    await users.updateMany({ ...settled, _id: { $nin: owners } }, { $unset: { has_hidden: '' } })
  }
}
