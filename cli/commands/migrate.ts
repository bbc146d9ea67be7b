import { parseArgs } from 'node:util'
import { readConfig } from '../../services/config.js'
import { databaseName } from '../../services/database.js'
import { migrate } from '../../services/migration/migration.js'
import { withMongo } from '../../services/with-mongo.js'
import { Misuse, type Call } from '../program.js'

const USAGE = 'Usage: npm run migrate [-- [--dry-run] [--keep-admins]]'

/**
 * Migrates a database of the replaced system or of an earlier version, or with --dry-run only reports the changes. Exit
 * codes: 0 done, 1 failed, 2 misused.
 */
export async function migrateCommand ({ args, env, print, progress }: Call): Promise<number> {
  const { dryRun, keepAdmins } = readArguments(args, env)
  const { MONGO_URI: uri, DEFAULT_REGION: region } = readConfig(env)
  if (uri === undefined) throw new Error('MONGO_URI must be set: it names the database to migrate')
  return withMongo(uri, async client => {
    const { changes, open } = await migrate({
      db: client.db(databaseName(uri)),
      region,
      keepAdmins,
      dryRun,
      print,
      progress: progress.show
    })
      .catch((cause: unknown) => {
        throw new Error('The migration stopped; what is done stays done, and another run does the rest', { cause })
      })
    const done = changes === 0
      ? 'Nothing to do'
      : `${changes} changes ${dryRun ? 'to make (nothing was written)' : 'made'}`
    print(`${done}${open > 0 ? `; ${open} open points to look at` : ''}.`)
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
