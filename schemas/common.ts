import { Type, type Static, type TSchema } from '@sinclair/typebox'

/** A reference to a schema with an `$id`: named components in the OpenAPI document, the same static type in code. */
export const ref = <T extends TSchema>(schema: T) => Type.Unsafe<Static<T>>({ $ref: `${schema.$id}#` })

export const ObjectIdHex = Type.String({ pattern: '^[0-9a-f]{24}$', description: '24 lower-case hex digits', examples: ['665f1c2ab7e4d90012ab34cd'] })
export const Timestamp = Type.String({ format: 'date-time', description: 'UTC, milliseconds', examples: ['2026-05-04T10:11:12.345Z'] })
export const PhoneNumber = Type.String({ description: 'A phone number in any usual notation; a national one is read in the service\'s default region', examples: ['+919876543210'] })
export const PageNumber = (value: number) => Type.Integer({ minimum: 1, maximum: 999_999_999, default: value })

export const FieldErrors = Type.Object({
  errors: Type.Record(Type.String(), Type.Array(Type.String(), { minItems: 1 }), { description: 'Sentences by field; `_schema` for the body as a whole' })
}, { $id: 'FieldErrors', additionalProperties: false, examples: [{ errors: { phone: ['Missing data for required field.'] } }] })
export type FieldErrors = Static<typeof FieldErrors>

export const ErrorMessage = Type.Object({
  error: Type.String(),
  details: Type.Optional(Type.String({ description: 'A harmless sentence that names the request id' }))
}, { $id: 'ErrorMessage', additionalProperties: false, examples: [{ error: 'Not found' }] })
export type ErrorMessage = Static<typeof ErrorMessage>

const described = <T extends TSchema>(schema: T, description: string, headers?: Record<string, unknown>) =>
  Type.Unsafe<Static<T>>({ ...ref(schema), description, ...(headers && { headers }) })
const retryAfter = { 'Retry-After': { type: 'integer', description: 'Seconds to wait' } }

export const BadRequest = described(FieldErrors, 'A field is missing or wrong')
export const BadRequestEither = Type.Unsafe<FieldErrors | ErrorMessage>({ description: 'A field or the request as a whole is wrong', anyOf: [ref(FieldErrors), ref(ErrorMessage)] })
export const BadRequestMessage = described(ErrorMessage, 'The request is malformed')
export const Unauthorized = described(ErrorMessage, 'No, a bad or an expired access token', { 'WWW-Authenticate': { type: 'string' } })
export const Forbidden = described(ErrorMessage, 'Not the caller\'s to do')
export const NotFound = described(ErrorMessage, 'There is no such thing')
export const Conflict = described(ErrorMessage, 'Somebody else has it')
export const TooLarge = described(ErrorMessage, 'The request is larger than the limit in the sentence')
export const UnsupportedMediaType = described(ErrorMessage, 'The content type is not one this endpoint reads')
export const TooMany = described(ErrorMessage, 'Too many requests of this kind', retryAfter)
export const InternalError = described(ErrorMessage, 'A dependency failed, or the service has a bug')
export const Unavailable = described(ErrorMessage, 'Stopping, or not ready', retryAfter)

/** What every operation can answer, whatever it does. */
export const anyOperation = { 400: BadRequestMessage, 414: described(ErrorMessage, 'The URL is too long'), 431: described(ErrorMessage, 'The header fields are too large'), 500: InternalError, 503: Unavailable }
