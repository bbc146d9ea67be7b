import { availableParallelism } from 'node:os'
import { Piscina } from 'piscina'
import type { Fit } from '../schemas/library.js'
import { damagedImage } from './errors.js'
import type { PictureAnswer, PictureTask } from './picture-worker.js'
import type { Picture, PicturesOptions } from './pictures.js'
import { createTurns } from './turns.js'

/** A thread that has nothing to do ends after so many milliseconds, and its memory with it. */
const IDLE_MS = 60_000
/** Of one picture, in milliseconds: decoded in ten seconds at most, and then encoded for every size. */
const LONGEST_MS = 60_000

/**
 * Reads pictures as services/pictures.ts does, in threads of their own: as many at a time as there are cores, first come, first served. Takes the bytes away from the caller.
 * Rejects with damagedImage() also when a picture takes longer than a minute, and with another error when the pool is closed meanwhile.
 */
export function createPicturePool ({ sizes, maxBytes }: PicturesOptions, { threads = availableParallelism(), longestMs = LONGEST_MS } = {}) {
  const filename = new URL('./picture-worker.js', import.meta.url).href
  const pool = new Piscina<PictureTask, PictureAnswer>({ filename, minThreads: 0, maxThreads: threads, idleTimeout: IDLE_MS })
  const turns = createTurns(threads) // the pool has a queue as well, but a picture's minute begins with its turn
  return { read: (bytes: Buffer<ArrayBuffer>, fit: Fit) => turns(() => read(bytes, fit)), close: () => pool.destroy() }

  async function read (bytes: Buffer<ArrayBuffer>, fit: Fit): Promise<Picture> {
    const signal = AbortSignal.timeout(longestMs)
    const isAlone = bytes.byteLength === bytes.buffer.byteLength
    const answer = await pool.run({ bytes, fit, sizes, maxBytes }, { transferList: isAlone ? [bytes.buffer] : [], signal }).catch((error: unknown) => {
      throw signal.aborted ? damagedImage(error) : error
    })
    if ('damaged' in answer) throw damagedImage(new Error(answer.damaged))
    const { facts, renditions } = answer.picture
    return { facts, renditions: renditions.map(({ bytes, ...rendition }) => ({ ...rendition, bytes: Buffer.from(bytes) })) }
  }
}
