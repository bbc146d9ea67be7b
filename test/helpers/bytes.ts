import { createHash } from 'node:crypto'

/** The SHA-256 of bytes, in hexadecimal digits. */
export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** The bytes that a URL serves. Rejects when the answer is not 200. */
export async function bytesAt (url: string): Promise<Buffer> {
  const response = await fetch(url)
  const bytes = Buffer.from(await response.arrayBuffer())
  if (response.status !== 200) throw new Error(`${url}: ${response.status} ${bytes.toString().slice(0, 200)}`)
  return bytes
}
