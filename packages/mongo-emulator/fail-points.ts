import type { Request } from './commands/types.js'
import { badValue, CommandError, failedToParse } from './errors.js'
import { isDoc, isNumeric, toNumber, type Doc, type Value } from './values.js'

/** Codes after which MongoDB itself lets drivers retry a write. */
const retryable = new Set([6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436])

/** The effect of the active fail point on a command, before the command runs. */
export interface Failure { blockMs: number, closeConnection: boolean, error: CommandError | undefined }

/** The fail point `failCommand` of MongoDB's test commands. */
export class FailPoints {
  #skip = 0
  #times = 0
  #entered = 0
  #data: Doc = new Map()

  /** Answers `configureFailPoint`; returns how often the fail point was hit before. */
  configure (command: Doc): number {
    const name = String(command.get('configureFailPoint'))
    if (name !== 'failCommand') throw failedToParse(`${name} not found`)
    const { skip, times } = parseMode(command.get('mode'))
    const data = command.get('data')
    this.#skip = skip
    this.#times = times
    this.#data = isDoc(data) ? data : new Map()
    return this.#entered
  }

  /** Returns the failure for this command, if any, and counts one use. */
  hit ({ name, body }: Request, appName: string | undefined): Failure | undefined {
    if (this.#times === 0 || !applies(this.#data, name, appName)) return undefined
    if (this.#skip > 0) {
      this.#skip--
      return undefined
    }
    this.#times--
    this.#entered++
    return failureOf(this.#data, body.has('txnNumber'))
  }
}

function applies (data: Doc, name: string, appName: string | undefined): boolean {
  const commands = data.get('failCommands')
  const wanted = data.get('appName')
  return name !== 'configureFailPoint' &&
    Array.isArray(commands) &&
    commands.includes(name) &&
    (wanted === undefined || wanted === appName)
}

function failureOf (data: Doc, retryableWrite: boolean): Failure {
  const code = data.get('errorCode')
  const block = data.get('blockTimeMS')
  return {
    blockMs: data.get('blockConnection') === true && isNumeric(block) ? toNumber(block) : 0,
    closeConnection: data.get('closeConnection') === true,
    error: isNumeric(code) ? failing(toNumber(code), retryableWrite) : undefined
  }
}

/** Only retryable writes get the label for retries. */
const failing = (code: number, retryableWrite: boolean): CommandError =>
  new CommandError(
    code,
    "Failing command via 'failCommand' failpoint",
    retryableWrite && retryable.has(code) ? new Map([['errorLabels', ['RetryableWriteError']]]) : undefined
  )

function parseMode (mode: Value | undefined): { skip: number, times: number } {
  if (mode === 'off') return { skip: 0, times: 0 }
  if (mode === 'alwaysOn') return { skip: 0, times: Infinity }
  if (!isDoc(mode)) throw badValue(`unknown mode: ${String(mode)}`)
  const [times, skip] = [mode.get('times'), mode.get('skip')]
  if (isNumeric(times)) return { skip: 0, times: toNumber(times) }
  if (isNumeric(skip)) return { skip: toNumber(skip), times: Infinity }
  throw badValue('could not find valid mode')
}
