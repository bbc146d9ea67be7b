/**
 * Checks deploy/monitoring with Prometheus: the names of the metrics, the rules and their tests, and that each query of
 * the dashboard has an answer from a service under load.
 *
 *   npm run test:monitoring
 *
 * Without prometheus and promtool it says what it did not try, and does not fail.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const monitoring = join(root, 'deploy/monitoring')
const GIF = Buffer.from('R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs=', 'base64')
const UPLOADS = 5
const PATIENCE_MS = 120_000

const missing = ['prometheus', 'promtool'].filter(program =>
  !process.env.PATH.split(delimiter).some(folder => existsSync(join(folder, program))))
if (missing.length > 0) console.log(`NOT TRIED: deploy/monitoring, because ${missing.join(' and ')} is missing here`)
else await main()

async function main () {
  for (const [command, file] of [['check', 'alerts.yml'], ['test', 'alerts.test.yml']]) {
    execFileSync('promtool', [command, 'rules', file], { cwd: monitoring, stdio: 'inherit' })
  }
  const folder = await mkdtemp(join(tmpdir(), 'hookaba-monitoring-'))
  const children = []
  try {
    const service = await startService(folder, children)
    const prometheus = await startPrometheus(folder, service, children)
    const visits = visit(service)
    // two scrapes with an upload between them, at least
    await until('Prometheus has seen uploads', async () => Number((await ask(
      prometheus,
      'increase(hookaba_upload_duration_seconds_count{outcome="stored"}[1h])'
    ))[0]?.value[1]) >= UPLOADS)
    visits.stop = true
    await visits.done
    checkNames(await (await fetch(`${service}/metrics`)).text())
    await checkDashboard(prometheus)
  } finally {
    for (const child of children) {
      child.kill()
      if (child.exitCode === null) await once(child, 'exit')
    }
    await rm(folder, { recursive: true, force: true })
  }
}

async function startService (folder, children) {
  const port = await freePort()
  const child = spawn(process.execPath, ['dist/server.js'], {
    cwd: root,
    env: {
      ...process.env,
      NODE_NO_WARNINGS: '1',
      PORT: port,
      DATA_DIR: join(folder, 'data'),
      SMS_HOURLY_CAP: '500',
      SMS_DAILY_CAP: '2000',
      LIMIT_SMS_PER_ADDRESS: '0',
      OTP_TEST_NUMBERS: '+919999900000:246813'
    },
    stdio: ['ignore', 'ignore', 'inherit']
  })
  children.push(child)
  const url = `http://127.0.0.1:${port}`
  await until('the service is ready', async () => (await fetch(`${url}/health/ready`)).ok)
  return url
}

async function startPrometheus (folder, service, children) {
  const port = await freePort()
  const config = join(folder, 'prometheus.yml')
  await writeFile(config, JSON.stringify({
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: [join(monitoring, 'alerts.yml')],
    scrape_configs: [{ job_name: 'hookaba', static_configs: [{ targets: [new URL(service).host] }] }]
  }))
  children.push(spawn('prometheus', [
    `--config.file=${config}`, `--storage.tsdb.path=${join(folder, 'tsdb')}`, `--web.listen-address=127.0.0.1:${port}`
  ], { stdio: 'ignore' }))
  const url = `http://127.0.0.1:${port}`
  await until('Prometheus is ready', async () => (await fetch(`${url}/-/ready`)).ok)
  return url
}

/** What people do, again and again, until `stop` is set. */
function visit (service) {
  const visits = { stop: false }
  visits.done = (async () => {
    for (let n = 0; !visits.stop; n++) {
      const headers = { authorization: `Bearer ${await signIn(service)}` }
      const phone = `+9198${String(n).padStart(8, '0')}`
      await post(service, '/auth/request-otp', { phone })
      await post(service, '/auth/verify-otp', { phone, otp: '000000' })
      await fetch(`${service}/library`, { headers })
      for (const file of [GIF, Buffer.from('no picture')]) {
        const body = new FormData()
        body.set('user_id', 'monitoring')
        body.set('file', new Blob([file]), 'a.gif')
        await fetch(`${service}/library/upload`, { method: 'POST', headers, body })
      }
      await fetch(`${service}/auth/logout`, { method: 'POST', headers })
      await sleep(100)
    }
  })()
  visits.done.catch(() => {}) // it is awaited later
  return visits
}

async function signIn (service) {
  const phone = '+919999900000'
  await post(service, '/auth/request-otp', { phone })
  return (await (await post(service, '/auth/verify-otp', { phone, otp: '246813' })).json()).access_token
}

function post (service, path, json) {
  return fetch(service + path, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(json)
  })
}

/** promtool names every metric that breaks a convention. */
function checkNames (metrics) {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: metrics, encoding: 'utf8' })
  if (status !== 0 || stdout + stderr !== '') throw new Error(`promtool check metrics: ${stdout}${stderr}`)
  console.log('The names of the metrics keep the conventions of Prometheus.')
}

/** Each panel has data. */
async function checkDashboard (prometheus) {
  const { panels } = JSON.parse(await readFile(join(monitoring, 'grafana/dashboards/hookaba.json'), 'utf8'))
  const empty = []
  let queries = 0
  for (const { title, targets = [] } of panels) {
    for (const { expr } of targets) {
      queries++
      const result = await ask(prometheus, expr.replaceAll('$__rate_interval', '30s'))
      if (!result.some(({ value: [, value] }) => value !== 'NaN')) empty.push(`${title}: ${expr}`)
    }
  }
  if (empty.length > 0) throw new Error(`These queries of the dashboard have no answer:\n${empty.join('\n')}`)
  console.log(`Each of the ${queries} queries of the dashboard has an answer.`)
}

async function ask (prometheus, query) {
  const answer = await (await fetch(`${prometheus}/api/v1/query?${new URLSearchParams({ query })}`)).json()
  if (answer.status !== 'success') throw new Error(`${query}: ${answer.error}`)
  return answer.data.result
}

async function until (event, probe) {
  const giveUp = Date.now() + PATIENCE_MS
  while (!await probe().catch(() => false)) {
    if (Date.now() > giveUp) throw new Error(`did not happen: ${event}`)
    await sleep(100)
  }
}

async function freePort () {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  return port
}
