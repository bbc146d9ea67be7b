import { Type, type Static, type TSchema } from '@sinclair/typebox'

/** A reference to a schema with an `$id`: named components in the OpenAPI document, the same static type in code. */
export const ref = <T extends TSchema>(schema: T) => Type.Unsafe<Static<T>>({ $ref: `${schema.$id}#` })

export const ObjectIdHex = Type.String({
  pattern: '^[0-9a-f]{24}$',
  description: '24 lower-case hex digits',
  examples: ['665f1c2ab7e4d90012ab34cd']
})
export const Timestamp = Type.String({
  format: 'date-time',
  description: 'UTC, milliseconds',
  examples: ['2026-05-04T10:11:12.345Z']
})
/**
 * Null only in answers. Other members that may be missing are optional, because generated clients misread a type list
 * of objects.
 */
export const NullableTimestamp = Type.Unsafe<string | null>({
  type: ['string', 'null'],
  format: 'date-time',
  description: 'UTC, milliseconds; null when it never happened',
  examples: ['2026-05-04T10:11:12.345Z']
})
export const PhoneNumber = Type.String({
  description: 'A phone number in any usual notation; a national one is read in the service\'s default region',
  examples: ['+919876543210']
})
export const PAGE_RANGE = { minimum: 1, maximum: 999_999_999 }
/** A list of types, not `anyOf`: the serialiser can only tell alternatives apart by validating. */
export const NextCursor = Type.Unsafe<string | null>({
  type: ['string', 'null'],
  description: 'For the page after this; null at the end'
})
export const PageNumber = (value: number) => Type.Integer({ ...PAGE_RANGE, default: value })

/** The pattern of an `Idempotency-Key`: visible ASCII. */
export const IDEMPOTENCY_KEY = '^[!-~]{1,255}$'

/** Headers of operations whose answer is stored for a repeat (draft-ietf-httpapi-idempotency-key-header). */
export const IdempotencyHeaders = Type.Object({
  'Idempotency-Key': Type.Optional(Type.String({
    pattern: IDEMPOTENCY_KEY,
    description: 'A name of your choosing for this request, such as a new UUID. The same key with the same body within 24 hours does nothing and gets the first answer again, unless that was a failure (5xx) or the request was cut off. Use a new key for each new request'
  }))
})

/** Headers of an answer that may be a repeat. */
export const replayed = {
  'Idempotency-Replayed': { type: 'string', description: '`true` when this is the first answer again' }
}

/** One schema for every 400: generated clients cannot tell alternatives apart. */
export const InvalidRequest = Type.Object({
  errors: Type.Optional(Type.Record(Type.String(), Type.Array(Type.String()), {
    description: 'Sentences for each field. `_schema` stands for the body as a whole'
  })),
  error: Type.Optional(Type.String({ description: 'One sentence, where the fault belongs to no field' }))
}, {
  $id: 'InvalidRequest',
  description: 'Either `errors` or `error`',
  examples: [{ errors: { phone: ['Missing data for required field.'] } }, { error: 'Invalid user id' }]
})

export const ErrorMessage = Type.Object({
  error: Type.String({ description: 'A sentence for people' }),
  details: Type.Optional(Type.String({ description: 'A sentence that names the request id' }))
}, { $id: 'ErrorMessage', examples: [{ error: 'Not found' }] })
export type ErrorMessage = Static<typeof ErrorMessage>

type Headers = Record<string, unknown>

/** A response: its schema by name, its description, and its examples by name. */
const response = (schema: TSchema, description: string, examples: Record<string, object>, headers?: Headers) => ({
  description,
  ...(headers && { headers }),
  content: { 'application/json': { schema, examples: mapValues(examples, value => ({ value })) } }
})
const badRequest = (description: string, example: Static<typeof InvalidRequest>) => response(
  ref(InvalidRequest),
  description,
  { example }
)
const refusal = (description: string, sentences: string | Record<string, string>, headers?: Headers) =>
  response(
    ref(ErrorMessage),
    description,
    mapValues(typeof sentences === 'string' ? { example: sentences } : sentences, error => ({ error })),
    headers
  )

function mapValues<T, U> (values: Record<string, T>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, change(value)]))
}

const retryAfter = { 'Retry-After': { type: 'integer', description: 'Seconds to wait before another try' } }

export const BadRequest = badRequest('A field is missing or wrong', {
  errors: { phone: ['Missing data for required field.'] }
})
export const BadQuery = badRequest('A query parameter is wrong', { errors: { page: ['Not a valid integer.'] } })
export const BadUpload = badRequest('The form or its file is not taken', { error: 'Unsupported file type' })
export const BadUserCreation = badRequest('A field is missing or wrong, or the `Idempotency-Key` is none', {
  errors: { number: ['Missing data for required field.'] }
})
export const BadUserId = badRequest('The id is malformed', { error: 'Invalid user id' })
export const BadBlock = badRequest('The id is malformed, or the caller\'s own', { error: 'You cannot block yourself' })
export const BadItemRemoval = badRequest('The id is malformed, or a body that need not be there', {
  error: 'Invalid library item id'
})
export const BadItemChange = badRequest('The id is malformed, or a field is wrong', {
  errors: { title: ['Length must be between 0 and 255.'] }
})
export const BadReport = badRequest('The id is malformed, or a field is missing or wrong', {
  errors: { reason: ['Must be one of: spam, nudity, hate, violence, copyright, other.'] }
})
export const BadReview = badRequest('The id is malformed, or a field is missing or wrong', {
  errors: { decision: ['Must be one of: keep, hide, remove.'] }
})
export const BadUserChange = badRequest('The id is malformed, or a field is wrong', {
  errors: { blocked: ['Not a valid boolean.'] }
})
export const Unauthorized = refusal('No, a bad or an expired access token', 'Invalid access token', {
  'WWW-Authenticate': { type: 'string', description: 'RFC 6750 §3' }
})
export const BadItemId = badRequest('The id is malformed', { error: 'Invalid library item id' })
export const ItemNotFound = refusal('There is no such item', 'Library item not found')
/** Headers of an answer that a client may cache and revalidate. */
export const etag = { ETag: { type: 'string', description: 'For `If-None-Match` (RFC 9110 §8.8.3)' } }
export const NotModified = {
  description: 'Unchanged since the answer whose ETag was sent',
  type: 'null',
  headers: etag
} as const
export const NoContent = { description: 'Done', type: 'null' } as const
export const SessionNotFound = refusal('The caller has no such session', 'Session not found')
export const ForeignNumber = refusal('The number is not the caller\'s own', 'Phone number is not your own')
export const AdminsOnly = refusal('Only for admins', 'Only an admin may do that')
export const ForeignItem = refusal('The item belongs to another account', 'Library item is not your own')
export const Unsigned = refusal('Twilio did not sign it, or nothing was asked of Twilio', 'Signature does not match')
export const OldSignIn = refusal('The caller\'s sign-in is more than 10 minutes old', 'Please sign in again to do this')
export const UserNotFound = refusal('There is no such user', 'User not found')
export const OwnItem = refusal('The item is the caller\'s own', 'Library item is your own')
export const TooManyReports = refusal(
  'The caller has reported 50 items within 24 hours',
  'Too many reports',
  retryAfter
)
export const BlockConflict = refusal('The caller has blocked as many accounts as can be', 'You have blocked 200 accounts already')
export const UploadNotFound = refusal('The caller has no such upload', 'Upload not found')
export const CompletionConflict = refusal(
  'Nothing is posted yet, or it is just being completed',
  'Nothing is uploaded yet'
)
export const Conflict = refusal('Another account has it', 'Username already in use')
export const TooLarge = refusal('The body is larger than 16 KiB', 'Request body is larger than 16384 bytes')
const quotas = {
  bytes: 'Your library would be larger than 1073741824 bytes',
  items: 'Your library would have more than 1000 items'
}
export const FileTooLarge = refusal('The file is too large, or the caller\'s library would be', {
  file: 'File is larger than 10485760 bytes',
  ...quotas
})
export const UploadTooLarge = refusal('The body or the file is too large, or the caller\'s library would be', {
  file: 'File is larger than 10485760 bytes',
  ...quotas,
  body: 'Request body is larger than 16384 bytes'
})
export const UnsupportedMediaType = refusal(
  'The content type is not one that this operation reads',
  'Unsupported media type'
)
export const UserConflict = refusal(
  'Another account has it, or a request with this `Idempotency-Key` is still running',
  'Username already in use'
)
export const UnderWay = refusal(
  'A request with this `Idempotency-Key` is still running',
  'A request with this Idempotency-Key is still running'
)
export const ReusedKey = refusal(
  'This `Idempotency-Key` was used for another body',
  'This Idempotency-Key was used for another request'
)
export const TooManyOpen = refusal(
  'Too many direct uploads of the caller are open',
  'Too many direct uploads are open',
  retryAfter
)
export const TooManyUploads = refusal(
  'Too many uploads of the caller are under way',
  'Too many uploads at the same time',
  retryAfter
)
export const TooManyExports = refusal('An export is running', 'Another export is running', retryAfter)
export const TooManyCodes = refusal(
  'Too many codes for this phone, from this address, or in all',
  'Too many codes requested',
  retryAfter
)
export const TooManyGuesses = refusal(
  'Too many wrong codes for this phone or from this address',
  'Too many wrong codes',
  retryAfter
)

/** Answers that every operation can give. */
export const anyOperation = {
  400: badRequest('The request is malformed', { error: 'Bad request' }),
  408: refusal('The body did not come in time', 'Request timeout'),
  414: refusal('The URL is too long', 'URI too long'),
  431: refusal('The header fields are too large', 'Request header fields too large'),
  500: response(ref(ErrorMessage), 'A dependency failed, or the service has a bug', {
    example: {
      error: 'Internal server error',
      details: 'The request could not be completed. Quote request id 7b0c1d5e-3a51-4a0c-9d8e-1f2a3b4c5d6e when you ask about it.'
    }
  }),
  503: refusal('The server is stopping, not ready, or overloaded', 'Server is stopping', retryAfter)
}
