/** What the library takes, by its first bytes. */
export interface FileType {
  contentType: 'image/gif' | 'image/png' | 'image/jpeg' | 'image/webp'
  extension: 'gif' | 'png' | 'jpg' | 'webp'
}

/** As many first bytes as detectFileType needs to see. */
export const SIGNATURE_BYTES = 12

const ascii = (head: Buffer, text: string, offset = 0) => head.toString('latin1', offset, offset + text.length) === text

/**
 * The type that the first bytes of a file say it has (GIF89a §17, PNG §5.2, JFIF, WebP container); undefined for every
 * other.
 */
export function detectFileType (head: Buffer): FileType | undefined {
  if (ascii(head, 'GIF87a') || ascii(head, 'GIF89a')) return { contentType: 'image/gif', extension: 'gif' }
  if (ascii(head, '\x89PNG\r\n\x1a\n')) return { contentType: 'image/png', extension: 'png' }
  if (ascii(head, '\xff\xd8\xff')) return { contentType: 'image/jpeg', extension: 'jpg' }
  if (ascii(head, 'RIFF') && ascii(head, 'WEBP', 8)) return { contentType: 'image/webp', extension: 'webp' }
  return undefined
}
