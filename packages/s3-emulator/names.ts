import { isUtf8 } from 'node:buffer'
import { S3Error } from './errors.js'

const MAX_KEY_BYTES = 1024

/** Bucket naming rules of the S3 user guide (general purpose buckets). */
export function isBucketName (name: string): boolean {
  return /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) &&
    !/\.[.-]|-\./.test(name) && !/^\d+\.\d+\.\d+\.\d+$/.test(name) &&
    !/^(xn--|sthree-)/.test(name) && !/(-s3alias|--ol-s3)$/.test(name)
}

/** Any UTF-8 of 1 to 1,024 bytes is a key; `.`, `..` and `//` mean nothing special. */
export function checkKey (key: string): void {
  const size = Buffer.byteLength(key)
  if (size > MAX_KEY_BYTES) {
    throw new S3Error('KeyTooLongError', undefined, { Size: size, MaxSizeAllowed: MAX_KEY_BYTES })
  }
}

/** RFC 3986 §2.1 over bytes. Throws InvalidURI when the escapes are broken or do not make UTF-8. */
export function decodeUri (text: string, plusIsSpace = false): string {
  if (/%(?![0-9a-fA-F]{2})/.test(text)) throw new S3Error('InvalidURI')
  const bytes = Buffer.from(
    (plusIsSpace ? text.replaceAll('+', ' ') : text).replace(/%(..)/g, (_, hex) =>
      String.fromCharCode(parseInt(hex, 16))),
    'latin1'
  )
  if (!isUtf8(bytes)) throw new S3Error('InvalidURI')
  return bytes.toString()
}

/** "UriEncode" of the Signature Version 4 specification: all but the unreserved characters (RFC 3986 §2.3). */
export function encodeUri (text: string, keepSlash = false): string {
  const encoded = encodeURIComponent(text)
    .replace(/[!'()*]/g, char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
  return keepSlash ? encoded.replaceAll('%2F', '/') : encoded
}
