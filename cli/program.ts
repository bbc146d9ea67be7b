import { MongoServerError } from 'mongodb'
import { prepareEnvironment } from '../services/environment.js'

/** Ends a program that was called wrongly, with its usage and exit code 2. */
export function misused (usage: string): never {
  process.stderr.write(`${usage}\n`)
  process.exit(2)
}

/**
 * Runs a program with the variables of `.env`. Its exit code is the result of `work`, or 1 with one sentence if that
 * fails. A program that goes on after `work` has no result.
 */
export async function runProgram (work: () => Promise<number | undefined>): Promise<void> {
  // a report or a log without a reader is no reason to stop
  for (const output of [process.stdout, process.stderr]) output.on('error', () => {})
  try {
    prepareEnvironment(process.env)
    process.exitCode = await work()
  } catch (error) {
    const { message, cause } = error as Error
    process.stderr.write(`${message}${causeOf(cause)}\n`)
    process.exit(1)
  }
}

/** The name of the cause, without the database's message, which may quote a phone number. */
const causeOf = (cause: unknown) => cause instanceof Error
  ? `: ${cause.name}${cause instanceof MongoServerError ? ` ${cause.codeName ?? cause.code}` : ''}`
  : ''
