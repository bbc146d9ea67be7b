import { cpSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle, makeBed } from './harness/bed.js'
import { listen } from './harness/listen.js'
import { toRequest } from './harness/load.js'
import { measure, untilTime } from './harness/measure.js'
import { median, printGoal, printTable } from './harness/rounds.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const COPY = 'dist.switchable'
const ROWS = 1000
const CONNECTIONS = 16
/** Each with new processes, because one may be slower than another of the same program. */
const ROUNDS = 3
const WARM_UP_MS = 5000
const LOAD_MS = 75_000
const TRACED_MS = 5000
/** CPU with metrics and the log line, as a share of the CPU without them. */
const MAX_COST = 1.05
const METRICS = ['http-metrics', 'database-metrics']
const LOG = ['request-log']

const READS = [
  { name: 'GET /library, one page', route: '/library', path: () => '/library' },
  { name: 'GET /users/{id}', route: '/users/:id', path: ({ other }) => `/users/${other}` }
]
/** The plugins whose listeners are called. `again` shows how well the benchmark tells two ways apart. */
const WAYS = [
  { name: 'neither', on: [] },
  { name: 'neither, again', on: [] },
  { name: 'metrics', on: METRICS },
  { name: 'the log line', on: LOG },
  { name: 'both, as it is', on: [...METRICS, ...LOG] }
]

/**
 * What metrics, the line of each request in the log, and traces cost a request. Two processes of one program differ by
 * more than metrics and log line cost, so one process switches these off and on. Traces have a process of their own.
 */
export async function observability ({ quick }) {
  const receiver = createServer((request, response) => { request.resume().on('end', () => response.end('{}')) })
  const endpoint = await listen(receiver)
  const bed = await makeBed(quick ? 10 : ROWS)
  const [, whole] = bundle()
  const { program, blocks, remove } = makeSwitchable(whole)
  const start = async (name, options) => Object.assign(await bed.startService(name, options), { requests: 0 })
  const load = (service, { path }, milliseconds) => measure(service, { connections: CONNECTIONS },
    untilTime(milliseconds, CONNECTIONS, () => toRequest('GET', path(service), { token: service.token })))
  const cpu = READS.map(() => WAYS.map(() => []))
  const traces = READS.map(() => [])
  for (let round = 0; round < (quick ? 1 : ROUNDS); round++) {
    const service = await start('switchable', {
      program: [process.execPath, program],
      env: { BENCH_WAYS: JSON.stringify(WAYS.map(({ on }) => on)), BENCH_BLOCKS: blocks }
    })
    const traced = await start('with traces',
      { program: [process.execPath, whole], env: { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } })
    for (const [read, { route, ...request }] of READS.entries()) {
      await load(service, request, quick ? 500 : WARM_UP_MS)
      rmSync(blocks, { force: true })
      await load(service, request, quick ? 6000 : LOAD_MS)
      const costs = readFileSync(blocks, 'utf8').trim().split('\n').map(line => JSON.parse(line))
      for (const [way, of] of cpu[read].entries()) {
        of.push(costs.filter(cost => cost.route === route && cost.way === way).map(cost => cost.cpu))
      }
      await load(traced, request, quick ? 500 : WARM_UP_MS)
      traces[read].push((await load(traced, request, quick ? 500 : TRACED_MS)).cpu * 1e6)
    }
    await Promise.all([service.stop(), traced.stop()])
  }
  READS.forEach(({ name }, read) => report(name, cpu[read], traces[read]))
  await bed.close()
  receiver.closeAllConnections()
  receiver.close()
  remove()
}

/** `cpu` has, for each way and each round, the costs of the blocks; `traced` one cost for each round. */
function report (name, cpu, traced) {
  const toNeither = figure => costs => costs.map((of, round) => figure(of) / figure(cpu[0][round]))
  const [medians, means] = [cpu.map(toNeither(median)), cpu.map(toNeither(mean))]
  const each = ratios => ratios.map(value => value.toFixed(3)).join(', ')
  const tracing = traced.map((cost, round) => cost / mean(cpu[0][round]))
  printTable(
    `${name} (blocks of each: ${cpu[0].flat().length})`,
    ['what is on', 'CPU µs', '× neither, medians', 'of the rounds', '× neither, means', 'of the rounds'],
    [
      ...WAYS.map(({ name: on }, i) => [
        on,
        median(cpu[i].flat()).toFixed(1),
        median(medians[i]).toFixed(3),
        each(medians[i]),
        median(means[i]).toFixed(3),
        each(means[i])
      ]),
      ['both and a trace, elsewhere', median(traced).toFixed(1), '', '', median(tracing).toFixed(3), each(tracing)]
    ]
  )
  const cost = median(medians[WAYS.length - 1])
  console.log()
  const percent = ((cost - 1) * 100).toFixed(1)
  printGoal(cost <= MAX_COST, `${name}: metrics and the log line cost ${percent} % (goal: at most 5 %)`)
}

const mean = numbers => numbers.reduce((sum, number) => sum + number, 0) / numbers.length

/** A copy of the program whose listeners for metrics and log line can be switched: see harness/switch.js. */
function makeSwitchable (whole) {
  const folder = join(root, COPY)
  rmSync(folder, { recursive: true, force: true })
  cpSync(join(root, whole, '..'), folder, { recursive: true })
  mkdirSync(join(folder, 'switched'))
  for (const name of [...METRICS, ...LOG]) {
    const file = join(folder, 'plugins', `${name}.js`)
    renameSync(file, join(folder, 'switched', `${name}.js`))
    writeFileSync(file, `
      import plugin from '../switched/${name}.js'
      import { switchable } from ${JSON.stringify(new URL('./harness/switch.js', import.meta.url))}
      export default switchable('${name}', plugin)`)
  }
  return {
    program: join(folder, 'server.js'),
    blocks: join(folder, 'blocks'),
    remove: () => rmSync(folder, { recursive: true })
  }
}
