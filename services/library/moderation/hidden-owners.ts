import type { Collection } from 'mongodb'
import type { LibraryDocument, UserDocument } from '../../../schemas/documents.js'
import type { Clock } from '../../ports.js'
import { HIDDEN_ITEMS } from '../view.js'

/** Longer than any request takes between the note in the owner's row and the hiding, on any clock. */
const SETTLED_MS = 10 * 60_000
const MAX_ACCOUNTS = 100

export interface HiddenOwnersOptions {
  users: Collection<UserDocument>
  library: Collection<LibraryDocument>
  now: Clock
}

/** The accounts that own hidden items, and so have lists of their own. */
export function createHiddenOwners ({ users, library, now }: HiddenOwnersOptions) {
  /** Ends that for accounts without a hidden item, 100 at most. The holder of the sweeper's lease calls it. */
  return async function clearFormerOwners (): Promise<void> {
    const at = now()
    const settled = await users
      .find({ has_hidden: { $lte: new Date(at.getTime() - SETTLED_MS) } }, { projection: { has_hidden: 1 } })
      .sort({ has_hidden: 1 })
      .limit(MAX_ACCOUNTS)
      .toArray()
    for (const { _id, has_hidden: since } of settled) {
      const isOwner = await library.findOne({ ...HIDDEN_ITEMS, owner: _id }, { projection: { _id: 1 } })
      // a hiding that begins meanwhile writes another time
      await users.updateOne({ _id, has_hidden: since }, isOwner
        ? { $set: { has_hidden: at } }
        : { $unset: { has_hidden: '' } })
    }
  }
}
