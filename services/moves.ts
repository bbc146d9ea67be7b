import type { Collection } from 'mongodb'
import type { UserDocument } from '../schemas/documents.js'
import type { createBelongings } from './belongings.js'
import { isDuplicateKey, numberTaken, userNotFound } from './errors.js'
import { maskPhone } from './phone.js'
import type { Clock, Log, Visitor } from './ports.js'

/** As long as no request is at work on a move for so long, nobody is. */
const GIVEN_UP_MS = 60_000

export interface MovesOptions {
  users: Collection<UserDocument>
  sessions: { move: (from: string, to: string, before: Date) => Promise<void> }
  belongings: ReturnType<typeof createBelongings>
  now: Clock
  log: Log
}

/** Users who change their phone number, with everything that is theirs. The number and the note of what is still on its way are one write, so that nothing is lost on the way. */
export function createMoves ({ users, sessions, belongings, now, log }: MovesOptions) {
  return { move, finish, finishAll, finishAbandoned }

  /** Gives the user whose number is `from` the number `to`. 404; 409 when somebody has it. What fails halfway is finished later. */
  async function move (from: string, to: string, visitor: Visitor): Promise<UserDocument> {
    const user = await users.findOne({ number: from })
    if (!user) throw userNotFound()
    if (to === from) return user
    await finish(user)
    const moved = await renumber(user, from, to)
    visitor.record('user.moved', from, { to: maskPhone(to) })
    visitor.record('user.moved', to, { from: maskPhone(from) })
    await finish(moved)
    return moved
  }

  async function renumber ({ _id }: UserDocument, from: string, to: string): Promise<UserDocument> {
    try {
      const user = await users.findOneAndUpdate(
        { _id, number: from, moved: { $exists: false }, blocked: { $ne: true } },
        { $set: { number: to, moved: { from, at: now() } } },
        { returnDocument: 'after' }
      )
      if (!user) throw userNotFound()
      return user
    } catch (error) {
      throw isDuplicateKey(error) ? numberTaken() : error
    }
  }

  /** Brings what is still on its way to the user's number, if anything is. Can be repeated, also at the same time. */
  async function finish ({ _id, number, moved }: UserDocument): Promise<void> {
    if (moved === undefined || number === undefined) return
    await sessions.move(moved.from, number, moved.at)
    await belongings.move(moved.from, number, moved.at)
    await users.updateOne({ _id, number, 'moved.at': moved.at }, { $unset: { moved: '' } })
  }

  /** Finishes what a process left that ended. */
  function finishAll (): Promise<void> {
    return finishSince(now())
  }

  /** Finishes what a request left that failed, here or in another process. */
  function finishAbandoned (): Promise<void> {
    return finishSince(new Date(now().getTime() - GIVEN_UP_MS))
  }

  async function finishSince (latest: Date): Promise<void> {
    for (const user of await users.find({ 'moved.at': { $lte: latest } }).toArray()) {
      await finish(user).catch((err: unknown) => log.error({ event: 'user.unmoved', id: user._id.toHexString(), err }))
    }
  }
}
