import { parseArgs } from 'node:util'
import type { LibraryDocument, ReportDocument, ReportStateDocument, UploadDocument } from '../../schemas/documents.js'
import { readConfig } from '../../services/config.js'
import { databaseName, CONSISTENT } from '../../services/database.js'
import { checkLibrary, type CheckResult } from '../../services/library/check.js'
import { hasObject } from '../../services/library/object-keys.js'
import { checkPublicAccess, toLines, type PublicAccess } from '../../services/library/public-access.js'
import { versionedLibrary } from '../../services/library/version-writes.js'
import { connectStore } from '../../services/store/connection.js'
import { withMongo } from '../../services/with-mongo.js'
import { Misuse, type Call } from '../program.js'

const USAGE = 'Usage: npm run check-library [-- --fix]'
const INCONSISTENT = 3
/** No client waits: a list of a large bucket may take its time. */
const SILENCE_MS = 60_000

/**
 * Compares the library's rows with the store's objects, and with --fix repairs what it can. Checks whether pictures
 * of the replaced system are public. Exit codes: 0 consistent or repaired, 1 failed, 2 misused, 3 still inconsistent,
 * or not public.
 */
export async function checkLibraryCommand ({ args, env, print }: Call): Promise<number> {
  const { fix } = readArguments(args)
  const { MONGO_URI: uri, S3_BUCKET, ...config } = readConfig(env)
  if (uri === undefined || S3_BUCKET === undefined) {
    throw new Error('MONGO_URI and S3_BUCKET must be set: they name what is compared')
  }
  return withMongo(uri, async mongo => {
    const { client, mediaStore: media } = await connectStore({ ...config, S3_BUCKET }, { silenceMs: SILENCE_MS })
    try {
      const db = mongo.db(databaseName(uri))
      const library = versionedLibrary<LibraryDocument>(db)
      const result = await checkLibrary({
        uploads: db.collection<UploadDocument>('uploads', CONSISTENT),
        library,
        reports: db.collection<ReportDocument>('reports', CONSISTENT),
        report_states: db.collection<ReportStateDocument>('report_states', CONSISTENT),
        media,
        now: () => new Date(),
        fix,
        print
      }).catch((cause: unknown) => {
        throw new Error('The check stopped; what is repaired stays repaired, and another run does the rest', { cause })
      })
      const access = await checkPublicAccess({ library, urls: media, kind: 'old', has: key => hasObject(media, key) })
      toLines(access).forEach(print)
      print(summary(result, access))
      return result.open + access.refused.length > 0 ? INCONSISTENT : 0
    } finally {
      client.destroy()
    }
  })
}

function summary ({ items, unchecked, repaired, open }: CheckResult, { refused }: PublicAccess): string {
  const found = open + repaired === 0
    ? 'consistent'
    : [...(repaired > 0 ? [`${repaired} repaired`] : []), ...(open > 0 ? [`${open} inconsistent`] : [])].join(', ')
  const hidden = refused.length > 0 ? `; ${refused.length} of its pictures that were tried are not public` : ''
  return `${items} items checked, ${unchecked} of the replaced system not judged${hidden}: ${found}.`
}

function readArguments (args: string[]): { fix: boolean } {
  try {
    const { values } = parseArgs({ args, options: { fix: { type: 'boolean' } } })
    return { fix: values.fix === true }
  } catch {
    throw new Misuse(USAGE)
  }
}
