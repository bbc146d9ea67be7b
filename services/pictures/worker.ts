import { parentPort } from 'node:worker_threads'
import type { Fit } from '../../schemas/library.js'
import { isDamage } from '../errors.js'
import { createPictures, DecodeTimeout, type Picture, type PicturesOptions } from './pictures.js'

export interface PictureTask extends PicturesOptions { bytes: Uint8Array, fit: Fit }

/** Outcomes as data: an error loses its class between threads. */
export type PictureAnswer = { picture: Picture } | { damaged: string } | { exceededMs: number }

/**
 * Runs in a thread of pool.ts. A failure that is no fault of the picture ends the thread, because its loaded modules
 * may be broken.
 */
async function readPicture ({ bytes, fit, ...options }: PictureTask): Promise<PictureAnswer> {
  try {
    return {
      picture: await createPictures(options).read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), fit)
    }
  } catch (error) {
    if (error instanceof DecodeTimeout) return { exceededMs: error.allowedMs }
    if (isDamage(error)) return { damaged: error.cause instanceof Error ? error.cause.message : error.message }
    throw error
  }
}

parentPort!.on('message', async (task: PictureTask) => {
  parentPort!.postMessage(await readPicture(task))
})
