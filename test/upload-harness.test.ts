import { once } from 'node:events'
import http from 'node:http'
import t, { type Test } from 'tap'
import { libraryChecker, type Acknowledged } from './helpers/library-checker.js'
import { sha256 } from './helpers/bytes.js'
import { field, file, form, FORM_TYPE } from './helpers/multipart.js'
import { gifOf } from './helpers/small-pictures.js'
import { eventually } from './helpers/wait.js'
import { staleAfterSeconds, type Service } from './helpers/service.js'
import { noise } from './helpers/picture-bytes.js'
import { seededRandom } from './helpers/seeded-random.js'
import {
  ASKED,
  atRequest,
  between,
  databaseFault,
  heal,
  leaving,
  pick,
  storeFault,
  wireFault,
  type Fault,
  type Leave
} from './helpers/random-faults.js'
import { SEED, scale } from './helpers/test-length.js'
import { conform, json, KIB, MIB, pieces, send, type Answer } from './helpers/upload-requests.js'
import { startFaultySetup, type FaultySetup } from './helpers/faulty-setup.js'
import { PATIENCE } from './helpers/patience.js'

/** Each run has its own seed. TEST_SEED names the only one. */
const FIRST_SEED = SEED ?? 20_260_504
const RUNS = SEED === undefined ? scale({ short: 30, long: 2000, real: 60 }) : 1
/** Independent services side by side. On one shared database there is only one, because its fail points are for one. */
const INSTANCES = scale({ short: 2, long: 4, real: 1 })
const BATCH = scale({ short: 15, long: 50, real: 50 })
/** Milliseconds that a client waits for an answer. */
const DEADLINE_MS = 60_000

t.setTimeout(scale({ short: 1_800_000, long: 14_400_000 }))

const pictures = await Promise.all([
  noise(20, 10).gif(),
  noise(16, 16, { frames: 3 }).gif(),
  noise(9, 9).png(),
  noise(31, 8).png({ palette: true }),
  noise(40, 30).webp(),
  noise(12, 12, { frames: 2 }).webp(),
  noise(24, 24).jpeg(),
  noise(64, 64).jpeg({ progressive: true })
].map(image => image.toBuffer()))

interface Run {
  seed: number
  way: 'form' | 'chunks' | 'direct' | 'removal'
  picture: Buffer
  key?: string
  fault?: Fault
  leave?: Leave
  /** The outcome. */
  statuses: number[]
  struck: boolean
  /** The keys that the store was asked about meanwhile. */
  keys: Set<string | undefined>
  offer?: { id: string, url: string, fields: Record<string, string> }
  item?: Acknowledged
  removed?: string
}

interface Instance {
  setup: FaultySetup
  service: Service
  token: string
  checker: Awaited<ReturnType<typeof libraryChecker>>
}

t.test(
  'after uploads during which the store, the database or the client failed, exactly the acknowledged items are there',
  async t => {
    t.comment(`${RUNS} uploads from seed ${FIRST_SEED}`)
    const instances = await Promise.all(Array.from({ length: INSTANCES }, (_, i) => openInstance(t, i === 0 ? 'short' : 'long')))
    const seeds = Array.from({ length: RUNS }, (_, i) => FIRST_SEED + i)
    const done: Run[] = []
    await Promise.all(instances.map(async (instance, i) => {
      while (seeds.length > 0) {
        const batch = seeds.splice(0, BATCH).map(seed => plan(seed, i === 0 ? 'short' : 'long'))
        const problems: string[] = []
        for (const run of batch) problems.push(...await attempt(instance, run))
        problems.push(...await settle(instance, batch))
        t.strictSame(problems, [], problems.length > 0 ? batch.map(described).join('\n') : `${batch.length} runs`)
        done.push(...batch)
      }
    }))
    const count = (which: (run: Run) => boolean) => done.filter(which).length
    const figures = {
      runs: done.length,
      struck: count(({ struck }) => struck),
      acknowledged: count(({ item }) => item !== undefined),
      failed: count(({ statuses }) => statuses.includes(500)),
      unanswered: count(({ statuses }) => statuses.includes(0))
    }
    t.comment(JSON.stringify(figures))
    if (RUNS >= 100) {
      t.ok(
        figures.struck > RUNS * 0.5 &&
          figures.acknowledged > RUNS * 0.4 &&
          figures.failed > RUNS * 0.05 &&
          figures.unanswered > RUNS * 0.02,
        'the faults struck'
      )
    }
  }
)

async function openInstance (t: Test, patience: 'short' | 'long'): Promise<Instance> {
  const setup = await startFaultySetup(t)
  const service = await setup.start(patience === 'short' ? {} : { storeSilenceMs: PATIENCE.storeSilenceMs })
  const checker = await libraryChecker(t, setup.services)
  const { token } = await service.signIn()
  return { setup, service, token, checker }
}

function plan (seed: number, patience: 'short' | 'long'): Run {
  const random = seededRandom(seed)
  const way = pick(random, ['form', 'form', 'chunks', 'direct', 'removal'] as const)
  const large = random() < 0.03
  const picture = large ? gifOf(between(random, 5 * MIB, 6 * MIB)) : pick(random, pictures)
  const kind = pick(
    random,
    ['store', 'store', 'store', 'wire', 'database', 'database', 'database', 'client', 'client', 'none'] as const
  )
  const asked = way === 'removal' || way === 'direct' ? ASKED[way] : ASKED[large ? 'large' : 'small']
  const fault: Record<typeof kind, () => Pick<Run, 'fault' | 'leave'>> = {
    store: () => ({ fault: storeFault(random, asked, patience) }),
    wire: () => ({ fault: wireFault(random) }),
    database: () => ({ fault: databaseFault(random) }),
    client: () => ({ leave: leaving(random) }),
    none: () => ({})
  }
  const keyed = (way === 'form' || way === 'chunks') && random() < 0.5
  return {
    seed,
    way,
    picture,
    ...(keyed && { key: `run-${seed}` }),
    ...fault[kind](),
    statuses: [],
    struck: false,
    keys: new Set()
  }
}

/** Sends one request, or those of a direct upload, with its fault. Resolves with the faults of the answers. */
async function attempt (instance: Instance, run: Run): Promise<string[]> {
  const over = new AbortController()
  instance.setup.s3.requests.length = 0
  try {
    if (run.way === 'removal') run.removed = await uploaded(instance, run)
    const struck = await run.fault?.set(instance.setup, over.signal)
    await ways[run.way](instance, run)
    run.struck = struck?.() ?? run.leave !== undefined
    const expected = [201, 204, 500, 0, ...(run.way === 'direct' ? [409] : []), ...(run.leave ? [400, 408] : [])]
    const unexpected = run.statuses.filter(status =>
      !expected.includes(status) || (!run.fault && !run.leave && status >= 400))
    return unexpected.map(status => `${described(run)}: answered ${status}`)
  } catch (error) {
    return [`${described(run)}: ${(error as Error).message}`]
  } finally {
    over.abort()
    run.keys = new Set(instance.setup.s3.requests.map(({ key }) => key))
    await heal(instance.setup)
  }
}

const ways: Record<Run['way'], (instance: Instance, run: Run) => Promise<void>> = {
  form: postForm,
  chunks: postForm,

  async direct (instance, run) {
    const request = {
      content_type: typeOf(run.picture),
      size: run.picture.length,
      user_id: 'meera',
      title: `run ${run.seed}`
    }
    const { status, body } = await ask(instance, run, '/library/uploads', [JSON.stringify(request)])
    if (status !== 201) return
    run.offer = body
    if (!await posted(run)) run.offer = undefined
    keep(run, await ask(instance, run, `/library/uploads/${body.id}/complete`, [], run.leave))
  },

  async removal (instance, run) {
    const { status } = await ask(instance, run, `/library/${run.removed}`, [], run.leave)
    if (status !== 204) run.removed = undefined
  }
}

async function postForm (instance: Instance, run: Run): Promise<void> {
  keep(run, await ask(instance, run, '/library/upload', bodyOf(run), run.leave))
}

function bodyOf ({ seed, way, picture }: Run): Buffer[] {
  const body = form([field('user_id', 'meera'), field('title', `run ${seed}`), file(picture)])
  return way === 'chunks' ? pieces(body, picture.length > MIB ? 64 * KIB : 100) : [body]
}

/** Whether the store took the bytes. If it did but could not say so, the service has to find out. */
async function posted ({ offer, picture }: Run): Promise<boolean> {
  const data = new FormData()
  for (const [name, value] of Object.entries(offer!.fields)) data.append(name, value)
  data.append('file', new Blob([picture]))
  const response = await fetch(offer!.url, { method: 'POST', body: data, signal: AbortSignal.timeout(DEADLINE_MS) })
    .catch(() => undefined)
  return response?.status === 204
}

function keep (run: Run, { status, body }: Answer): void {
  if (status === 201) run.item = body
}

async function uploaded ({ service, token }: Instance, { seed, picture }: Run): Promise<string> {
  const { status, body } = await service.upload(token, picture, { fields: { user_id: 'meera', title: `run ${seed}` } })
  if (status !== 201) throw new Error(`an upload without any fault was answered ${status}`)
  return body.id
}

/**
 * Sends a request, and leaves where the run says so. The status is 0 without an answer. Rejects when no answer comes in
 * time.
 */
async function ask (
  instance: Instance,
  run: Run,
  path: string,
  body: Array<Buffer | string>,
  leave?: Leave
): Promise<Answer> {
  const isForm = path === '/library/upload'
  const method = run.way === 'removal' ? 'DELETE' : 'POST'
  const length = body.reduce((sum, chunk) => sum + Buffer.byteLength(chunk), 0)
  const headers = {
    'content-type': isForm ? FORM_TYPE : length > 0 ? 'application/json' : undefined,
    ...(run.way !== 'chunks' && { 'content-length': length }),
    ...(run.key !== undefined && { 'idempotency-key': run.key })
  }
  const signal = AbortSignal.timeout(DEADLINE_MS)
  const answer = await (leave
    ? leaveWith(leave, instance, method, path, headers, Buffer.concat(body.map(chunk => Buffer.from(chunk))), signal)
    : send(instance.service, instance.token, body, { method, path, headers, signal, agent: NEW_EACH }))
  run.statuses.push(answer.status)
  return answer
}

const NEW_EACH = new http.Agent({ keepAlive: false })

async function leaveWith (
  { share, at, by }: Leave,
  { setup, service, token }: Instance,
  method: string,
  path: string,
  headers: Record<string, string | number | undefined>,
  body: Buffer,
  signal: AbortSignal
): Promise<Answer> {
  const given = Object.fromEntries(Object.entries({ authorization: `Bearer ${token}`, ...headers }).filter(
    ([, value]) => value !== undefined
  )) as http.OutgoingHttpHeaders
  const request = http.request(service.url + path, { method, agent: NEW_EACH, signal, headers: given })
  const answered = once(request, 'response') as Promise<http.IncomingMessage[]>
  answered.catch(() => {})
  const closed = new Promise(resolve => request.once('close', resolve))
  const heard = at > 0 && share === 1 ? atRequest(setup, at) : undefined
  await new Promise(resolve => request.write(body.subarray(0, Math.floor(body.length * share)), resolve))
  if (share === 1) request.end()
  await Promise.race([heard, answered.catch(() => {})])
  if (by === 'FIN') request.destroy()
  if (by === 'RST') request.socket?.resetAndDestroy()
  if (by === 'half') request.socket?.end()
  const response = await Promise.race([
    answered.then(([response]) => response, () => undefined),
    closed.then(() => undefined)
  ])
  if (signal.aborted) throw new Error('no answer in time')
  if (!response) return { status: 0, body: undefined }
  const reply = {
    status: response.statusCode!,
    headers: response.headers,
    body: await json(response).catch(() => undefined)
  }
  if (reply.body === undefined) return { status: 0, body: undefined }
  conform(service.app, method, path, reply)
  return reply
}

/**
 * After a batch, without faults: repeats the requests, waits until all is at rest, and sweeps. Then nothing may be lost
 * or left over.
 */
async function settle (instance: Instance, batch: Run[]): Promise<string[]> {
  const { service: { app, clock, config }, checker } = instance
  const problems: string[] = []
  for (const run of batch) problems.push(...await again(instance, run))
  const inProgress = { state: { $in: ['open' as const, 'committing' as const] } }
  await eventually(async () => await checker.uploads.countDocuments(inProgress) === 0)
    .catch(() => problems.push('something is in progress for ever'))
  clock.advance(staleAfterSeconds(config))
  const swept = await app.sweeper.sweep()
  if (swept?.failed !== 0) problems.push(`the sweep: ${JSON.stringify(swept)}`)
  const items = batch.flatMap(({ item }) => item ?? [])
  for (const fault of await checker.afterSweep()) {
    problems.push(
      `${fault}; ${batch.filter(({ keys }) => [...keys].some(key => key && fault.endsWith(key))).map(described).join('; ')}`
    )
  }
  problems.push(...await checker.missing(items))
  for (const { seed, item, picture } of batch) {
    if (item && item.sha256 !== sha256(picture)) {
      problems.push(`seed ${seed}: was acknowledged as other bytes than were sent`)
    }
    const count = await checker.library.countDocuments({ title: `run ${seed}` })
    if (count > 1) problems.push(`seed ${seed}: made ${count} items`)
  }
  for (const { seed, removed } of batch.filter(({ way }) => way === 'removal')) {
    if (removed && await checker.library.countDocuments({ title: `run ${seed}` }) > 0) {
      problems.push(`seed ${seed}: was removed, and is there`)
    }
  }
  return problems
}

/** The same request again gives the same item, or makes it if the first did not. */
async function again (instance: Instance, run: Run): Promise<string[]> {
  const before = run.item
  if (run.key !== undefined) {
    const { status, body } = await retryOn409(() =>
      send(instance.service, instance.token, bodyOf(run), { headers: { 'idempotency-key': run.key } }))
    if (status !== 201 || (before && body.id !== before.id)) {
      return [`${described(run)}: the same again was answered ${status} ${JSON.stringify(body)}, after ${before?.id}`]
    }
    run.item = body
  }
  if (run.offer) {
    const { status, body } = await retryOn409(() =>
      instance.service.call('POST', `/library/uploads/${run.offer!.id}/complete`, { token: instance.token }))
    if (status !== 201 || body.id !== run.offer.id) {
      return [`${described(run)}: completed again, answered ${status} ${JSON.stringify(body)}`]
    }
    run.item = body
  }
  return []
}

/** Repeats a request until it is not 409: the first one, or its clean-up, is then over. */
async function retryOn409 (request: () => Promise<Answer>): Promise<Answer> {
  let answer: Answer
  return eventually(async () => {
    answer = await request()
    return answer.status !== 409 && answer
  }).catch(() => answer)
}

function described ({ seed, way, picture, key, fault, leave, statuses }: Run): string {
  const trouble = fault?.name ??
    (leave ? `client leaves by ${leave.by} after ${Math.round(leave.share * 100)} %, at ${leave.at}` : 'no fault')
  return `seed ${seed}: ${way}${key ? ' with a key' : ''} of ${picture.length} bytes, ${trouble} → ${statuses.join(', ')}`
}

const typeOf = (picture: Buffer) => picture[0] === 0x47
  ? 'image/gif'
  : picture[0] === 0x89 ? 'image/png' : picture[0] === 0xff ? 'image/jpeg' : 'image/webp'
