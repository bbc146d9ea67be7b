import { MongoServerError } from 'mongodb'
import { prepareEnvironment } from '../services/environment.js'
import { createProgress, type Progress } from './progress.js'

/** What a command of `cli/commands/` works with. It resolves with its exit code. */
export interface Call {
  args: string[]
  env: Record<string, string | undefined>
  print: (line: string) => void
  progress: Progress
}

/** The program was called wrongly. */
export class Misuse extends Error {
  constructor (readonly usage: string) { super(usage) }
}

/** Runs a command with the arguments and the environment of this process. */
export function runCommand (command: (call: Call) => Promise<number>): Promise<void> {
  return runProgram(async () => {
    const progress = createProgress(process.stderr, () => performance.now())
    try {
      return await command({ args: process.argv.slice(2), env: process.env, print, progress })
    } finally {
      progress.end()
    }

    function print (line: string): void {
      if (process.stdout.isTTY) progress.end()
      console.log(line)
    }
  })
}

/**
 * Runs a program with the variables of `.env`. Its exit code is the result of `work`, or that of `failure`. A program
 * that goes on after `work` has no result.
 */
export async function runProgram (work: () => Promise<number | undefined>): Promise<void> {
  // a report or a log without a reader is no reason to stop
  for (const output of [process.stdout, process.stderr]) output.on('error', () => {})
  try {
    prepareEnvironment(process.env)
    process.exitCode = await work()
  } catch (error) {
    const { code, stderr } = failure(error as Error)
    process.stderr.write(stderr)
    process.exit(code)
  }
}

/** How a program ends that fails with this error: after misuse with its usage and 2, else with one sentence and 1. */
export function failure (error: Error): { code: number, stderr: string } {
  if (error instanceof Misuse) return { code: 2, stderr: `${error.usage}\n` }
  return { code: 1, stderr: `${error.message}${causeOf(error.cause)}\n` }
}

/** The name of the cause, without the database's message, which may quote a phone number. */
const causeOf = (cause: unknown) => cause instanceof Error
  ? `: ${cause.name}${cause instanceof MongoServerError ? ` ${cause.codeName ?? cause.code}` : ''}`
  : ''
