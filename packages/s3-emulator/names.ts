import { isUtf8 } from 'node:buffer'
import { S3Error } from './errors.js'

export const MAX_KEY_BYTES = 1024

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
  const bytes = Buffer.alloc(text.length)
  let length = 0
  for (let i = 0; i < text.length; i++) {
    let byte = text.charCodeAt(i)
    if (byte === 0x25) {
      const hex = text.slice(i + 1, i + 3)
      if (!/^[0-9a-fA-F]{2}$/.test(hex)) throw new S3Error('InvalidURI')
      byte = parseInt(hex, 16)
      i += 2
    } else if (byte === 0x2B && plusIsSpace) {
      byte = 0x20
    }
    bytes[length++] = byte
  }
  const decoded = bytes.subarray(0, length)
  if (!isUtf8(decoded)) throw new S3Error('InvalidURI')
  return decoded.toString()
}

/** "UriEncode" of the Signature Version 4 specification: all but the unreserved characters (RFC 3986 §2.3). */
export function encodeUri (text: string, keepSlash = false): string {
  const encoded = encodeURIComponent(text)
    .replace(/[!'()*]/g, char => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
  return keepSlash ? encoded.replaceAll('%2F', '/') : encoded
}

/** The form of `encoding-type=url` in listings: every decoder reads it, whether it takes `+` for a space or not. */
export function encodeListed (text: string): string {
  return encodeUri(text, true)
}
