import { join, resolve } from 'node:path'
import { Worker } from 'node:worker_threads'
import { hasStore } from '../data-file/data-file.js'
import { mongoUri } from '../mongo-emulator/address.js'
import { s3Endpoint } from '../s3-emulator/address.js'
import { isKept, readKept, writeKept, type Kept } from './keep.js'
import { FolderInUse, lockFolder } from './lock.js'
import { ownOnly } from './own-only.js'
import type { Report, Task } from './worker.js'

export interface EmbeddedOptions {
  dataDir: string
  mongo?: boolean
  s3?: boolean
  /** Replaces the kept port, and is not kept itself. */
  mongoPort?: number | undefined
  s3Port?: number | undefined
}

export interface Embedded {
  mongo?: { uri: string }
  s3?: { endpoint: string, bucket: string, region: string, accessKeyId: string, secretAccessKey: string }
  /**
   * Rejects when an emulator ends by itself. Without a handler that is an unhandled rejection, which ends the process.
   * Resolves after `close`.
   */
  exited: Promise<void>
  close: () => Promise<void>
}

/** `isJoined`: another process runs the emulators, and `close` leaves them alone. */
export interface Joined extends Omit<Embedded, 'exited'> { isJoined?: true }

const BUCKET = 'hookaba'
const REGION = 'us-east-1'

interface Launched { port: number, address: string, exited: Promise<void>, close: () => Promise<void> }

/**
 * Starts the requested emulators, each in a worker, with their data in `dataDir`. Ports and credentials are chosen once
 * and kept there in `embedded.json`. One process at a time can use the folder. Rejects with one clear sentence when
 * another process uses it, when a port is taken, and with NODE_ENV=production.
 */
export async function startEmbedded ({
  dataDir,
  mongo = false,
  s3 = false,
  mongoPort,
  s3Port
}: EmbeddedOptions): Promise<Embedded> {
  if (process.env.NODE_ENV === 'production') {
    throw new Error(
      'The emulators are for trying and for tests, and refuse to run with NODE_ENV=production: set MONGO_URI and S3_BUCKET'
    )
  }
  if (!mongo && !s3) return { exited: Promise.resolve(), close: async () => {} }
  const folder = resolve(dataDir)
  ownOnly(folder, ['lock', 'mongo', 's3', 'embedded.json', 'secrets.json'])
  const unlock = lockFolder(folder)
  const launched: Launched[] = []
  async function end (): Promise<void> {
    await Promise.all(launched.map(async stand => { await stand.close() }))
    await unlock()
  }
  try {
    const kept = readKept(folder)
    const { accessKeyId, secretAccessKey } = kept
    if (mongo) refuseLoss(folder, 'MongoDB', join('mongo'), kept.mongoPort, kept)
    if (s3) refuseLoss(folder, 'S3', join('s3', 'meta'), kept.s3Port, kept)
    const credentials = { accessKeyId, secretAccessKey }
    const starting = await Promise.allSettled([
      mongo
        ? launch('MongoDB', 'EMBEDDED_MONGO_PORT', {
          kind: 'mongo',
          options: { path: join(folder, 'mongo'), port: mongoPort ?? kept.mongoPort ?? 0 }
        })
        : undefined,
      s3
        ? launch('S3', 'EMBEDDED_S3_PORT', {
          kind: 's3',
          options: {
            path: join(folder, 's3'),
            port: s3Port ?? kept.s3Port ?? 0,
            bucket: BUCKET,
            region: REGION,
            credentials
          }
        })
        : undefined
    ])
    launched.push(
      ...starting.flatMap(outcome =>
        outcome.status === 'fulfilled' && outcome.value !== undefined ? [outcome.value] : [])
    )
    const [mongoStand, s3Stand] = starting.map(orThrow)
    if (mongoPort === undefined && mongoStand !== undefined) kept.mongoPort = mongoStand.port
    if (s3Port === undefined && s3Stand !== undefined) kept.s3Port = s3Stand.port
    kept.made = [...new Set([...kept.made ?? [], ...mongo ? ['MongoDB'] : [], ...s3 ? ['S3'] : []])]
    writeKept(folder, kept)
    let ending: Promise<void> | undefined
    return {
      ...(mongoStand && { mongo: { uri: mongoStand.address } }),
      ...(s3Stand && { s3: { endpoint: s3Stand.address, bucket: BUCKET, region: REGION, ...credentials } }),
      exited: Promise.all(launched.map(async stand => { await stand.exited })).then(() => {}),
      close: async () => await (ending ??= end())
    }
  } catch (error) {
    await end()
    throw error
  }
}

/**
 * Starts the emulators, or uses those of the process that uses `dataDir`. Rejects as `startEmbedded` does, and when
 * that process has no such emulator.
 */
export async function startOrJoin (options: EmbeddedOptions): Promise<Joined> {
  try {
    return await startEmbedded(options)
  } catch (error) {
    if (!(error instanceof FolderInUse)) throw error
    return joined(options, error.pid)
  }
}

function joined ({ dataDir, mongo, s3, mongoPort, s3Port }: EmbeddedOptions, pid: number): Joined {
  const folder = resolve(dataDir)
  if (!isKept(folder)) {
    throw new Error(`Process ${pid}, which uses the data folder ${folder}, has just begun: try again in a moment`)
  }
  const { mongoPort: keptMongoPort, s3Port: keptS3Port, accessKeyId, secretAccessKey } = readKept(folder)
  const port = (name: string, variable: string, number: number | undefined) => {
    if (number !== undefined) return number
    throw new Error(
      `Process ${pid}, which uses the data folder ${folder}, has no port of an embedded ${name} there: set ${variable} as it is set for that process`
    )
  }
  return {
    ...(mongo && { mongo: { uri: mongoUri(port('MongoDB', 'EMBEDDED_MONGO_PORT', mongoPort ?? keptMongoPort)) } }),
    ...(s3 &&
      {
        s3: {
          endpoint: s3Endpoint(port('S3', 'EMBEDDED_S3_PORT', s3Port ?? keptS3Port)),
          bucket: BUCKET,
          region: REGION,
          accessKeyId,
          secretAccessKey
        }
      }),
    isJoined: true,
    close: async () => {}
  }
}

/** A new empty store in the place of a missing one would look as if all data was lost. */
function refuseLoss (
  folder: string,
  name: string,
  path: string,
  keptPort: number | undefined,
  { made = [] }: Kept
): void {
  if ((keptPort === undefined && !made.includes(name)) || hasStore(join(folder, path))) return
  throw new Error(
    `The embedded ${name} was in DATA_DIR (${folder}), but ${join(path, 'data.mdb')} is missing: restore it, or set DATA_DIR to a new folder to begin anew`
  )
}

function orThrow<T> (outcome: PromiseSettledResult<T>): T {
  if (outcome.status === 'rejected') throw outcome.reason
  return outcome.value
}

async function launch (name: string, variable: string, task: Task): Promise<Launched> {
  const worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: task })
  const exit = new Promise<Error>(resolve => {
    worker.once('error', error => {
      resolve(new Error(`The embedded ${name} has failed: ${error.message}`, { cause: error }))
    })
    worker.once('exit', () => { resolve(new Error(`The embedded ${name} has ended by itself`)) })
  })
  // both events may come in one turn of the event loop: then the report counts
  const report = await new Promise<Report | Error>(resolve => {
    worker.once('message', resolve)
    exit.then(resolve)
  })
  if (report instanceof Error) throw report
  if ('failed' in report) {
    await exit
    const { port } = task.options
    throw new Error(report.failed.portTaken
      ? `Port ${port} of the embedded ${name} is taken by another process: stop that one, or set ${variable} to a free port`
      : report.failed.message)
  }
  let closing = false
  return {
    ...report.ready,
    exited: exit.then(error => { if (!closing) throw error }),
    close: async () => {
      closing = true
      worker.postMessage('close')
      await exit
    }
  }
}
