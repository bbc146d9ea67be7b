/** Random faults from a seed: in the store, in the database, and in the client itself. */
import type { S3Action, S3Operation } from './s3-proxy.js'
import type { FaultySetup } from './faulty-setup.js'

export type Random = () => number
export const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)]!
export const between = (random: Random, least: number, most: number) =>
  Math.floor(least + random() * (most - least + 1))

/**
 * A fault on a setup that serves one request at a time. `set` arms it until `over`, and resolves with a function that
 * tells whether it struck.
 */
export interface Fault { name: string, set: (setup: FaultySetup, over: AbortSignal) => Promise<() => boolean> }

/** How a client leaves: after this share of its request, or at the n-th request to the store. */
export interface Leave { share: number, at: number, by: 'FIN' | 'RST' | 'half' }

/** The operations that each way asks of the store. The last ones happen only after a failure. */
export const ASKED = {
  small: ['PutObject', 'PutObject', 'DeleteObject', 'ListObjectsV2', 'ListMultipartUploads'],
  large: [
    'CreateMultipartUpload', 'UploadPart', 'UploadPart', 'CompleteMultipartUpload', 'PutObject',
    'AbortMultipartUpload'
  ],
  direct: ['GetObject', 'PutObject', 'PutObject', 'DeleteObject', 'PostObject', 'ListMultipartUploads'],
  removal: ['DeleteObject', 'ListObjectsV2', 'ListMultipartUploads']
} as const satisfies Record<string, S3Operation[]>

/** Success of these has an empty answer, so that a lie of the store cannot be detected. */
const SILENT_ABOUT: readonly S3Operation[] = ['DeleteObject', 'AbortMultipartUpload']
const CLEANING = ['DeleteObject', 'ListObjectsV2', 'ListMultipartUploads', 'AbortMultipartUpload'] as const

/** The store refuses, breaks off, delays, stays silent, loses its answer, or answers nonsense. */
export function storeFault (random: Random, operations: readonly S3Operation[], patience: 'short' | 'long'): Fault {
  const first = storeStep(random, pick(random, operations), patience)
  const second = random() < 0.25 ? storeStep(random, pick(random, CLEANING), 'long') : undefined
  return {
    name: [first, second].flatMap(step => step?.name ?? []).join(', then '),
    async set ({ s3 }) {
      const set = [first, second].flatMap(step => step ? [s3.fault(step.fault())] : [])
      return () => set[0]!.hits > 0
    }
  }
}

function storeStep (random: Random, operation: S3Operation, patience: 'short' | 'long') {
  const silent = patience === 'short' && operation !== 'PostObject' && random() < 0.15
  const action: S3Action = silent
    ? { do: 'silence' }
    : pick<S3Action>(random, [
      {
        do: 'answer',
        ...pick(
          random,
          [
            { status: 403, code: 'AccessDenied' },
            { status: 500, code: 'InternalError' },
            { status: 503, code: 'SlowDown' },
            { status: 404, code: 'NoSuchBucket' }
          ]
        ),
        after: pick(random, [0, 100])
      },
      { do: 'reset', after: pick(random, [0, 10, 1000, 300_000]) },
      { do: 'delay', ms: between(random, 1, 150) },
      { do: 'lose' },
      ...(SILENT_ABOUT.includes(operation)
        ? []
        : [{ do: 'error200', code: 'InternalError' }, { do: 'broken' }] as const)
    ])
  const times = pick(random, [1, 1, 2, Infinity])
  const skipped = pick(random, [0, 0, 1])
  return {
    name: `${operation} ${JSON.stringify(action)} ×${times}${skipped ? ', the second' : ''}`,
    fault () {
      let before = 0
      return { operation, action, times, match: () => before++ >= skipped }
    }
  }
}

/** The connections to the store break. */
export function wireFault (random: Random): Fault {
  const what = pick(random, ['reset', 'down', 'cut up', 'cut down', 'slow'] as const)
  const when = moment(random)
  const [bytes, ms] = [between(random, 0, 3000), between(random, 10, 200)]
  return {
    name: `store ${what} (${bytes} bytes, ${ms} ms) ${when.name}`,
    async set (setup, over) {
      const { s3Wire } = setup
      return when.come(setup, over, async () => {
        if (what === 'reset') s3Wire.reset()
        if (what === 'down') await outage(s3Wire, ms, over)
        if (what === 'slow') s3Wire.latency(ms / 4)
        if (what.startsWith('cut')) s3Wire.cutAfter(bytes, what === 'cut up' ? 'up' : 'down', 1)
      })
    }
  }
}

/** The connections to the database break, or it refuses a command. */
export function databaseFault (random: Random): Fault {
  return random() < 0.4 ? refusedCommand(random) : brokenDatabase(random)
}

function brokenDatabase (random: Random): Fault {
  const what = random() < 0.02
    ? 'silent'
    : pick(random, ['reset', 'reset', 'down', 'cut up', 'cut up', 'cut down', 'cut down', 'slow'] as const)
  const when = moment(random)
  const [bytes, ms, times] = [between(random, 0, 4000), between(random, 10, 300), pick(random, [1, 1, 2])]
  return {
    name: `database ${what} (${bytes} bytes ×${times}, ${ms} ms) ${when.name}`,
    async set (setup, over) {
      const { mongo } = setup
      return when.come(setup, over, async () => {
        if (what === 'reset') mongo.reset()
        if (what === 'down') await outage(mongo, ms, over)
        if (what === 'silent') mongo.blackhole()
        if (what === 'slow') mongo.latency(ms / 6)
        if (what.startsWith('cut')) mongo.cutAfter(bytes, what === 'cut up' ? 'up' : 'down', times)
      })
    }
  }
}

/** Unknown error, shutdown (which drivers try again), write conflict, a failure with a closed connection, slowness. */
function refusedCommand (random: Random): Fault {
  const command = pick(random, ['insert', 'insert', 'update', 'delete', 'find', 'findAndModify'])
  const data = pick<object>(
    random,
    [
      { errorCode: 8 },
      { errorCode: 11600 },
      { errorCode: 91 },
      { errorCode: 112 },
      { closeConnection: true },
      { blockConnection: true, blockTimeMS: between(random, 10, 150) }
    ]
  )
  const mode = pick<object | 'alwaysOn'>(random, [{ times: 1 }, { times: 1 }, { times: 2 }, { skip: 1 }, 'alwaysOn'])
  return {
    name: `${command} ${JSON.stringify(data)} ${JSON.stringify(mode)}`,
    async set ({ client, appName }) {
      await client.db('admin').command({
        configureFailPoint: 'failCommand',
        mode,
        data: { failCommands: [command], ...data, appName }
      })
      return () => true
    }
  }
}

interface Outage { down: () => Promise<void>, up: () => Promise<void> }

async function outage (proxy: Outage, ms: number, over: AbortSignal): Promise<void> {
  await proxy.down()
  setTimeout(() => { if (!over.aborted) proxy.up() }, ms)
}

/** Before the request, at the n-th request to the store, or this many milliseconds after its start. */
function moment (random: Random) {
  const kind = pick(random, ['before', 'at', 'at', 'after'] as const)
  const [nth, ms] = [between(random, 1, 3), between(random, 0, 60)]
  return {
    name: kind === 'before' ? 'before' : kind === 'at' ? `at request ${nth} to the store` : `after ${ms} ms`,
    async come (setup: FaultySetup, over: AbortSignal, strike: () => Promise<void>): Promise<() => boolean> {
      let struck = false
      const once = async () => {
        if (over.aborted) return
        struck = true
        await strike()
      }
      if (kind === 'before') await once()
      if (kind === 'at') atRequest(setup, nth).then(once)
      if (kind === 'after') setTimeout(once, ms)
      return () => struck
    }
  }
}

/** Resolves at the n-th request to the store from now on. */
export function atRequest ({ s3 }: FaultySetup, nth: number): Promise<unknown> {
  let heard = 0
  return s3.fault({ match: () => ++heard === nth, action: { do: 'delay', ms: 0 }, times: 1 }).hit
}

export function leaving (random: Random): Leave {
  return { share: random() < 0.4 ? 1 : random(), at: between(random, 0, 3), by: pick(random, ['FIN', 'RST', 'half']) }
}

export async function heal ({ s3, s3Wire, mongo, client }: FaultySetup): Promise<void> {
  s3.clear()
  await Promise.all([
    s3Wire.up(),
    mongo.up(),
    client.db('admin').command({ configureFailPoint: 'failCommand', mode: 'off' })
  ])
}
