/** Processes that end in the middle of their work, and the state they leave. */
import type { Test } from 'tap'
import { judge } from './library-check.js'
import { environment } from './backends.js'
import { freshPhone } from './accounts.js'
import { startService } from './service.js'
import { work, type Told } from './upload-clients.js'
import { generator } from './picture-bytes.js'
import { atRequest, between, pick, type Random } from './random-faults.js'
import type { Running } from './server-process.js'
import { faultBed } from './fault-bed.js'

const LANES = 2
const CLIENTS = 3
/** Milliseconds: the life of a form, UPLOAD_MAX_SECONDS, the sweeper's margin, and a reserve. */
const STALE_MS = 1_300_000

export interface Lane {
  env: Record<string, string>
  token: string
  /** The answers its clients got since the last check. */
  told: Told[]
  moment: (random: Random, told: Told) => Promise<unknown>
  /** Sweeps once. Resolves with what is left over, and what is wrongly gone. */
  problems: () => Promise<string[]>
}

/**
 * Plays this many rounds in two lanes side by side, each with its own database and bucket. At the end nothing may be
 * lost or left over.
 */
export async function inLanes (
  t: Test,
  rounds: number,
  seed: number,
  play: (lane: Lane, round: number, random: Random) => Promise<void>
): Promise<void> {
  const lanes = await Promise.all(Array.from({ length: LANES }, () => openLane(t)))
  await Promise.all(lanes.map(async (lane, i) => {
    const random = generator(seed * LANES + i)
    for (let round = 0; round < rounds / LANES; round++) await play(lane, round, random)
    t.strictSame(await lane.problems(), [], 'at the end')
  }))
}

async function openLane (t: Test): Promise<Lane> {
  const bed = await faultBed(t)
  const court = await judge(t, bed.services)
  let ahead = 0
  const sweeping = await startService(t, {
    services: bed.services,
    env: { SWEEP_INTERVAL_SECONDS: '0' },
    now: () => new Date(Date.now() + ahead)
  })
  const token = await sweeping.tokenFor(freshPhone())
  const told: Told[] = []
  // many processes that start at once overload a slow machine
  const mongoUri = `${bed.throughProxies.mongoUri}&serverSelectionTimeoutMS=60000&connectTimeoutMS=60000`
  return { env: environment({ ...bed.throughProxies, mongoUri }), token, told, moment, problems }

  /**
   * Resolves some time after the first upload, at the n-th request to the store, or after this many bytes to or from
   * the database.
   */
  async function moment (random: Random, told: Told): Promise<unknown> {
    const [kind, nth, bytes, ms] = [
      pick(random, ['time', 'store', 'database up', 'database down'] as const),
      between(random, 1, 30),
      between(random, 1000, 50_000),
      between(random, 0, 20)
    ]
    if (kind === 'time') {
      for (let waited = 0; told.acknowledged.length === 0 && waited < 60_000; waited += 10) await later(10)
      return later(between(random, 0, 800))
    }
    const aim = kind === 'store' ? atRequest(bed, nth) : bed.mongo.passed(bytes, kind === 'database up' ? 'up' : 'down')
    await Promise.race([aim, later(1500)])
    if (random() < 0.5) await later(ms)
  }

  async function problems (): Promise<string[]> {
    const acknowledged = told.flatMap(({ acknowledged }) => acknowledged)
    const removed = told.flatMap(({ removed }) => removed)
    told.length = 0
    await court.mongo.db().collection('leases').deleteMany({}) // a killed process holds the lease for a minute
    ahead += STALE_MS
    const swept = await sweeping.app.sweeper.sweep()
    ahead -= STALE_MS
    const there = (await court.library.find().toArray()).map(({ _id }) => _id.toHexString())
    return [
      ...(swept?.failed === 0 ? [] : [`the sweep: ${JSON.stringify(swept)}`]),
      ...await court.afterSweep(),
      ...await court.missing(acknowledged),
      ...removed.filter(id => there.includes(id)).map(id => `${id} was removed, and is there`)
    ]
  }
}

/** Starts the clients. Resolves when all of them have noticed that the service is gone. */
export function begin ({ token }: Lane, { url }: Running, random: Random, told: Told): Promise<unknown> {
  return Promise.all(Array.from({ length: CLIENTS }, () => work(url, token, random, told)))
}

const later = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))
