import type { Algorithm, ChecksumType } from './checksums.js'

export interface BucketRecord { name: string, createdAt: number, policy?: string }

export interface Checksum { algorithm: Algorithm, type: ChecksumType, value: string }

/** A stretch of an object's bytes: a whole object is one, an object from a multipart upload has one for each part. */
export interface Piece { blob: string, size: number, partNumber?: number, checksum?: string }

/** What a client may say about an object besides its bytes. */
export interface Description {
  headers: Record<string, string>
  metadata: Record<string, string>
}

export interface ObjectRecord extends Description {
  key: string
  etag: string
  size: number
  modifiedAt: number
  pieces: Piece[]
  checksum?: Checksum
  uploadId?: string
}

export interface UploadRecord extends Description {
  bucket: string
  key: string
  uploadId: string
  initiatedAt: number
  algorithm?: Algorithm
  checksumType?: ChecksumType
}

export interface PartRecord {
  partNumber: number
  etag: string
  size: number
  blob: string
  modifiedAt: number
  checksum?: Checksum
}
