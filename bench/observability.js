import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bundle, makeBed } from './harness/bed.js'
import { listen } from './harness/listen.js'
import { toRequest } from './harness/load.js'
import { measure, untilTime } from './harness/measure.js'
import { interleaved, median, printGoal, printTable } from './harness/rounds.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const ROWS = 1000
const CONNECTIONS = 16
const WARM_UP_MS = 1500
const ROUND_MS = 3000
/** CPU with metrics and the log line, as a share of the CPU without them. */
const MAX_COST = 1.05
const METRICS = ['http-metrics', 'database-metrics']
const LOG = ['request-log']

const READS = [
  { name: 'GET /library, one page', path: () => '/library' },
  { name: 'GET /users/{id}', path: ({ other }) => `/users/${other}` }
]

/**
 * What metrics, the line of each request in the log, and traces cost a request. Each round starts new
 * processes, because one may be slower than another of the same program.
 */
export async function observability ({ quick }) {
  const receiver = createServer((request, response) => { request.resume().on('end', () => response.end('{}')) })
  const endpoint = await listen(receiver)
  const bed = await makeBed(quick ? 10 : ROWS)
  const [, whole] = bundle()
  const start = program => env => bed.startService('the service', { program: [process.execPath, program], env })
  const without = (name, plugins) => ({ name, start: start(variant(name, whole, plugins)) })
  const ways = [
    without('neither', [...METRICS, ...LOG]),
    without('without the log line', LOG),
    without('without metrics', METRICS),
    { name: 'as it is', start: start(whole) },
    { name: 'with traces', start: () => start(whole)({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }) }
  ]
  const runs = await interleaved(quick ? 1 : 7, ways, async way => {
    const service = Object.assign(await way.start(), { requests: 0 })
    const costs = []
    for (const { path } of READS) {
      const next = milliseconds => untilTime(quick ? 0 : milliseconds, CONNECTIONS, () =>
        toRequest('GET', path(service), { token: service.token }))
      await measure(service, { connections: CONNECTIONS }, next(WARM_UP_MS))
      costs.push(await measure(service, { connections: CONNECTIONS }, next(ROUND_MS)))
    }
    await service.stop()
    return costs
  })
  READS.forEach(({ name }, read) => {
    const cpu = runs.map(run => run.map(costs => costs[read].cpu))
    printTable(`${name} (rounds: ${runs[0].length})`, ['the service', 'requests/s', 'CPU ms', '× neither'], ways.map((way, i) => [
      way.name,
      median(runs[i].map(costs => costs[read].speed)).toFixed(0),
      (median(cpu[i]) * 1000).toFixed(3),
      (median(cpu[i]) / median(cpu[0])).toFixed(3)
    ]))
    const cost = median(cpu[3]) / median(cpu[0])
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
  if (plugins.includes('database-metrics')) doNotMonitor(folder)
  return join(folder, 'server.js')
}

/** The driver makes no events of its commands. */
function doNotMonitor (folder) {
  const path = join(folder, 'plugins', 'mongo.js')
  const text = readFileSync(path, 'utf8')
  const changed = text.replace('monitorCommands: true', 'monitorCommands: false')
  if (changed === text) throw new Error(`${path} has no monitorCommands: true`)
  writeFileSync(path, changed)
}
