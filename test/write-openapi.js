/**
 * Writes openapi.json, the document as the built service serves it, and the types of the console's client from it.
 * `--check` writes nothing and fails when a file differs.
 */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import openapiTS, { astToString, COMMENT_HEADER } from 'openapi-typescript'
import { buildApp } from '../dist/app.js'
import { startEmbedded } from '../dist/packages/emulators/start.js'
import { completeConfig, readConfig } from '../dist/services/config.js'

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
const document = `${JSON.stringify((await app.inject('/openapi.json')).json(), undefined, 2)}\n`
await app.close()
await embedded.close()
await rm(dataDir, { recursive: true, force: true })

const files = {
  'openapi.json': document,
  'console/openapi.d.ts': COMMENT_HEADER + astToString(await openapiTS(JSON.parse(document)))
}
for (const [name, content] of Object.entries(files)) {
  const path = fileURLToPath(new URL(`../${name}`, import.meta.url))
  if (!process.argv.includes('--check')) await writeFile(path, content)
  else if (await readFile(path, 'utf8') !== content) {
    console.error(`${name} is not what the server serves: run \`npm run openapi\` and commit it`)
    process.exitCode = 1
  }
}
