import type { Filter } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { Caller } from '../ports.js'

type Condition = Filter<LibraryDocument>

/** Finds hidden items by their index. */
export const HIDDEN_ITEMS = { hidden: { $gt: '' } } as unknown as { hidden: 'reports' }

/** Which items a caller's lists show. */
export interface View {
  /** Each of these items meets it. Absent if the lists show everything. */
  condition?: Condition
  /**
   * Only of a view that the caller shares with nobody: finds the items that are in one of this view and the shared one.
   * The hidden ones of them are in this view.
   */
  difference?: Condition
}

const VISIBLE = { hidden: null } as unknown as Condition

/**
 * The view of a caller: the items that are not hidden. Admins, and owners of hidden items, also see those. Items that
 * the caller has reported, and those of accounts that the caller has blocked, are left out.
 */
export function viewOf ({ account }: Caller, isAdmin: boolean): View {
  const { _id: owner, blocks = [], reported = [], has_hidden: hasHidden } = account
  const leftOut: Condition[] = [
    ...(blocks.length > 0 ? [{ owner: { $in: blocks.map(({ id }) => id) } }] : []),
    ...(reported.length > 0 ? [{ _id: { $in: reported } }] : [])
  ]
  if (leftOut.length === 0 && !isAdmin && !hasHidden) return { condition: VISIBLE }
  const unseen = isAdmin ? [] : [{ ...HIDDEN_ITEMS, ...(hasHidden && { owner: { $ne: owner } }) }]
  const shown = { ...HIDDEN_ITEMS, ...noneOf(leftOut), ...(!isAdmin && { owner }) }
  return {
    condition: noneOf([...unseen, ...leftOut]),
    difference: {
      $or: [
        ...leftOut.map(condition => ({ ...VISIBLE, ...condition })),
        ...(isAdmin || hasHidden ? [shown] : [])
      ]
    }
  }
}

const noneOf = (conditions: Condition[]): Condition | undefined =>
  conditions.length > 0 ? { $nor: conditions } : undefined
