import type { Algorithm, ChecksumType } from './checksums.js'

export interface BucketRecord { name: string, createdAt: number, policy?: string }

export interface Checksum { algorithm: Algorithm, type: ChecksumType, value: string }

/** A part of an object's bytes. A whole object is one piece; one from a multipart upload has a piece for each part. */
export interface Piece { blob: string, size: number, partNumber?: number, checksum?: string }

/** The headers and metadata that a client gives an object. */
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
