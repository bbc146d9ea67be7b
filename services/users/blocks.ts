import { ObjectId, type Collection } from 'mongodb'
import type { UserDocument } from '../../schemas/documents.js'
import type { BlockList } from '../../schemas/moderation.js'
import type { Accounts } from '../accounts.js'
import { invalidToken, ownAccount, tooManyBlocks, userNotFound } from '../errors.js'
import type { Caller, Clock, RequestContext } from '../ports.js'

const MAX_BLOCKS = 200
const EXISTING = { deleting: { $exists: false } }

export interface BlocksOptions {
  users: Collection<UserDocument>
  accounts: Pick<Accounts, 'forget'>
  now: Clock
}

/** The accounts whose items a caller does not want to see. They are in the caller's row. */
export function createBlocks ({ users, accounts, now }: BlocksOptions) {
  return { list, add, remove }

  /** Newest first, without deleted accounts. */
  async function list ({ account: { blocks = [] } }: Caller): Promise<BlockList> {
    const names = await namesOf(blocks.map(({ id }) => id))
    return {
      blocks: blocks.toReversed().flatMap(({ id, at }) => {
        const username = names.get(id.toHexString())
        return username === undefined ? [] : [{ user_id: id.toHexString(), username, created_at: at.toISOString() }]
      })
    }
  }

  /** By id, the names of the accounts that are still there: `''` without one. */
  async function namesOf (ids: ObjectId[]): Promise<Map<string, string>> {
    const rows = ids.length === 0
      ? []
      : await users.find({ _id: { $in: ids }, ...EXISTING }, { projection: { username: 1 } }).toArray()
    return new Map(rows.map(({ _id, username = '' }) => [_id.toHexString(), username]))
  }

  /** Blocks an account. It can be repeated. 400 oneself, 404, 409 beyond 200. */
  async function add (id: string, { account }: Caller, requestContext: RequestContext): Promise<void> {
    const blocked = new ObjectId(id)
    if (blocked.equals(account._id)) throw ownAccount()
    if (blocksOf(account).some(other => other.equals(blocked))) return
    if (!await users.findOne({ _id: blocked, ...EXISTING }, { projection: { _id: 1 } })) throw userNotFound()
    if (await push(account, blocked)) return requestContext.record('block.added', account, { id })
    const present = await users.findOne({ _id: account._id, ...EXISTING })
    if (!present) throw invalidToken()
    if (blocksOf(present).some(other => other.equals(blocked))) return
    if (!await dropDeleted(present) || !await push(account, blocked)) throw tooManyBlocks(MAX_BLOCKS)
    requestContext.record('block.added', account, { id })
  }

  /** False if the account is blocked already, or the list is full. */
  async function push (account: UserDocument, id: ObjectId): Promise<boolean> {
    const { matchedCount } = await users.updateOne(
      {
        _id: account._id,
        ...EXISTING,
        'blocks.id': { $ne: id },
        [`blocks.${MAX_BLOCKS - 1}`]: { $exists: false }
      },
      { $push: { blocks: { id, at: now() } } }
    )
    accounts.forget(account)
    return matchedCount === 1
  }

  /** Makes room in a full list. False if all accounts of it are there. */
  async function dropDeleted (account: UserDocument): Promise<boolean> {
    const names = await namesOf(blocksOf(account))
    const deleted = blocksOf(account).filter(id => !names.has(id.toHexString()))
    if (deleted.length > 0) {
      await users.updateOne({ _id: account._id }, { $pull: { blocks: { id: { $in: deleted } } } })
    }
    return deleted.length > 0
  }

  /** Takes a block back. It can be repeated, also for an account that is unknown. */
  async function remove (id: string, { account }: Caller, requestContext: RequestContext): Promise<void> {
    const blocked = new ObjectId(id)
    const { modifiedCount } = await users.updateOne({ _id: account._id }, { $pull: { blocks: { id: blocked } } })
    accounts.forget(account)
    if (modifiedCount > 0) requestContext.record('block.removed', account, { id })
  }
}

const blocksOf = ({ blocks = [] }: UserDocument): ObjectId[] => blocks.map(({ id }) => id)
