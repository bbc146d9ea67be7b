import { setTimeout as wait } from 'node:timers/promises'
import type { Collection } from 'mongodb'
import type { UserDocument } from '../schemas/documents.js'
import type { createBelongings } from './belongings.js'
import { isDuplicateKey, numberTaken, userNotFound } from './errors.js'
import { maskPhone } from './phone.js'
import type { Clock, Log, Visitor } from './ports.js'
import type { createSessions } from './sessions.js'
import { warnOfVacancy } from './standing.js'

/** As long as no request is at work on a move for so long, nobody is. */
const GIVEN_UP_MS = 60_000
const RETRY_DELAYS_MS = [250, 500, 1000, 2000, 4000]

export interface MovesOptions {
  users: Collection<UserDocument>
  sessions: Pick<ReturnType<typeof createSessions>, 'move'>
  belongings: ReturnType<typeof createBelongings>
  isAppointed: (phone: string) => boolean
  /** Tells a number that its account has another one now. Never rejects. */
  notify: (phone: string, visitor: Visitor) => Promise<void>
  /** Whoever is the cause of what happens by itself: nobody is to learn from a record where somebody else is. */
  nobody: Visitor
  now: Clock
  log: Log
}

/** Users who change their phone number, with everything that is theirs. The number and the note of what is still on its way are one write, so that nothing is lost on the way. */
export function createMoves ({ users, sessions, belongings, isAppointed, notify, nobody, now, log }: MovesOptions) {
  const stopping = new AbortController()
  const retrying = new Set<Promise<void>>()
  return { move, finish, finishAll, finishAbandoned, close }

  /** Gives the user whose number is `from` the number `to`. 404; 409 when somebody has it. What fails halfway is finished later. */
  async function move (from: string, to: string, visitor: Visitor): Promise<UserDocument> {
    const user = await users.findOne({ number: from })
    if (!user) throw userNotFound()
    await finish(user)
    const moved = await renumber(user, from, to)
    visitor.record('user.moved', from, { to: maskPhone(to) })
    visitor.record('user.moved', to, { from: maskPhone(from) })
    if (isAppointed(from)) warnOfVacancy(log, from)
    const notified = notify(from, visitor)
    try {
      await finish(moved)
    } catch (error) {
      retry(moved)
      throw error
    } finally {
      await notified
    }
    return moved
  }

  async function renumber ({ _id }: UserDocument, from: string, to: string): Promise<UserDocument> {
    const at = now()
    try {
      const user = await users.findOneAndUpdate(
        { _id, number: from, moved: { $exists: false }, blocked: { $ne: true } },
        { $set: { number: to, number_since: at, moved: { from, at } } },
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
    const brought = await sessions.move(moved.from, number, moved.at, nobody)
    await belongings.move(moved.from, number, moved.at, brought)
    await users.updateOne({ _id, number, 'moved.at': moved.at }, { $unset: { moved: '' } })
  }

  /** Finishes what has failed once, without letting anybody wait: until then the caller's sessions are without a user. */
  function retry (user: UserDocument): void {
    const work = (async () => {
      for (const delay of RETRY_DELAYS_MS) {
        await wait(delay, undefined, { ref: false, signal: stopping.signal }).catch(() => {})
        if (stopping.signal.aborted || await finished(user)) return
      }
    })().finally(() => retrying.delete(work))
    retrying.add(work)
  }

  async function finished (user: UserDocument): Promise<boolean> {
    return finish(user).then(() => true, (err: unknown) => {
      log.error({ event: 'user.unmoved', id: user._id.toHexString(), err })
      return false
    })
  }

  /** Lets what is being finished end its present attempt. */
  async function close (): Promise<void> {
    stopping.abort()
    await Promise.all(retrying)
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
    for (const user of await users.find({ 'moved.at': { $lte: latest } }).toArray()) await finished(user)
  }
}
