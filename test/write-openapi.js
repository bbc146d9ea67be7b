/**
 * Writes openapi.json: the document as the built service serves it. `--check` writes nothing and fails when the file
 * differs.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildApp } from '../dist/app.js'
import { startEmbedded } from '../dist/packages/emulators/start.js'
import { completeConfig, readConfig } from '../dist/services/config.js'

const file = fileURLToPath(new URL('../openapi.json', import.meta.url))
const dataDir = await mkdtemp(join(tmpdir(), 'hookaba-openapi-'))
const embedded = await startEmbedded({ dataDir, mongo: true, s3: true })
const config = completeConfig(readConfig({}), {
  MONGO_URI: embedded.mongo.uri,
  S3_BUCKET: embedded.s3.bucket,
  S3_ENDPOINT: embedded.s3.endpoint,
  AWS_ACCESS_KEY_ID: embedded.s3.accessKeyId,
  AWS_SECRET_ACCESS_KEY: embedded.s3.secretAccessKey,
  JWT_SECRET_KEY: 'only for the description',
  OTP_SECRET: 'only for the description'
})
const app = await buildApp({ config, logger: { level: 'silent' } })
const served = `${JSON.stringify((await app.inject('/openapi.json')).json(), undefined, 2)}\n`
await app.close()
await embedded.close()
await rm(dataDir, { recursive: true, force: true })

if (process.argv.includes('--check')) {
  if (await readFile(file, 'utf8') !== served) {
    console.error('openapi.json is not what the server serves: run `npm run openapi` and commit it')
    process.exit(1)
  }
} else await writeFile(file, served)
