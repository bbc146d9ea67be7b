import { ObjectId, type Filter } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import { foreignItem, itemNotFound } from '../errors.js'
import type { AuditEvent, Caller, RequestContext } from '../ports.js'

export const isOwner = ({ owner }: LibraryDocument, { account }: Caller) => owner instanceof ObjectId &&
  owner.equals(account._id)

/** Only the owner of an item and admins may change or delete it. 403; 404 if it is hidden from the caller. */
export function requirePermission (
  item: LibraryDocument,
  caller: Caller,
  isAdmin: (caller: Caller) => boolean,
  requestContext: RequestContext
): void {
  if (isOwner(item, caller) || isAdmin(caller)) return
  if (item.hidden) throw itemNotFound()
  requestContext.record('access.denied', caller.account, { reason: 'foreign item' })
  throw foreignItem()
}

/** Finds the item while it has the owner that it had when it was read. */
export const withSameOwner = ({ _id, owner }: LibraryDocument) =>
  ({ _id, owner: { $eq: owner ?? null } }) as Filter<LibraryDocument>

/** Records what a caller did to an item, for its owner, and who did it if that was somebody else. */
export function recordItemEvent (
  event: AuditEvent,
  item: LibraryDocument,
  caller: Caller,
  requestContext: RequestContext,
  details: { decision?: string } = {}
): void {
  requestContext.record(event, item.owner ? { _id: item.owner } : null, {
    id: item._id.toHexString(),
    ...details,
    ...(!isOwner(item, caller) && { by: caller.account._id.toHexString() })
  })
}
