import type { Fit } from '../schemas/library.js'
import { ServiceError } from './errors.js'
import { createPictures, type Picture, type PicturesOptions } from './pictures.js'

export interface PictureTask extends PicturesOptions { bytes: Uint8Array, fit: Fit }

/** What a thread can tell: an error loses its class on the way. */
export type PictureAnswer = { picture: Picture } | { damaged: string }

/** The work of a thread of services/picture-pool.ts. */
export default async function readPicture ({ bytes, fit, ...options }: PictureTask): Promise<PictureAnswer> {
  try {
    return { picture: await createPictures(options).read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), fit) }
  } catch (error) {
    if (error instanceof ServiceError) return { damaged: error.cause instanceof Error ? error.cause.message : error.message }
    throw error
  }
}
