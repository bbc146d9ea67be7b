import { MongoServerError } from 'mongodb'
import { prepareEnvironment } from '../services/environment.js'

/** Ends a program that was called in a way it does not know, with its usage and exit code 2. */
export function misused (usage: string): never {
  process.stderr.write(`${usage}\n`)
  process.exit(2)
}

/**
 * Runs a program with the variables of `.env`: its exit code is what `work` resolves with, or 1 with one sentence when
 * that fails.
 */
export async function runProgram (work: () => Promise<number>): Promise<void> {
  process.stdout.on('error', () => {}) // a report that nobody reads any more is no reason to stop half-way
  try {
    prepareEnvironment(process.env)
    process.exitCode = await work()
  } catch (error) {
    const { message, cause } = error as Error
    process.stderr.write(`${message}${causeOf(cause)}\n`)
    process.exit(1)
  }
}

/** What failed, without a word of what the database said: it may quote a number. */
const causeOf = (cause: unknown) => cause instanceof Error
  ? `: ${cause.name}${cause instanceof MongoServerError ? ` ${cause.codeName ?? cause.code}` : ''}`
  : ''
