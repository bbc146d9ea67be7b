import type { FileType } from '../file-type.js'
import { parseGif } from './gif.js'
import { parseJpeg } from './jpeg.js'
import { parsePng } from './png.js'
import { createStream } from './stream.js'
import { parseWebp } from './webp.js'

/** Passes the bytes of a picture through at the same length, without its metadata. */
export interface Scrubber {
  /**
   * Returns the bytes that can go on after `chunk`, and may hold some back. May change the chunk in place. Throws
   * damagedImage().
   */
  push (chunk: Buffer): Buffer[]
  /** Returns the bytes that were held back. Throws damagedImage() if the picture's structure is incomplete. */
  end (): Buffer[]
  /** Frames that have passed (1 for a still picture). */
  readonly frames: number
}

const PARSERS = { gif: parseGif, jpg: parseJpeg, png: parsePng, webp: parseWebp }

/**
 * Overwrites Exif (but for the orientation), XMP, IPTC, comments, texts, previews and all bytes after the picture.
 * Before anything is decoded, it refuses a picture that exceeds the bounds or has a wrong structure. Data not known to
 * be needed for the pixels count as metadata.
 */
export function createScrubber ({ extension }: FileType): Scrubber {
  const { state, push, end } = createStream(PARSERS[extension])
  return { push, end, get frames () { return state.frames } }
}
