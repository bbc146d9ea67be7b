import { startEmbedded } from './start.js'

/** Prints the variables that point a client at both emulators, and runs these until SIGINT or SIGTERM. */
async function main (): Promise<void> {
  const [
    DATA_DIR, EMBEDDED_MONGO_PORT, EMBEDDED_S3_PORT
  ] = ['DATA_DIR', 'EMBEDDED_MONGO_PORT', 'EMBEDDED_S3_PORT'].map(name => process.env[name]?.trim())
  const embedded = await startEmbedded({
    dataDir: DATA_DIR || '.data',
    mongo: true,
    s3: true,
    mongoPort: readPort('EMBEDDED_MONGO_PORT', EMBEDDED_MONGO_PORT),
    s3Port: readPort('EMBEDDED_S3_PORT', EMBEDDED_S3_PORT)
  })
  const asked = new Promise<void>(resolve => {
    process.once('SIGINT', () => { resolve() })
    process.once('SIGTERM', () => { resolve() })
  })
  const { mongo, s3 } = embedded
  process.stdout.write([
    `MONGO_URI=${mongo?.uri}`,
    `S3_ENDPOINT=${s3?.endpoint}`,
    `S3_BUCKET=${s3?.bucket}`,
    `AWS_ACCESS_KEY_ID=${s3?.accessKeyId}`,
    `AWS_SECRET_ACCESS_KEY=${s3?.secretAccessKey}`,
    `S3_REGION=${s3?.region}`,
    'S3_FORCE_PATH_STYLE=true',
    ''
  ].join('\n'))
  await Promise.race([asked, embedded.exited])
  await embedded.close()
}

function readPort (name: string, text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined
  const port = Number(text)
  if (!/^\d+$/.test(text) || port < 1 || port > 65535) throw new Error(`${name} must be a port number from 1 to 65535`)
  return port
}

try {
  await main()
  process.exit(0)
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}
