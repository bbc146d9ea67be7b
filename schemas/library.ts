import { Type, type Static } from '@sinclair/typebox'
import { NextCursor, ObjectIdHex, PAGE_RANGE, PageNumber, ref, Timestamp } from './common.js'

const folder = 'https://media.example.com/library/7b0c1d5e-3a51-4a0c-9d8e-1f2a3b4c5d6e'
const rendition = {
  url: `${folder}/64x64.gif`,
  content_type: 'image/gif',
  bytes: 18213,
  frames: 24,
  duration_ms: 1920,
  ble_seconds: 2.1
}
export const itemExample = {
  id: '665f1c2ab7e4d90012ab34cd',
  url: `${folder}/original.gif`,
  original_url: `${folder}/original.gif`,
  user_id: 'meera',
  created_at: '2026-05-04T10:11:12.345Z',
  type: 'gif',
  category: 'GIF',
  owner_id: '665f1c2ab7e4d90012ab34ce',
  title: 'Dancing fox',
  content_type: 'image/gif',
  size: 48213,
  sha256: '6c63cc5063ac82d8bbc925f9a31adf3a87f1510c021e0fde51854d60484b5019',
  width: 320,
  height: 240,
  frames: 24,
  duration_ms: 1920,
  dominant_color: '#e87830',
  renditions: { '64x64': rendition }
}

/** The types of renditions: of what is animated, and of a still. */
export type RenditionType = 'image/gif' | 'image/png'

export const Rendition = Type.Object({
  url: Type.String({ examples: [rendition.url] }),
  content_type: Type.String({
    description: '`image/gif` of what is animated, `image/png` of a still. Stills that version 0.3.0 stored are GIFs',
    examples: [rendition.content_type]
  }),
  bytes: Type.Integer({ examples: [18213] }),
  frames: Type.Integer({ examples: [24] }),
  duration_ms: Type.Integer({ examples: [1920] }),
  ble_seconds: Type.Number({
    description: 'How long the bag takes to receive it by Bluetooth: the bytes of the GIF, or of the 24-bit bitmap of a PNG, ' +
      '/ 9,000, rounded up to one decimal',
    examples: [2.1]
  })
}, { $id: 'Rendition', examples: [rendition] })

const item = {
  id: ObjectIdHex,
  url: Type.String({
    description: 'Where anybody fetches the bytes, without a header; never changes',
    examples: [itemExample.url]
  }),
  user_id: Type.String({ description: 'The label the uploader chose', examples: ['meera'] }),
  created_at: Timestamp,
  type: Type.String({ description: '`gif` for what is animated or a GIF, else `image`', examples: ['gif'] }),
  category: Type.String({ examples: ['GIF'] }),
  owner_id: Type.Unsafe<string | null>({
    type: ['string', 'null'],
    description: 'The account that it belongs to; null where it belongs to none',
    examples: ['665f1c2ab7e4d90012ab34ce']
  }),
  title: Type.Optional(Type.String({ examples: ['Dancing fox'] })),
  original_url: Type.Optional(Type.String({
    description: 'The file as it was uploaded, without its metadata',
    examples: [itemExample.original_url]
  })),
  content_type: Type.Optional(Type.String({ description: 'Decided by the bytes', examples: ['image/gif'] })),
  size: Type.Optional(Type.Integer({ description: 'Bytes of the original', examples: [48213] })),
  sha256: Type.Optional(Type.String({
    description: 'SHA-256 of the bytes at `original_url`, in hexadecimal',
    pattern: '^[0-9a-f]{64}$'
  })),
  width: Type.Optional(Type.Integer({ description: 'Pixels, as seen: the orientation is applied', examples: [320] })),
  height: Type.Optional(Type.Integer({ examples: [240] })),
  frames: Type.Optional(Type.Integer({ examples: [24] })),
  duration_ms: Type.Optional(Type.Integer({
    description: 'Duration of all frames together; 0 for a still picture',
    examples: [1920]
  })),
  dominant_color: Type.Optional(Type.String({ pattern: '^#[0-9a-f]{6}$', examples: ['#e87830'] })),
  hidden: Type.Optional(Type.Boolean({
    description: 'True on an item that only its owner and admins see, because reports or a review have hidden it. Its files stay where they are until the item is removed'
  })),
  renditions: Type.Optional(Type.Record(Type.String(), ref(Rendition), {
    description: 'Made for the panel of the bag, by their size, fitted on black: a GIF of what is animated, with every ' +
      'frame and the same duration, which loops for ever; a PNG of a still'
  }))
}

export const LibraryItem = Type.Object(item, { $id: 'LibraryItem', examples: [itemExample] })
export type LibraryItem = Static<typeof LibraryItem>

export const LibraryItemChange = Type.Object({
  title: Type.Optional(Type.String({
    maxLength: 255,
    description: 'Empty, blank or null: the item has no title any more',
    examples: ['Dancing fox']
  })),
  category: Type.Optional(Type.String({
    maxLength: 255,
    description: 'Empty, blank or null: `GIF` or `Images` again, by the type',
    examples: ['Animals']
  }))
}, { $id: 'LibraryItemChange', examples: [{ title: 'Dancing fox', category: '' }] })
export type LibraryItemChange = Static<typeof LibraryItemChange>

export const LibraryItemId = Type.Object({ id: ObjectIdHex })

/** Headers of a request for an answer with an ETag (RFC 9110 §13.1.2). */
export const Revalidation = Type.Object({
  'if-none-match': Type.Optional(Type.String({ description: 'ETags of answers at hand, or `*`' }))
})

export const FileUploaded = Type.Object({
  message: Type.String({ examples: ['File uploaded'] }),
  ...item
}, { $id: 'FileUploaded', examples: [{ message: 'File uploaded', ...itemExample }] })

const TYPES = ['gif', 'image'] as const
const filterText = (description: string) => Type.Optional(Type.String({ minLength: 1, maxLength: 255, description }))

export const LibraryQuery = Type.Object({
  page: Type.Optional(Type.Integer({ ...PAGE_RANGE, description: 'Default: 1. Not together with `cursor`' })),
  per_page: Type.Optional({ ...PageNumber(10), description: 'Above 100 is served as 100' }),
  cursor: Type.Optional(Type.String({
    description: '`next_cursor` of the page before, with the same filters. Deep pages cost no more than the first one. No item is left out or comes twice while others are added and deleted'
  })),
  type: Type.Optional(Type.Unsafe<typeof TYPES[number]>({
    type: 'string',
    enum: TYPES,
    description: 'As stored: rows of the replaced system may have none, and are then not found'
  })),
  category: filterText('Exactly this category, as stored'),
  user_id: filterText('Exactly this label'),
  mine: Type.Optional(Type.Boolean({ description: 'Only what the caller has uploaded' })),
  q: Type.Optional(Type.String({
    maxLength: 255,
    description: 'Each word of it must begin a word of the title. Case makes no difference. A word is a run of letters and digits, or one emoji. A text without any word finds nothing. A page of a search may have fewer items than asked while `next_cursor` is not null'
  }))
})
export type LibraryQuery = Static<typeof LibraryQuery>

export const LibraryPage = Type.Object({
  items: Type.Array(ref(LibraryItem)),
  page: Type.Integer({ minimum: 1 }),
  per_page: Type.Integer({ minimum: 1, maximum: 100 }),
  total: Type.Integer({
    minimum: 0,
    description: 'Number of items on all pages. Without a filter it is exact; with one, up to 10,000; see `total_exact`'
  }),
  total_pages: Type.Integer({ minimum: 0 }),
  total_exact: Type.Boolean({
    description: 'False where there are more: `total` is 10000, or what a search has found in the newest items'
  }),
  next_cursor: NextCursor
}, {
  $id: 'LibraryPage',
  examples: [
    { items: [itemExample], page: 1, per_page: 10, total: 1, total_pages: 1, total_exact: true, next_cursor: null }
  ]
})
export type LibraryPage = Static<typeof LibraryPage>

export const FITS = ['contain', 'cover', 'fill'] as const
export type Fit = typeof FITS[number]

/**
 * The multipart form of an upload, for the OpenAPI document. Nothing validates against it, because the bytes are read
 * as a stream.
 */
export const UploadForm = Type.Object({
  file: Type.String({
    format: 'binary',
    contentMediaType: 'application/octet-stream',
    description: 'A GIF, PNG, JPEG or WebP, recognised by its bytes'
  }),
  user_id: Type.String({
    minLength: 1,
    maxLength: 255,
    description: 'A label of your choosing, listed as sent',
    examples: ['meera']
  }),
  category: Type.Optional(Type.String({
    maxLength: 255,
    description: 'Default: `GIF` or `Images`. Empty or blank, it counts as not sent, as every optional field',
    examples: ['GIF']
  })),
  title: Type.Optional(Type.String({ maxLength: 255, examples: ['Dancing fox'] })),
  type: Type.Optional(Type.String({ description: 'Ignored: the bytes decide', examples: ['gif'] })),
  fit: Type.Optional(Type.Unsafe<Fit>({
    type: 'string',
    enum: FITS,
    examples: ['contain'],
    description: 'How a picture of another shape goes into a rendition: whole, on black (`contain`, the default); cut to fill it; stretched to fill it'
  }))
}, { $id: 'UploadForm', examples: [{ file: '(the bytes)', user_id: 'meera', title: 'Dancing fox' }] })

/** The types of files that the library takes. */
export const CONTENT_TYPES = ['image/gif', 'image/png', 'image/jpeg', 'image/webp'] as const

export const DirectUploadRequest = Type.Object({
  content_type: Type.Unsafe<string>({ type: 'string', enum: CONTENT_TYPES, examples: ['image/gif'] }),
  size: Type.Integer({ minimum: 1, description: 'Bytes, exactly', examples: [48213] }),
  user_id: Type.String({
    minLength: 1,
    maxLength: 255,
    description: 'A label of your choosing, listed as sent',
    examples: ['meera']
  }),
  type: Type.Optional(Type.String({ description: 'Ignored: the bytes decide' })),
  category: Type.Optional(Type.String({
    minLength: 1,
    maxLength: 255,
    description: 'Default: `GIF` or `Images`. Empty or blank, it counts as not sent, as every optional member'
  })),
  title: Type.Optional(Type.String({ minLength: 1, maxLength: 255, examples: ['Dancing fox'] })),
  fit: Type.Optional(Type.Unsafe<Fit>({ type: 'string', enum: FITS, description: 'Default: `contain`' }))
}, {
  $id: 'DirectUploadRequest',
  examples: [{ content_type: 'image/gif', size: 48213, user_id: 'meera', title: 'Dancing fox' }]
})
export type DirectUploadRequest = Static<typeof DirectUploadRequest>

export const DirectUpload = Type.Object({
  id: ObjectIdHex,
  url: Type.String({
    description: 'Where to post the form',
    examples: ['https://hookaba.s3.ap-south-1.amazonaws.com/']
  }),
  fields: Type.Record(Type.String(), Type.String(), {
    description: 'The form\'s fields, to be sent before the one called `file`'
  }),
  expires_at: Timestamp
}, {
  $id: 'DirectUpload',
  examples: [
    {
      id: itemExample.id,
      url: 'https://hookaba.s3.ap-south-1.amazonaws.com/',
      fields: {
        key: 'incoming/7b0c1d5e-3a51-4a0c-9d8e-1f2a3b4c5d6e',
        'Content-Type': 'image/gif',
        Policy: '…',
        'X-Amz-Signature': '…'
      },
      expires_at: itemExample.created_at
    }
  ]
})
export type DirectUpload = Static<typeof DirectUpload>

export const UploadId = Type.Object({ id: ObjectIdHex })
