import type { Doc } from './values.js'

/** The names of the codes that this server answers with, and of those that fail points are given. */
const codeNames: Record<number, string> = {
  1: 'InternalError',
  2: 'BadValue',
  8: 'UnknownError',
  9: 'FailedToParse',
  13: 'Unauthorized',
  14: 'TypeMismatch',
  15: 'Overflow',
  16: 'InvalidLength',
  26: 'NamespaceNotFound',
  27: 'IndexNotFound',
  28: 'PathNotViable',
  40: 'ConflictingUpdateOperators',
  43: 'CursorNotFound',
  50: 'MaxTimeMSExpired',
  52: 'DollarPrefixedFieldName',
  53: 'InvalidIdField',
  54: 'NotSingleValueField',
  56: 'EmptyFieldName',
  59: 'CommandNotFound',
  66: 'ImmutableField',
  67: 'CannotCreateIndex',
  72: 'InvalidOptions',
  73: 'InvalidNamespace',
  85: 'IndexOptionsConflict',
  86: 'IndexKeySpecsConflict',
  91: 'ShutdownInProgress',
  112: 'WriteConflict',
  168: 'InvalidPipelineOperator',
  171: 'CannotIndexParallelArrays',
  197: 'InvalidIndexSpecificationOption',
  225: 'TransactionTooOld',
  241: 'ConversionFailure',
  40415: 'IDLUnknownField',
  11000: 'DuplicateKey',
  11600: 'InterruptedAtShutdown',
  11601: 'Interrupted',
  10334: 'BSONObjectTooLarge'
}

/** The name MongoDB gives an error code; codes without one are called by their source location. */
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
