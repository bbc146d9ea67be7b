import { cpSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle, makeBed } from './harness/bed.js'
import { listen } from './harness/listen.js'
import { toRequest } from './harness/load.js'
import { measure, untilTime } from './harness/measure.js'
import { interleaved, median, printGoal, printTable, ratio } from './harness/rounds.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const ROWS = 1000
const CONNECTIONS = 16
/** Each with new processes, because one may be slower than another of the same program. */
const ROUNDS = 5
const WARM_UP_MS = 2500
const SLICES = 8
const SLICE_MS = 500
/** CPU with metrics and the log line, as a share of the CPU without them. */
const MAX_COST = 1.05
const METRICS = ['http-metrics', 'database-metrics']
const LOG = ['request-log']

const READS = [
  { name: 'GET /library, one page', path: () => '/library' },
  { name: 'GET /users/{id}', path: ({ other }) => `/users/${other}` }
]

/**
 * What metrics, the line of each request in the log, and traces cost a request. The processes of a round are all there
 * at the same time, and answer for half a second in turn, so that a cost is compared with one of the same moment.
 */
export async function observability ({ quick }) {
  const receiver = createServer((request, response) => { request.resume().on('end', () => response.end('{}')) })
  const endpoint = await listen(receiver)
  const bed = await makeBed(quick ? 10 : ROWS)
  const [, whole] = bundle()
  const way = (name, program, env) =>
    ({ name, start: () => bed.startService(name, { program: [process.execPath, program], env }) })
  const without = (name, plugins) => way(name, variant(name, whole, plugins))
  const ways = [
    without('neither', [...METRICS, ...LOG]),
    without('without the log line', LOG),
    without('without metrics', METRICS),
    way('as it is', whole),
    way('with traces', whole, { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint })
  ]
  const runs = READS.map(() => ways.map(() => []))
  for (let round = 0; round < (quick ? 1 : ROUNDS); round++) {
    const services = await interleaved(1, ways, async ({ start }) => Object.assign(await start(), { requests: 0 }))
    for (const [read, { path }] of READS.entries()) {
      const load = milliseconds => ([service]) => measure(service, { connections: CONNECTIONS },
        untilTime(quick ? 0 : milliseconds, CONNECTIONS, () => toRequest('GET', path(service), { token: service.token })))
      await interleaved(1, services, load(WARM_UP_MS))
      const slices = await interleaved(quick ? 1 : SLICES, services, load(SLICE_MS))
      slices.forEach((costs, i) => runs[read][i].push(...costs))
    }
    await Promise.all(services.flat().map(service => service.stop()))
  }
  READS.forEach(({ name }, read) => {
    const cpu = runs[read].map(costs => costs.map(cost => cost.cpu))
    printTable(`${name} (slices: ${cpu[0].length})`, ['the service', 'requests/s', 'CPU ms', '× neither'], ways.map(({ name: kind }, i) => [
      kind,
      median(runs[read][i].map(cost => cost.speed)).toFixed(0),
      (median(cpu[i]) * 1000).toFixed(3),
      ratio(cpu[i], cpu[0]).toFixed(3)
    ]))
    const cost = ratio(cpu[3], cpu[0])
    console.log()
    printGoal(cost <= MAX_COST, `${name}: metrics and the log line cost ${((cost - 1) * 100).toFixed(1)} % (goal: at most 5 %)`)
  })
  await bed.close()
  receiver.closeAllConnections()
  receiver.close()
  for (const name of readdirSync(root)) if (name.startsWith(PREFIX)) rmSync(join(root, name), { recursive: true })
}

const PREFIX = 'dist.without-'

/** A copy of the program whose plugins of these names do nothing. Returns its server's path. */
function variant (name, program, plugins) {
  const folder = join(root, `${PREFIX}${name.replaceAll(' ', '-')}`)
  cpSync(join(root, program, '..'), folder, { recursive: true })
  for (const plugin of plugins) {
    writeFileSync(join(folder, 'plugins', `${plugin}.js`),
      `import fp from 'fastify-plugin'\nexport default fp(async () => {}, { name: '${plugin}' })\n`)
  }
  return join(folder, 'server.js')
}
