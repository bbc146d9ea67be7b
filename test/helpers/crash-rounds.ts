/** Rounds in which a process ends in the middle of its work, and the state that it leaves. */
import type { Test } from 'tap'
import { libraryChecker } from './library-checker.js'
import { environment } from './backends.js'
import { freshPhone } from './accounts.js'
import { staleAfterSeconds, startService } from './service.js'
import { scale } from './test-length.js'
import { work, type ClientRecord } from './upload-clients.js'
import { seededRandom } from './seeded-random.js'
import { atRequest, between, pick, type Random } from './random-faults.js'
import type { ServerProcess } from './server-process.js'
import { startFaultySetup } from './faulty-setup.js'

const INSTANCES = scale({ short: 1, long: 2 })

export interface Instance {
  env: Record<string, string>
  token: string
  /** The records of its clients since the last check. */
  records: ClientRecord[]
  moment: (random: Random, record: ClientRecord) => Promise<unknown>
  /** Sweeps once. Resolves with what is left over, and what is wrongly gone. */
  problems: () => Promise<string[]>
}

/**
 * Plays this many rounds on one instance, or half of them on each of two in the long run. Each instance has its own
 * database and bucket. Resolves with what is lost or left over at the end.
 */
export async function playRounds (
  t: Test,
  rounds: number,
  seed: number,
  play: (instance: Instance, round: number, random: Random) => Promise<void>
): Promise<string[]> {
  const instances = await Promise.all(Array.from({ length: INSTANCES }, () => openInstance(t)))
  const problems = await Promise.all(instances.map(async (instance, i) => {
    const random = seededRandom(seed * INSTANCES + i)
    for (let round = 0; round < rounds / INSTANCES; round++) await play(instance, round, random)
    return await instance.problems()
  }))
  return problems.flat()
}

async function openInstance (t: Test): Promise<Instance> {
  const setup = await startFaultySetup(t)
  const checker = await libraryChecker(t, setup.services)
  let ahead = 0
  const sweeping = await startService(t, {
    services: setup.services,
    now: () => new Date(Date.now() + ahead)
  })
  const staleMs = 2 * 1000 * staleAfterSeconds(sweeping.config) // a form lives before the upload that completes it
  const token = await sweeping.tokenFor(freshPhone())
  const records: ClientRecord[] = []
  // many processes that start at once overload a slow machine
  const mongoUri = `${setup.throughProxies.mongoUri}&serverSelectionTimeoutMS=60000&connectTimeoutMS=60000`
  return { env: environment({ ...setup.throughProxies, mongoUri }), token, records, moment, problems }

  /**
   * Resolves some time after the first upload, at the n-th request to the store, or after this many bytes to or from
   * the database.
   */
  async function moment (random: Random, record: ClientRecord): Promise<unknown> {
    const [kind, nth, bytes, ms] = [
      pick(random, ['time', 'store', 'database up', 'database down'] as const),
      between(random, 1, 30),
      between(random, 1000, 50_000),
      between(random, 0, 20)
    ]
    if (kind === 'time') {
      for (let waited = 0; record.acknowledged.length === 0 && waited < 60_000; waited += 10) await later(10)
      return later(between(random, 0, 800))
    }
    const aim = kind === 'store'
      ? atRequest(setup, nth)
      : setup.mongo.passed(bytes, kind === 'database up' ? 'up' : 'down')
    await Promise.race([aim, later(1500)])
    if (random() < 0.5) await later(ms)
  }

  async function problems (): Promise<string[]> {
    const acknowledged = records.flatMap(({ acknowledged }) => acknowledged)
    const removed = records.flatMap(({ removed }) => removed)
    records.length = 0
    await checker.mongo.db().collection('leases').deleteMany({}) // a killed process holds the lease for a minute
    ahead += staleMs
    const swept = await sweeping.app.sweeper.sweep()
    ahead -= staleMs
    const there = (await checker.library.find().toArray()).map(({ _id }) => _id.toHexString())
    return [
      ...(swept?.failed === 0 ? [] : [`the sweep: ${JSON.stringify(swept)}`]),
      ...await checker.afterSweep(),
      ...await checker.missing(acknowledged),
      ...removed.filter(id => there.includes(id)).map(id => `${id} was removed, and is there`)
    ]
  }
}

/** Starts this many clients. Resolves when all of them have noticed that the service is gone. */
export function startClients (
  { token }: Instance,
  { url }: ServerProcess,
  random: Random,
  record: ClientRecord,
  count = 3
): Promise<unknown> {
  return Promise.all(Array.from({ length: count }, () => work(url, token, random, record)))
}

const later = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))
