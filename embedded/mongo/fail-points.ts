import { badValue, CommandError, failedToParse } from './errors.js'
import { isDoc, isNumeric, toNumber, type Doc, type Value } from './values.js'

/** Codes after which MongoDB itself lets drivers retry a write. */
const retryable = new Set([6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436])

/** What an active fail point does to a command. */
export interface Failure {
  blockMs: number
  closeConnection: boolean
  error: CommandError | undefined
  writeConcernError: Value | undefined
}

interface Mode { skip: number, times: number }

/** The `failCommand` fail point of MongoDB's test commands. */
export class FailPoints {
  #mode: Mode = { skip: 0, times: 0 }
  #data: Doc = new Map()
  #entered = 0

  /** Answers `configureFailPoint`; returns how often the fail point was hit before. */
  configure (command: Doc): number {
    if (command.get('configureFailPoint') !== 'failCommand') throw failedToParse(`${String(command.get('configureFailPoint'))} not found`)
    const entered = this.#entered
    const data = command.get('data')
    const mode = parseMode(command.get('mode'))
    this.#data = isDoc(data) ? data : new Map()
    this.#mode = mode
    return entered
  }

  /** What is to happen to a command now, if anything; counts as one of its times. Only retryable writes are labelled so. */
  hit (name: string, appName: string | undefined, retryableWrite: boolean): Failure | undefined {
    if (this.#mode.times === 0 || !this.#applies(name, appName)) return undefined
    if (this.#mode.skip > 0) {
      this.#mode.skip--
      return undefined
    }
    this.#mode.times--
    this.#entered++
    return this.#failure(retryableWrite)
  }

  #applies (name: string, appName: string | undefined): boolean {
    const commands = this.#data.get('failCommands')
    const wanted = this.#data.get('appName')
    return name !== 'configureFailPoint' && Array.isArray(commands) && commands.includes(name) && (wanted === undefined || wanted === appName)
  }

  #failure (retryableWrite: boolean): Failure {
    const code = this.#data.get('errorCode')
    const block = this.#data.get('blockTimeMS')
    return {
      blockMs: this.#data.get('blockConnection') === true && isNumeric(block) ? toNumber(block) : 0,
      closeConnection: this.#data.get('closeConnection') === true,
      error: isNumeric(code) ? this.#error(toNumber(code), retryableWrite) : undefined,
      writeConcernError: this.#data.get('writeConcernError')
    }
  }

  #error (code: number, retryableWrite: boolean): CommandError {
    const labels = this.#data.get('errorLabels') ?? (retryableWrite && retryable.has(code) ? ['RetryableWriteError'] : [])
    const details: Doc = Array.isArray(labels) && labels.length > 0 ? new Map([['errorLabels', labels]]) : new Map()
    return new CommandError(code, "Failing command via 'failCommand' failpoint", details)
  }
}

function parseMode (mode: Value | undefined): Mode {
  if (mode === 'off') return { skip: 0, times: 0 }
  if (mode === 'alwaysOn') return { skip: 0, times: Infinity }
  if (!isDoc(mode)) throw badValue(`unknown mode: ${String(mode)}`)
  const [times, skip] = [mode.get('times'), mode.get('skip')]
  if (isNumeric(times)) return { skip: 0, times: toNumber(times) }
  if (isNumeric(skip)) return { skip: toNumber(skip), times: Infinity }
  throw badValue('could not find valid mode')
}
