import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

export const ALGORITHMS = ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const
export type Algorithm = typeof ALGORITHMS[number]
export type ChecksumType = 'COMPOSITE' | 'FULL_OBJECT'

export interface Digest {
  update (bytes: Uint8Array): unknown
  digest (): Buffer
}

const LENGTHS: Record<Algorithm, number> = { CRC32: 4, CRC32C: 4, CRC64NVME: 8, SHA1: 20, SHA256: 32 }

export function isAlgorithm (name: string): name is Algorithm {
  return (ALGORITHMS as readonly string[]).includes(name)
}

export function checksumHeader (algorithm: Algorithm): string {
  return `x-amz-checksum-${algorithm.toLowerCase()}`
}

/** Whether the text is base64 of exactly as many bytes as the algorithm yields. */
export function isChecksum (algorithm: Algorithm, text: string): boolean {
  return isBase64(text, LENGTHS[algorithm])
}

export function isBase64 (text: string, bytes: number): boolean {
  const decoded = Buffer.from(text, 'base64')
  return decoded.length === bytes && decoded.toString('base64') === text
}

export function createDigest (algorithm: Algorithm): Digest {
  switch (algorithm) {
    case 'SHA1': return createHash('sha1')
    case 'SHA256': return createHash('sha256')
    case 'CRC32': return crcDigest(crc32)
    case 'CRC32C': return crcDigest(crc32c)
    case 'CRC64NVME': return new Crc64Nvme()
  }
}

/** The checksum of checksums: S3 user guide, "Checksums for multipart uploads". */
export function compositeChecksum (algorithm: Algorithm, parts: string[]): string {
  const digest = createDigest(algorithm)
  for (const part of parts) digest.update(Buffer.from(part, 'base64'))
  return `${digest.digest().toString('base64')}-${parts.length}`
}

function crcDigest (step: (bytes: Uint8Array, value: number) => number): Digest {
  let value = 0
  return {
    update (bytes) { value = step(bytes, value) },
    digest () {
      const out = Buffer.alloc(4)
      out.writeUInt32BE(value >>> 0)
      return out
    }
  }
}

const CRC32C_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82F63B78 : value >>> 1
  return value >>> 0
})

function crc32c (bytes: Uint8Array, value: number): number {
  let crc = ~value
  for (let i = 0; i < bytes.length; i++) crc = CRC32C_TABLE[(crc ^ (bytes[i] ?? 0)) & 0xFF]! ^ (crc >>> 8)
  return ~crc >>> 0
}

const CRC64_POLYNOMIAL = 0x9A6C9329AC4BC9B5n
const CRC64_TABLE = Array.from({ length: 256 }, (_, byte) => {
  let value = BigInt(byte)
  for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ CRC64_POLYNOMIAL : value >> 1n
  return value
})
const CRC64_HIGH = Uint32Array.from(CRC64_TABLE, value => Number(value >> 32n))
const CRC64_LOW = Uint32Array.from(CRC64_TABLE, value => Number(value & 0xFFFFFFFFn))

/** CRC-64/NVME in two 32-bit halves: BigInt arithmetic per byte would be a hundred times slower. */
class Crc64Nvme implements Digest {
  #high = 0xFFFFFFFF
  #low = 0xFFFFFFFF

  update (bytes: Uint8Array): void {
    let high = this.#high
    let low = this.#low
    for (let i = 0; i < bytes.length; i++) {
      const index = (low ^ (bytes[i] ?? 0)) & 0xFF
      low = ((low >>> 8) | (high << 24)) ^ CRC64_LOW[index]!
      high = (high >>> 8) ^ CRC64_HIGH[index]!
    }
    this.#high = high
    this.#low = low
  }

  digest (): Buffer {
    const out = Buffer.alloc(8)
    out.writeUInt32BE(~this.#high >>> 0, 0)
    out.writeUInt32BE(~this.#low >>> 0, 4)
    return out
  }
}
