import { ObjectId } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import { foreignItem } from '../errors.js'
import type { Caller, RequestContext } from '../ports.js'

export const isOwner = ({ owner }: LibraryDocument, { account }: Caller) => owner instanceof ObjectId &&
  owner.equals(account._id)

/** Only the owner of an item and admins may change or delete it. 403. */
export function requirePermission (
  item: LibraryDocument,
  caller: Caller,
  isAdmin: (caller: Caller) => boolean,
  requestContext: RequestContext
): void {
  if (isOwner(item, caller) || isAdmin(caller)) return
  requestContext.record('access.denied', caller.account, { reason: 'foreign item' })
  throw foreignItem()
}
