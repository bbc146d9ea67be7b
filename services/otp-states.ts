import type { Collection } from 'mongodb'
import type { OtpDocument } from '../schemas/documents.js'
import { isDuplicateKey } from './errors.js'
import { initial, next, type OtpEvent, type OtpOutcome, type OtpState } from './otp.js'

/** A race is lost only to somebody who won it; to lose this many in a row, something else must be wrong. */
const MOST_RACES = 100
const KEPT_MS = 48 * 3600 * 1000

/** An event and whoever waits for its outcome. */
interface Waiting { event: OtpEvent, at: Date, resolve: (outcome: OtpOutcome) => void, reject: (error: unknown) => void }

/** `apply(phone, event, at)`: the rules of services/otp.ts on the phone's document, by compare-and-set on its version. */
export function createOtpStates (otps: Collection<OtpDocument>) {
  const lines = new Map<string, Waiting[]>()
  return apply

  /**
   * Events that arrive while one is under way wait and are applied together, by one read and one write:
   * a flood of guesses would else lose race after race against itself, and take every connection meanwhile.
   * What fails, fails for all that wait, so that a database that is gone keeps nobody waiting in line.
   */
  function apply (phone: string, event: OtpEvent, at: Date): Promise<OtpOutcome> {
    return new Promise((resolve, reject) => {
      const line = lines.get(phone)
      line?.push({ event, at, resolve, reject })
      if (line) return
      lines.set(phone, [{ event, at, resolve, reject }])
      serve(phone)
    })
  }

  async function serve (phone: string): Promise<void> {
    const line = lines.get(phone)!
    while (line.length > 0) {
      const batch = line.splice(0)
      try {
        const outcomes = await compareAndSet(phone, batch)
        batch.forEach(({ resolve }, i) => resolve(outcomes[i]!))
      } catch (error) {
        for (const { reject } of [...batch, ...line.splice(0)]) reject(error)
      }
    }
    lines.delete(phone)
  }

  /** Applies the events in their order, all anew each time another process was first. */
  async function compareAndSet (phone: string, batch: Waiting[]): Promise<OtpOutcome[]> {
    for (let race = 0; race < MOST_RACES; race++) {
      const stored = await otps.findOne({ _id: phone })
      const before: OtpState = stored ?? initial
      let state = before
      const outcomes = batch.map(({ event, at }) => {
        const result = next(state, event, at)
        state = result.state
        return result.outcome
      })
      if (state === before || await write(phone, stored?.version ?? 0, state, batch.at(-1)!.at)) return outcomes
    }
    throw new Error('the document of a phone changed at every attempt')
  }

  async function write (phone: string, version: number, { challenge, sends, failures, locked_until: lockedUntil, undelivered_at: undeliveredAt }: OtpState, at: Date): Promise<boolean> {
    const document: OtpDocument = {
      _id: phone,
      version: version + 1,
      challenge,
      sends,
      failures,
      locked_until: lockedUntil,
      ...(undeliveredAt && { undelivered_at: undeliveredAt }),
      purge_at: new Date(at.getTime() + KEPT_MS)
    }
    if (version > 0) return (await otps.replaceOne({ _id: phone, version }, document)).matchedCount === 1
    try {
      await otps.insertOne(document)
      return true
    } catch (error) {
      if (isDuplicateKey(error)) return false
      throw error
    }
  }
}
