import type { FileType } from '../file-type.js'
import { walkGif } from './gif.js'
import { walkJpeg } from './jpeg.js'
import { walkPng } from './png.js'
import { createStream } from './stream.js'
import { walkWebp } from './webp.js'

/** Passes the bytes of a picture through at the same length, without what tells more than its pixels. */
export interface Scrubber {
  /**
   * What can be passed on after `chunk`; may be held back for a while. Throws damagedImage(). May alter the chunk it is
   * given in place.
   */
  push (chunk: Buffer): Buffer[]
  /** What was held back. Throws damagedImage() when the picture is not whole by its structure. */
  end (): Buffer[]
  /** Frames that have passed (1 for what does not move). */
  readonly frames: number
}

const WALKS = { gif: walkGif, jpg: walkJpeg, png: walkPng, webp: walkWebp }

/**
 * Takes Exif (but for the orientation), XMP, IPTC, comments, texts, previews and whatever follows the picture out of
 * it, by writing over them; and refuses, before anything is decoded,
 * what is larger than the bounds of a picture or not built like one. What is not known to be needed for the pixels
 * counts as metadata.
 */
export function createScrubber ({ extension }: FileType): Scrubber {
  const { course, push, end } = createStream(WALKS[extension])
  return { push, end, get frames () { return course.frames } }
}
