export interface BucketRecord { name: string, createdAt: number, policy?: string }

/** A part of an object's bytes. A whole object is one piece; one from a multipart upload has a piece for each part. */
export interface Piece { blob: string, size: number }

export interface ObjectRecord {
  key: string
  etag: string
  size: number
  modifiedAt: number
  pieces: Piece[]
  /** The headers that its client gave it. */
  headers: Record<string, string>
  uploadId?: string
}

export interface UploadRecord {
  bucket: string
  key: string
  uploadId: string
  initiatedAt: number
  headers: Record<string, string>
}

export interface PartRecord extends Piece { partNumber: number, etag: string }
