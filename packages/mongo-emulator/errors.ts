import type { Doc } from './values.js'

/** The names of the codes that the service and its tests know. */
const codeNames: Record<number, string> = {
  1: 'InternalError',
  2: 'BadValue',
  8: 'UnknownError',
  9: 'FailedToParse',
  14: 'TypeMismatch',
  26: 'NamespaceNotFound',
  43: 'CursorNotFound',
  50: 'MaxTimeMSExpired',
  59: 'CommandNotFound',
  85: 'IndexOptionsConflict',
  86: 'IndexKeySpecsConflict',
  91: 'ShutdownInProgress',
  112: 'WriteConflict',
  225: 'TransactionTooOld',
  40415: 'IDLUnknownField',
  11000: 'DuplicateKey',
  11600: 'InterruptedAtShutdown',
  11601: 'Interrupted',
  10334: 'BSONObjectTooLarge'
}

/** The name MongoDB gives an error code; others are called by their source location, as MongoDB does. */
export const codeName = (code: number): string => codeNames[code] ?? `Location${code}`

/** An answer of `{ ok: 0 }`, or one entry of `writeErrors`; `details` are further fields of it. */
export class CommandError extends Error {
  readonly code: number
  readonly details: Doc | undefined

  constructor (code: number, message: string, details?: Doc) {
    super(message)
    this.name = 'CommandError'
    this.code = code
    this.details = details
  }
}

export const badValue = (message: string): CommandError => new CommandError(2, message)
export const failedToParse = (message: string): CommandError => new CommandError(9, message)
export const typeMismatch = (message: string): CommandError => new CommandError(14, message)
