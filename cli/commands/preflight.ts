import type { Db } from 'mongodb'
import type { LibraryDocument } from '../../schemas/documents.js'
import type { Env } from '../../schemas/env.js'
import { isPlaceholder, listOf, parseDuration, readConfig } from '../../services/config.js'
import { CONSISTENT, databaseName } from '../../services/database.js'
import { hasObject } from '../../services/library/object-keys.js'
import { checkPublicAccess, toLines } from '../../services/library/public-access.js'
import { isTakenOver, stateOfConversion } from '../../services/migration/accounts.js'
import type { MediaStore } from '../../services/ports.js'
import { connectStore } from '../../services/store/connection.js'
import { withMongo } from '../../services/with-mongo.js'
import { Misuse, type Call } from '../program.js'

const USAGE = 'Usage: npm run preflight'
const UNREADY = 3
const SILENCE_MS = 10_000
/** The tokens of the replaced system live for ten years. */
const OLD_TOKEN_SECONDS = 3650 * 86_400

/** What to do, if anything. `isOptional`: the operator may leave it so. */
interface Finding { subject: string, found: string, advice?: string, isOptional?: true }

/**
 * Tells what this environment lacks for its database and bucket before the service starts on them, and changes nothing.
 * Exit codes: 0 nothing is missing, 1 failed, 2 misused, 3 something is missing.
 */
export async function preflightCommand ({ args, env, print }: Call): Promise<number> {
  if (args.length > 0) throw new Misuse(USAGE)
  const { MONGO_URI: uri, S3_BUCKET, ...config } = readConfig(env)
  if (uri === undefined || S3_BUCKET === undefined) {
    throw new Error('MONGO_URI and S3_BUCKET must be set: they name the database and the bucket to look at')
  }
  return withMongo(uri, async mongo => {
    const { client, mediaStore: media } = await connectStore({ ...config, S3_BUCKET }, { silenceMs: SILENCE_MS })
    try {
      const db = mongo.db(databaseName(uri))
      const library = db.collection<LibraryDocument>('library', CONSISTENT)
      const has = (key: string) => hasObject(media, key)
      const access = {
        old: await checkPublicAccess({ library, urls: media, kind: 'old', has }),
        new: await checkPublicAccess({ library, urls: media, kind: 'new', has })
      }
      const findings = [
        await conversion(db),
        ...(await isTakenOver(db) ? takeoverVariables(config) : []),
        people(config),
        proxy(config),
        pictures('old', access.old),
        pictures('new', access.new),
        await renditions(db, media, config)
      ]
      for (const { subject, found, advice, isOptional } of findings) {
        const mark = advice === undefined ? 'ok' : isOptional ? 'note' : 'open'
        print(`${mark}: ${subject}: ${found}${advice === undefined ? '' : `. ${advice}`}`)
      }
      for (const line of [...toLines(access.old), ...toLines(access.new)]) print(line)
      const missing = findings.filter(({ advice, isOptional }) => advice !== undefined && !isOptional).length
      print(missing === 0 ? 'Nothing is missing.' : `Missing: ${missing}.`)
      return missing === 0 ? 0 : UNREADY
    } finally {
      client.destroy()
    }
  })
}

async function conversion (db: Db): Promise<Finding> {
  const state = await stateOfConversion(db)
  return {
    subject: 'database',
    found: state === 'done' ? 'converted' : state === 'begun' ? 'a migration was cut short' : 'not converted',
    ...(state !== 'done' && { advice: 'Run npm run migrate' })
  }
}

/** What keeps the released app signed in, and gives its panel a picture of the right size. */
function takeoverVariables (
  env: Pick<Env, 'JWT_LEGACY_SECRET' | 'ACCESS_TOKEN_TTL' | 'LIBRARY_URL_RENDITION'>
): Finding[] {
  const { JWT_LEGACY_SECRET: secret, ACCESS_TOKEN_TTL: life, LIBRARY_URL_RENDITION: size } = env
  const isKnown = secret !== undefined && isPlaceholder(secret.trim())
  const livesLong = (parseDuration(life) ?? 0) >= OLD_TOKEN_SECONDS
  return [
    {
      subject: 'JWT_LEGACY_SECRET',
      found: secret === undefined ? 'not set' : isKnown ? 'a known default' : 'set',
      ...(secret === undefined && {
        advice: 'Set the secret of the replaced system. Where it was ever public, leave it so: every user signs in again',
        isOptional: true
      }),
      ...(isKnown && { advice: 'Anybody can make a token with it: see SECURITY.md before you accept such tokens' })
    },
    {
      subject: 'ACCESS_TOKEN_TTL',
      found: life,
      ...(!livesLong && { advice: 'Set 3650d: the released app cannot renew a token' })
    },
    {
      subject: 'LIBRARY_URL_RENDITION',
      found: size ?? 'not set',
      ...(size === undefined && { advice: 'Set 64x64, so that the released app gets pictures of the panel\'s size' })
    }
  ]
}

function people ({ ADMIN_NUMBERS: numbers }: Pick<Env, 'ADMIN_NUMBERS'>): Finding {
  const count = listOf(numbers).length
  return {
    subject: 'ADMIN_NUMBERS',
    found: count === 0 ? 'not set' : 'set',
    ...(count === 0 && { advice: 'Name the first admins: nobody else can delete old pictures or block a user' })
  }
}

function proxy ({ TRUST_PROXY: trusted }: Pick<Env, 'TRUST_PROXY'>): Finding {
  return {
    subject: 'TRUST_PROXY',
    found: trusted,
    ...(trusted === 'off' && { advice: 'Set it where a proxy is before the service, or all clients share one limit', isOptional: true })
  }
}

function pictures (kind: 'old' | 'new', access: Awaited<ReturnType<typeof checkPublicAccess>>): Finding {
  const { tried, refused } = access
  const policy = kind === 'old' ? 'public-read-policy-takeover.json' : 'public-read-policy.json'
  return {
    subject: kind === 'old' ? 'pictures of the replaced system' : 'pictures of this service',
    found: tried === 0 ? 'none to try' : `${tried - refused.length} of ${tried} that were tried are public`,
    ...(refused.length > 0 && { advice: `The policy deploy/${policy} makes them public` })
  }
}

/** Pictures of the replaced system that lie elsewhere never have renditions. */
async function renditions (
  db: Db,
  media: MediaStore,
  { RENDITION_SIZES }: Pick<Env, 'RENDITION_SIZES'>
): Promise<Finding> {
  const sizes = listOf(RENDITION_SIZES)
  const lacking = await db.collection<LibraryDocument>('library', CONSISTENT).findOne({
    $and: [
      { $or: [{ key: { $gt: '' } }, ...media.urlsOf('').map(url => ({ url: { $gt: url, $lt: `${url}\u{10FFFF}` } }))] },
      { $or: sizes.map(size => ({ 'renditions.size': { $ne: size } })) }
    ]
  }, { projection: { _id: 1 } })
  return {
    subject: 'renditions',
    found: lacking ? 'some items have none, or not every size' : 'complete',
    ...(lacking && { advice: 'Run npm run renditions. It names the pictures that can have none', isOptional: true })
  }
}
