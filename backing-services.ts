import { resolve } from 'node:path'
import type { Env } from './schemas/env.js'
import { databaseName } from './services/database.js'
import { stateOfConversion } from './services/migration/accounts.js'
import { migrate } from './services/migration/migration.js'
import { withMongo } from './services/with-mongo.js'

/**
 * Starts a database and a bucket that the environment does not name, and makes secrets. All stay in DATA_DIR. Never in
 * production. `join`: where another process uses DATA_DIR, its emulators are used, and stay after `close`.
 */
export async function startEmulators (
  env: Env,
  { join = false } = {}
): Promise<{ env: Partial<Env>, close: () => Promise<void> }> {
  const { MONGO_URI, S3_BUCKET, JWT_SECRET_KEY, OTP_SECRET } = env
  const isComplete = [MONGO_URI, S3_BUCKET, JWT_SECRET_KEY, OTP_SECRET].every(value => value !== undefined)
  if (env.NODE_ENV === 'production' || isComplete) return { env: {}, close: async () => {} }
  const dataDir = resolve(env.DATA_DIR)
  const { keepSecrets, startEmbedded, startOrJoin } = await importEmulators()
  const secrets = await keepSecrets(dataDir)
  const start: typeof startOrJoin = join ? startOrJoin : startEmbedded
  const { mongo, s3, isJoined = false, close } = await start({
    dataDir,
    mongo: env.MONGO_URI === undefined,
    s3: env.S3_BUCKET === undefined,
    mongoPort: env.EMBEDDED_MONGO_PORT,
    s3Port: env.EMBEDDED_S3_PORT
  })
  if (mongo && !isJoined) await convert(mongo.uri, env)
  return {
    env: {
      JWT_SECRET_KEY: env.JWT_SECRET_KEY ?? secrets.jwt,
      OTP_SECRET: env.OTP_SECRET ?? secrets.otp,
      ...(mongo && { MONGO_URI: mongo.uri }),
      ...(s3 &&
        {
          S3_ENDPOINT: s3.endpoint,
          S3_BUCKET: s3.bucket,
          S3_REGION: s3.region,
          S3_FORCE_PATH_STYLE: true,
          AWS_ACCESS_KEY_ID: s3.accessKeyId,
          AWS_SECRET_ACCESS_KEY: s3.secretAccessKey
        })
    },
    close
  }
}

/** The emulators. The image does not have them. */
async function importEmulators () {
  try {
    const { keepSecrets } = await import('./packages/emulators/secrets.js')
    const { startEmbedded, startOrJoin } = await import('./packages/emulators/start.js')
    return { keepSecrets, startEmbedded, startOrJoin }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new Error('Refusing to start: the emulators are not installed here. Set NODE_ENV=production, ' +
      'or all of MONGO_URI, S3_BUCKET, JWT_SECRET_KEY and OTP_SECRET, which they would replace.')
  }
}

/** Migrates a database in DATA_DIR of an earlier version. No other process uses it. */
async function convert (uri: string, { DEFAULT_REGION: region }: Env): Promise<void> {
  await withMongo(uri, async client => {
    const db = client.db(databaseName(uri))
    if (await stateOfConversion(db) !== 'done') {
      await migrate({ db, region, dryRun: false, print: line => process.stdout.write(`${line}\n`) })
    }
  })
}
