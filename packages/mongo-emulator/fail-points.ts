import type { Request } from './commands/types.js'
import { badValue, CommandError, failedToParse } from './errors.js'
import { isDoc, isNumeric, toNumber, type Doc, type Value } from './values.js'

/** Codes after which MongoDB itself lets drivers retry a write. */
const retryable = new Set([6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436])

const writes = new Set(['insert', 'update', 'delete', 'findAndModify', 'findandmodify'])

/** The effect of an active fail point on a command. */
export interface Failure {
  blockMs: number
  /** `before` the command ran, or after it is done and its answer was made. */
  closeConnection: 'before' | 'after' | undefined
  error: CommandError | undefined
  writeConcernError: Value | undefined
  /** The labels of a reply with the `writeConcernError`. */
  labels: Value[]
}

interface FailPoint { skip: number, times: number, entered: number, data: Doc }

const off = (): FailPoint => ({ skip: 0, times: 0, entered: 0, data: new Map() })

/** Fail points of MongoDB's test commands: `failCommand`, `onPrimaryTransactionalWrite` and `maxTimeAlwaysTimeOut`. */
export class FailPoints {
  readonly #points = new Map([
    ['failCommand', off()],
    ['onPrimaryTransactionalWrite', off()],
    ['maxTimeAlwaysTimeOut', off()]
  ])

  /** Answers `configureFailPoint`; returns how often the fail point was hit before. */
  configure (command: Doc): number {
    const name = String(command.get('configureFailPoint'))
    const point = this.#points.get(name)
    if (point === undefined) throw failedToParse(`${name} not found`)
    const data = command.get('data')
    this.#points.set(name, {
      ...parseMode(command.get('mode')),
      entered: point.entered,
      data: isDoc(data) ? data : new Map()
    })
    return point.entered
  }

  /**
   * Returns the failure for this command, if any, and counts one use. Only retryable writes get the label for retries.
   * `pending` tells how many statements of a retryable write were not done before: `onPrimaryTransactionalWrite` counts
   * those.
   */
  hit (request: Request, appName: string | undefined, pending: () => number): Failure | undefined {
    const { name, body } = request
    const retryableWrite = body.has('txnNumber')
    if (this.#enter('failCommand', data => applies(data, request, appName))) {
      return failureOf(this.#data('failCommand'), retryableWrite)
    }
    if (this.#enter('onPrimaryTransactionalWrite', () => retryableWrite && writes.has(name), pending)) {
      return lostWrite(this.#data('onPrimaryTransactionalWrite'))
    }
    if (this.#enter('maxTimeAlwaysTimeOut', () => timed(body))) {
      return { ...nothing, error: new CommandError(50, 'operation exceeded time limit') }
    }
    return undefined
  }

  #data (name: string): Doc {
    return this.#points.get(name)?.data ?? new Map()
  }

  #enter (name: string, meant: (data: Doc) => boolean, count = () => 1): boolean {
    const point = this.#points.get(name)
    if (point === undefined || point.times === 0 || !meant(point.data)) return false
    const occasions = count()
    const skipped = Math.min(point.skip, occasions)
    const hits = Math.min(point.times, occasions - skipped)
    point.skip -= skipped
    point.times -= hits
    point.entered += hits
    return hits > 0
  }
}

const nothing: Failure = {
  blockMs: 0,
  closeConnection: undefined,
  error: undefined,
  writeConcernError: undefined,
  labels: []
}

const timed = (body: Doc): boolean => {
  const time = body.get('maxTimeMS')
  return isNumeric(time) && toNumber(time) > 0
}

function applies (data: Doc, { name, database, body }: Request, appName: string | undefined): boolean {
  const commands = data.get('failCommands')
  const wanted = data.get('appName')
  const namespace = data.get('namespace')
  return name !== 'configureFailPoint' &&
    Array.isArray(commands) &&
    commands.some(command => String(command).toLowerCase() === name.toLowerCase()) &&
    (wanted === undefined || wanted === appName) &&
    (namespace === undefined ||
      namespace === `${database}.${String(body.get(name === 'getMore' ? 'collection' : name))}`)
}

function failureOf (data: Doc, retryableWrite: boolean): Failure {
  const code = data.get('errorCode')
  const block = data.get('blockTimeMS')
  const concern = data.get('writeConcernError')
  const concernCode = isDoc(concern) ? concern.get('code') : undefined
  const labels = (cause: Value | undefined): Value[] => {
    const given = data.get('errorLabels')
    if (Array.isArray(given)) return given
    return retryableWrite && isNumeric(cause) && retryable.has(toNumber(cause)) ? ['RetryableWriteError'] : []
  }
  return {
    blockMs: data.get('blockConnection') === true && isNumeric(block) ? toNumber(block) : 0,
    closeConnection: data.get('closeConnection') === true ? 'before' : undefined,
    error: isNumeric(code) ? failing(toNumber(code), labels(code)) : undefined,
    writeConcernError: concern,
    labels: concern === undefined ? [] : labels(concernCode)
  }
}

const failing = (code: number, labels: Value[]): CommandError =>
  new CommandError(
    code,
    "Failing command via 'failCommand' failpoint",
    labels.length > 0 ? new Map([['errorLabels', labels]]) : new Map()
  )

/** A retryable write whose answer is lost after the write; with `failBeforeCommitExceptionCode` nothing is written. */
function lostWrite (data: Doc): Failure {
  const code = data.get('failBeforeCommitExceptionCode')
  return {
    ...nothing,
    closeConnection: data.get('closeConnection') === false ? undefined : 'after',
    error: isNumeric(code)
      ? new CommandError(toNumber(code), 'Failing write due to failpoint. The write must not be reflected.')
      : undefined
  }
}

function parseMode (mode: Value | undefined): { skip: number, times: number } {
  if (mode === 'off') return { skip: 0, times: 0 }
  if (mode === 'alwaysOn') return { skip: 0, times: Infinity }
  if (!isDoc(mode)) throw badValue(`unknown mode: ${String(mode)}`)
  const [times, skip] = [mode.get('times'), mode.get('skip')]
  if (isNumeric(times)) return { skip: 0, times: toNumber(times) }
  if (isNumeric(skip)) return { skip: toNumber(skip), times: Infinity }
  throw badValue('could not find valid mode')
}
