import type { CONTENT_TYPES } from '../../schemas/library.js'

/** A file type that the library takes. */
export interface FileType {
  contentType: typeof CONTENT_TYPES[number]
  extension: 'gif' | 'png' | 'jpg' | 'webp'
}

/** The first bytes that detectFileType needs. */
export const SIGNATURE_BYTES = 12

const ascii = (head: Buffer, text: string, offset = 0) => head.toString('latin1', offset, offset + text.length) === text

/**
 * Detects the type of a file from its first bytes (GIF89a §17, PNG §5.2, JFIF, WebP container). Undefined for every
 * other.
 */
export function detectFileType (head: Buffer): FileType | undefined {
  if (ascii(head, 'GIF87a') || ascii(head, 'GIF89a')) return { contentType: 'image/gif', extension: 'gif' }
  if (ascii(head, '\x89PNG\r\n\x1a\n')) return { contentType: 'image/png', extension: 'png' }
  if (ascii(head, '\xff\xd8\xff')) return { contentType: 'image/jpeg', extension: 'jpg' }
  if (ascii(head, 'RIFF') && ascii(head, 'WEBP', 8)) return { contentType: 'image/webp', extension: 'webp' }
  return undefined
}
