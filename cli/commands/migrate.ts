import { parseArgs } from 'node:util'
import type { LibraryDocument } from '../../schemas/documents.js'
import { readConfig } from '../../services/config.js'
import { CONSISTENT, databaseName } from '../../services/database.js'
import { checkPublicAccess, toLines } from '../../services/library/public-access.js'
import { migrate } from '../../services/migration/migration.js'
import { addressesOf, createUrls } from '../../services/store/addresses.js'
import { withMongo } from '../../services/with-mongo.js'
import { Misuse, type Call } from '../program.js'

const USAGE = 'Usage: npm run migrate [-- [--dry-run] [--keep-admins]]'

/**
 * Migrates a database of the replaced system or of an earlier version, or with --dry-run only reports the changes.
 * Where S3_BUCKET is set, it also checks whether old pictures are public. Exit codes: 0 done, 1 failed, 2 misused.
 */
export async function migrateCommand ({ args, env, print, progress }: Call): Promise<number> {
  const { dryRun, keepAdmins } = readArguments(args, env)
  const { MONGO_URI: uri, S3_BUCKET, ...config } = readConfig(env)
  if (uri === undefined) throw new Error('MONGO_URI must be set: it names the database to migrate')
  return withMongo(uri, async client => {
    const db = client.db(databaseName(uri))
    const { changes, open } = await migrate({
      db,
      region: config.DEFAULT_REGION,
      keepAdmins,
      dryRun,
      print,
      progress: progress.show
    })
      .catch((cause: unknown) => {
        throw new Error('The migration stopped; what is done stays done, and another run does the rest', { cause })
      })
    const notPublic = S3_BUCKET === undefined
      ? []
      : toLines(await checkPublicAccess({
        library: db.collection<LibraryDocument>('library', CONSISTENT),
        urls: createUrls(addressesOf({ ...config, S3_BUCKET })),
        kind: 'old'
      }))
    notPublic.forEach(print)
    const openPoints = open + notPublic.length
    const done = changes === 0
      ? 'Nothing to do'
      : `${changes} changes ${dryRun ? 'to make (nothing was written)' : 'made'}`
    print(`${done}${openPoints > 0 ? `; ${openPoints} open points to look at` : ''}.`)
    return 0
  })
}

/**
 * `npm run migrate --dry-run`, without the `--`, sets an option of npm. It counts too, because what this command does
 * without it cannot be undone. The same holds for `--keep-admins`.
 */
function readArguments (args: string[], env: Call['env']): { dryRun: boolean, keepAdmins: boolean } {
  try {
    const { values } = parseArgs({ args, options: { 'dry-run': { type: 'boolean' }, 'keep-admins': { type: 'boolean' } } })
    return {
      dryRun: values['dry-run'] === true || env.npm_config_dry_run === 'true',
      keepAdmins: values['keep-admins'] === true || env.npm_config_keep_admins === 'true'
    }
  } catch {
    throw new Misuse(USAGE)
  }
}
