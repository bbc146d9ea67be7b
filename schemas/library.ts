import { Type, type Static } from '@sinclair/typebox'
import { ObjectIdHex, PageNumber, Timestamp } from './common.js'

const example = { id: '665f1c2ab7e4d90012ab34cd', url: 'https://media.example.com/library/7b0c1d5e-3a51-4a0c-9d8e-1f2a3b4c5d6e/original.gif', user_id: 'meera', created_at: '2026-05-04T10:11:12.345Z', type: 'gif', category: 'GIF', content_type: 'image/gif', size: 48213, sha256: '6c63cc5063ac82d8bbc925f9a31adf3a87f1510c021e0fde51854d60484b5019' }

const item = {
  id: ObjectIdHex,
  url: Type.String({ format: 'uri', description: 'Where anybody fetches the bytes, without a header; never changes', examples: ['https://media.example.com/library/7b0c1d5e-3a51-4a0c-9d8e-1f2a3b4c5d6e/original.gif'] }),
  user_id: Type.String({ description: 'The label the uploader chose', examples: ['meera'] }),
  created_at: Timestamp,
  type: Type.String({ description: '`gif` or `image`', examples: ['gif'] }),
  category: Type.String({ examples: ['GIF'] }),
  title: Type.Optional(Type.String({ examples: ['Dancing fox'] })),
  content_type: Type.Optional(Type.String({ description: 'Decided by the bytes', examples: ['image/gif'] })),
  size: Type.Optional(Type.Integer({ description: 'Bytes', examples: [48213] })),
  sha256: Type.Optional(Type.String({ description: 'Of the bytes at `url`, hexadecimal', pattern: '^[0-9a-f]{64}$' }))
}

export const LibraryItem = Type.Object(item, { $id: 'LibraryItem', additionalProperties: false, examples: [example] })
export type LibraryItem = Static<typeof LibraryItem>

export const FileUploaded = Type.Object({
  message: Type.String({ examples: ['File uploaded'] }),
  ...item
}, { $id: 'FileUploaded', additionalProperties: false, examples: [{ message: 'File uploaded', ...example }] })

export const LibraryQuery = Type.Object({
  page: Type.Optional(PageNumber(1)),
  per_page: Type.Optional({ ...PageNumber(10), description: 'Above 100 is served as 100' })
})
export type LibraryQuery = Static<typeof LibraryQuery>

export const LibraryPage = Type.Object({
  items: Type.Array(Type.Unsafe<LibraryItem>({ $ref: 'LibraryItem#' })),
  page: Type.Integer({ minimum: 1 }),
  per_page: Type.Integer({ minimum: 1, maximum: 100 }),
  total: Type.Integer({ minimum: 0 }),
  total_pages: Type.Integer({ minimum: 0 })
}, { $id: 'LibraryPage', additionalProperties: false, examples: [{ items: [example], page: 1, per_page: 10, total: 1, total_pages: 1 }] })
export type LibraryPage = Static<typeof LibraryPage>

/** The multipart form of an upload, for the OpenAPI document; the bytes are read as a stream, so nothing validates against it. */
export const UploadForm = Type.Object({
  file: Type.String({ format: 'binary', contentMediaType: 'application/octet-stream', description: 'A GIF, PNG, JPEG or WebP, recognised by its bytes' }),
  user_id: Type.String({ minLength: 1, maxLength: 255, description: 'A label of your choosing, listed as sent' }),
  category: Type.Optional(Type.String({ minLength: 1, maxLength: 255, description: 'Default: `GIF` or `Images`' })),
  title: Type.Optional(Type.String({ minLength: 1, maxLength: 255 })),
  type: Type.Optional(Type.String({ description: 'Ignored: the bytes decide' }))
}, { $id: 'UploadForm', examples: [{ file: '(the bytes)', user_id: 'meera', title: 'Dancing fox' }] })
