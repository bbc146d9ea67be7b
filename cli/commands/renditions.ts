import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import type { LibraryDocument, LibraryStateDocument } from '../../schemas/documents.js'
import { listOf, readConfig } from '../../services/config.js'
import { CONSISTENT, databaseName } from '../../services/database.js'
import { createLibraryState } from '../../services/library/state.js'
import { createPicturePool } from '../../services/pictures/pool.js'
import { connectStore } from '../../services/store/connection.js'
import { makeMissingRenditions } from '../../services/uploads/missing-renditions.js'
import { withMongo } from '../../services/with-mongo.js'
import { Misuse, type Call } from '../program.js'

const USAGE = 'Usage: npm run renditions [-- --dry-run]'
/** No client waits. */
const SILENCE_MS = 60_000

/**
 * Makes the renditions that items lack, or with --dry-run only reports them. `worker`: the program of the threads that
 * decode. Exit codes: 0 done, 1 failed, also for single pictures that another run may decode, 2 misused.
 */
export async function renditionsCommand ({ args, env, print, progress }: Call, worker: URL): Promise<number> {
  const dryRun = readArguments(args, env)
  const { MONGO_URI: uri, S3_BUCKET, ...config } = readConfig(env)
  if (uri === undefined || S3_BUCKET === undefined) {
    throw new Error('MONGO_URI and S3_BUCKET must be set: they name the rows and the pictures')
  }
  const sizes = listOf(config.RENDITION_SIZES)
  const pool = createPicturePool({ sizes, maxBytes: config.RENDITION_MAX_BYTES }, worker)
  return withMongo(uri, async mongo => {
    const { client, mediaStore: media } = await connectStore({ ...config, S3_BUCKET }, { silenceMs: SILENCE_MS })
    try {
      const db = mongo.db(databaseName(uri))
      const states = createLibraryState(db.collection<LibraryStateDocument>('library_state', CONSISTENT))
      const { made, open, postponed } = await makeMissingRenditions({
        library: db.collection<LibraryDocument>('library', CONSISTENT),
        newVersion: () => states.changed(0),
        media,
        pictures: pool,
        sizes,
        maxBytes: config.UPLOAD_MAX_BYTES,
        concurrency: availableParallelism() + 1, // one is read while the others are decoded
        dryRun,
        print,
        progress: progress.show
      }).catch((cause: unknown) => {
        throw new Error('The command stopped; what is made stays made, and another run does the rest', { cause })
      })
      const items = made === 1 ? '1 item' : `${made} items`
      const done = made === 0
        ? 'Nothing to do'
        : `Renditions ${dryRun ? 'to make' : 'made'} for ${items}${dryRun ? ' (nothing was written)' : ''}`
      print(`${done}${open > 0 ? `; ${open} open points to look at` : ''}.`)
      if (postponed > 0) throw new Error(`Run the command again for ${postponed} of them`)
      return 0
    } finally {
      client.destroy()
      await pool.close()
    }
  })
}

/** `npm run renditions --dry-run`, without the `--`, sets an option of npm. It counts too. */
function readArguments (args: string[], env: Call['env']): boolean {
  try {
    const { values } = parseArgs({ args, options: { 'dry-run': { type: 'boolean' } } })
    return values['dry-run'] === true || env.npm_config_dry_run === 'true'
  } catch {
    throw new Misuse(USAGE)
  }
}
