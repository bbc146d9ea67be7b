import { MongoServerError } from 'mongodb'

/**
 * A refusal or failure that a client may read. The contract sets the status and the sentence; the cause is for the log
 * only.
 */
export class ServiceError extends Error {
  readonly statusCode: number
  /** Seconds, for `Retry-After`. */
  readonly retryAfter?: number
  /** Whether the answer also carries `details`, a sentence that names the request id. */
  readonly detailed: boolean

  constructor (
    statusCode: number,
    sentence: string,
    options: { cause?: unknown, retryAfter?: number, detailed?: boolean } = {}
  ) {
    super(sentence, { cause: options.cause })
    this.name = new.target.name
    this.statusCode = statusCode
    this.retryAfter = options.retryAfter
    this.detailed = options.detailed ?? false
  }
}

/** Whether `error` refuses a request for what the client sent or may do, and is no failure of the service. */
export const isRefusal = (error: unknown): error is ServiceError =>
  error instanceof ServiceError && error.statusCode < 500

/** 400 with sentences by field. */
export class FieldError extends ServiceError {
  readonly errors: Record<string, string[]>

  constructor (errors: Record<string, string[]>) {
    super(400, 'Bad request')
    this.errors = errors
  }
}

/** The sentences of `errors`, as in the contract's table. */
export const sentences = {
  missing: 'Missing data for required field.',
  type: (type: string) => `Not a valid ${type}.`,
  oneOf: (values: readonly string[]) => `Must be one of: ${values.join(', ')}.`,
  length: (min: number, max: number) => `Length must be between ${min} and ${max}.`,
  phone: 'Not a valid phone number.',
  value: 'Not a valid value.'
}

export const invalidBody = () => new FieldError({ _schema: ['Invalid input.'] })
export const invalidField = (field: string, sentence: string) => new FieldError({ [field]: [sentence] })

export const missingToken = () => new ServiceError(401, 'Missing access token')
/** A 401 with a cause is answered with `error="invalid_token"` (RFC 6750 §3.1). */
const INVALID = { cause: 'invalid_token' }
export const invalidToken = () => new ServiceError(401, 'Invalid access token', INVALID)
export const invalidRefreshToken = () => new ServiceError(401, 'Invalid refresh token', INVALID)
export const sessionNotFound = () => new ServiceError(404, 'Session not found')
export const adminsOnly = () => new ServiceError(403, 'Only an admin may do that')
export const signInAgain = () => new ServiceError(403, 'Please sign in again to do this')
export const foreignNumber = () => new ServiceError(403, 'Phone number is not your own')
export const unsigned = () => new ServiceError(403, 'Signature does not match')
export const userNotFound = () => new ServiceError(404, 'User not found')
export const numberTaken = () => new ServiceError(409, 'Phone number already in use')
export const usernameTaken = () => new ServiceError(409, 'Username already in use')
export const tooManySms = (retryAfter: number) => new ServiceError(429, 'Too many codes requested', { retryAfter })
export const tooManyGuesses = (retryAfter: number) => new ServiceError(429, 'Too many wrong codes', { retryAfter })
export const tooManyNumbers = (retryAfter: number) => new ServiceError(429, 'Too many number changes', { retryAfter })

export const notMultipart = () => new ServiceError(415, 'Unsupported media type')
const MALFORMED = 'Invalid multipart body'
export const invalidMultipart = (cause?: unknown) => clientFault(MALFORMED, cause)
export const noFilePart = () => new ServiceError(400, 'No file part')
export const noSelectedFile = () => new ServiceError(400, 'No selected file')
export const missingUserId = () => new ServiceError(400, 'Missing user_id')
export const unsupportedFileType = () => new ServiceError(400, 'Unsupported file type')
export const fileTooLarge = (limit: number) => new ServiceError(413, `File is larger than ${limit} bytes`)
/** Whether a request was refused for its size. */
export const isTooLarge = (error: unknown) => error instanceof ServiceError && error.statusCode === 413
const DAMAGED = 'Damaged or unreasonable image'
export const damagedImage = (cause?: unknown) => clientFault(DAMAGED, cause)
export const isDamage = (error: unknown): error is ServiceError => error instanceof ServiceError &&
  error.message === DAMAGED
export const tooManyBytes = (quota: number) => new ServiceError(413, `Your library would be larger than ${quota} bytes`)
export const tooManyOpenUploads = (retryAfter: number) => new ServiceError(429, 'Too many direct uploads are open', {
  retryAfter
})
/** The limit is per account. */
export const tooManyUploads = () => new ServiceError(429, 'Too many uploads at the same time', { retryAfter: 5 })
export const exportUnderWay = (retryAfter: number) => new ServiceError(429, 'Another export is running', { retryAfter })
export const tooManyItems = (quota: number) => new ServiceError(413, `Your library would have more than ${quota} items`)

export const itemNotFound = () => new ServiceError(404, 'Library item not found')
export const foreignItem = () => new ServiceError(403, 'Library item is not your own')
export const ownItem = () => new ServiceError(403, 'Library item is your own')
export const tooManyReports = (retryAfter: number) => new ServiceError(429, 'Too many reports', { retryAfter })
export const ownAccount = () => new ServiceError(400, 'You cannot block yourself')
export const tooManyBlocks = (max: number) => new ServiceError(409, `You have blocked ${max} accounts already`)
export const uploadNotFound = () => new ServiceError(404, 'Upload not found')
export const nothingUploaded = () => new ServiceError(409, 'Nothing is uploaded yet')
export const uploadUnderWay = () => new ServiceError(409, 'The upload is being completed')

export const invalidIdempotencyKey = () => new ServiceError(400, 'Invalid Idempotency-Key')
export const requestUnderWay = () => new ServiceError(409, 'A request with this Idempotency-Key is still running')
export const reusedIdempotencyKey = () => new ServiceError(422, 'This Idempotency-Key was used for another request')

export const requestTimeout = () => new ServiceError(408, 'Request timeout')
export const unsupportedMediaType = () => new ServiceError(415, 'Unsupported media type')

/** 503: the machine lacks a resource, is too slow, or stops. The request may work a moment later. */
export const outOfResources = (cause?: unknown) => new ServiceError(503, 'Service is out of resources', {
  cause,
  retryAfter: 5
})

/** Codes of the system and of Node for a lack of descriptors, threads, memory or disk. */
const SHORTAGE_CODES = new Set([
  'EMFILE', 'ENFILE', 'EAGAIN', 'ENOMEM', 'ENOBUFS', 'ENOSPC', 'EDQUOT',
  'ERR_WORKER_INIT_FAILED', 'ERR_WORKER_OUT_OF_MEMORY', 'ERR_MEMORY_ALLOCATION_FAILED'
])
/** The same in the words of V8, libvips and its decoders, which give no codes. */
const SHORTAGE = new RegExp([
  'out of memory', 'insufficient memory', 'allocation failed', '(unable|failed|cannot|could not) (to )?allocate',
  'resource temporarily unavailable', 'too many open files', 'no space left', 'creat(e|ing) thread'
].join('|'), 'i')

/** Whether `error`, or one that caused it, means that a resource is missing. */
export function isShortage (error: unknown, depth = 0): boolean {
  if (!(error instanceof Error) || depth > 8) return false
  const { code, cause, errors = [] } = error as Error & { code?: unknown, errors?: unknown[] }
  if (typeof code === 'string' && SHORTAGE_CODES.has(code)) return true
  return SHORTAGE.test(error.message) || [cause, ...errors].some(inner => isShortage(inner, depth + 1))
}

/** 400 for the client's fault; 503 when the machine caused it. */
function clientFault (sentence: string, cause: unknown): ServiceError {
  return isShortage(cause) ? outOfResources(cause) : new ServiceError(400, sentence, { cause })
}

/** 503: other requests use the resource, or the process has too much to do. */
export const serverBusy = (cause?: unknown) => new ServiceError(503, 'Server is busy', { cause, retryAfter: 5 })

/**
 * Awaits `work`. Refusals pass, a database time limit becomes 503, every other failure 500 with `sentence`. `detailed`:
 * the answer also has `details`.
 */
export async function wrapFailure<T> (sentence: string, detailed: boolean, work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (cause) {
    if (cause instanceof ServiceError) throw cause
    if (isOverTimeLimit(cause)) throw serverBusy(cause)
    throw new ServiceError(500, sentence, { cause, detailed })
  }
}

/** MongoDB's code for a write that a unique index refuses. */
export const DUPLICATE_KEY = 11000
export const isDuplicateKey = (error: unknown) => error instanceof MongoServerError && error.code === DUPLICATE_KEY

/** MongoDB's code for a command that exceeds its `maxTimeMS`. */
const MAX_TIME_EXPIRED = 50
export const isOverTimeLimit = (error: unknown) => error instanceof MongoServerError && error.code === MAX_TIME_EXPIRED
