import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
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
const ROUND_MS = 1500
/** CPU with metrics and the log line, as a share of the CPU without them. */
const MAX_COST = 1.05
const METRICS = ['http-metrics', 'database-metrics']
const LOG = ['request-log']

/** What metrics, the line of each request in the log, and traces cost a request. */
export async function observability ({ quick }) {
  const receiver = createServer((request, response) => { request.resume().on('end', () => response.end('{}')) })
  const endpoint = await listen(receiver)
  const bed = await makeBed(quick ? 10 : ROWS)
  const [, whole] = bundle()
  const start = (name, options) => bed.startService(name, { program: [process.execPath, whole], ...options })
  const without = (name, plugins) => start(name, { program: [process.execPath, variant(name, whole, plugins)] })
  const ways = [
    await without('neither', [...METRICS, ...LOG]),
    await without('without the log line', LOG),
    await without('without metrics', METRICS),
    await start('as it is'),
    await start('with traces', { env: { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } })
  ]
  for (const way of ways) way.requests = 0
  for (const [name, path] of [['GET /library, one page', () => '/library'], ['GET /users/{id}', way => `/users/${way.other}`]]) {
    const work = way => measure(way, { connections: CONNECTIONS }, untilTime(quick ? 0 : ROUND_MS, CONNECTIONS, () =>
      toRequest('GET', path(way), { token: way.token })))
    if (!quick) await interleaved(1, ways, work)
    const runs = await interleaved(quick ? 1 : 9, ways, work)
    const cpu = runs.map(run => run.map(({ cpu }) => cpu))
    printTable(`${name} (rounds: ${runs[0].length})`, ['the service', 'requests/s', 'CPU ms', '× neither'], ways.map((way, i) => [
      way.name,
      median(runs[i].map(({ speed }) => speed)).toFixed(0),
      (median(cpu[i]) * 1000).toFixed(3),
      ratio(cpu[i], cpu[0]).toFixed(3)
    ]))
    const cost = ratio(cpu[3], cpu[0])
    console.log()
    printGoal(cost <= MAX_COST, `${name}: metrics and the log line cost ${((cost - 1) * 100).toFixed(1)} % (goal: at most 5 %)`)
  }
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
