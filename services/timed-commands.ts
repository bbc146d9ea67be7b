import type { Db } from 'mongodb'
import { isDuplicateKey } from './errors.js'

/** `failed` includes a command that found no connection. A unique value that is taken is no failure. */
export type CommandListener = (command: string, outcome: 'ok' | 'failed', ms: number) => void

/** A database whose commands are timed. */
export interface TimedDatabase extends Pick<Db, 'collection' | 'command'> {
  /** Times work that sends this command by a method of the driver. */
  time: <T>(command: string, work: () => Promise<T>) => Promise<T>
}

/**
 * Tells a listener of each command at its end. The time includes the wait for a connection and the driver's retry.
 * The driver's events of commands tell the same, but they cost a sixth of its work, even if nobody listens
 * (bench/README.md).
 */
export function timedDatabase (db: Db, listener: CommandListener): TimedDatabase {
  return {
    collection: db.collection.bind(db),
    command: (command, options) => time(Object.keys(command)[0]!, () => db.command(command, options)),
    time
  }

  async function time<T> (command: string, work: () => Promise<T>): Promise<T> {
    const begun = performance.now()
    let outcome: 'ok' | 'failed' = 'ok'
    try {
      return await work()
    } catch (error) {
      if (!isDuplicateKey(error)) outcome = 'failed'
      throw error
    } finally {
      listener(command, outcome, performance.now() - begun)
    }
  }
}
