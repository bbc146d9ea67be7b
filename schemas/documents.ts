import type { ObjectId } from 'mongodb'

/** One text with a code: what a guess is compared with, for as long as it lives. */
export interface Challenge {
  nonce: Buffer
  issued_at: Date
  expires_at: Date
  tries: number
  used_at: Date | null
}

/** Collection `otps`: everything the login counts for one phone, so that one compare-and-set decides. */
export interface OtpDocument {
  _id: string
  version: number
  challenge: Challenge | null
  sends: Date[]
  failures: { row: number, dates: Date[] }
  locked_until: Date | null
  purge_at: Date
}

/** Collection `users`. Rows of the replaced system have no `username_key`. */
export interface UserDocument {
  _id: ObjectId
  username: string
  username_key?: string
  number: string
  admin: boolean
  created_on: Date
}

/** Collection `uploads`: what is in flight, and what a sweep may have to clean up. */
export interface UploadDocument {
  _id: ObjectId
  key: string
  owner: string
  state: 'open' | 'committing'
  started_at: Date
}

/** Collection `library`: only what is whole. New rows have `key`, rows of the replaced system `url`. */
export interface LibraryDocument {
  _id: ObjectId
  key?: string
  url?: string
  owner?: string
  user_id: string
  type?: string
  category?: string
  title?: string
  content_type?: string
  size?: number
  sha256?: string
  created_at: Date
}
