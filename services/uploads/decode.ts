import type { Fit } from '../../schemas/library.js'
import type { Picture } from '../pictures/pictures.js'
import type { createPicturePool } from '../pictures/pool.js'
import type { StoredFile } from './ingest.js'

/** Without `pictures` an item has neither facts nor renditions. */
export function createDecode (pictures?: Pick<ReturnType<typeof createPicturePool>, 'read'>) {
  /** Decodes a stored file into its facts and renditions, and gives its memory back. 400 for a damaged picture. */
  return async function decode (file: StoredFile, fit: Fit = 'contain'): Promise<Picture | undefined> {
    const picture = await pictures?.read(await file.bytes(), fit)
    file.release()
    return picture
  }
}
