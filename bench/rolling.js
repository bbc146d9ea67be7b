import { mkdtempSync, rmSync } from 'node:fs'
import http from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { MongoClient } from 'mongodb'
import { hasBalancer, startBalancer } from './harness/balancer.js'
import { signIn } from './harness/bed.js'
import { production } from './harness/environment.js'
import { freePort } from './harness/listen.js'
import { launch, start } from './harness/processes.js'
import { printGoal } from './harness/rounds.js'
import { smallPictures } from './harness/small-files.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const DATABASE = 'hookaba-bench-rolling'
const INSTANCES = 3
const CLIENTS = 8
/** haproxy asks for readiness every half second, and needs one answer. */
const PROBE_MS = 500
const DRAIN_SECONDS = 2

/** Restarts instances behind a load balancer that never repeats a request, one after the other, under load. */
export async function rolling ({ quick }) {
  if (!hasBalancer()) {
    console.log('NOT TRIED: haproxy is missing here (Debian\'s package haproxy)')
    return
  }
  const rounds = quick ? 1 : 20
  const folder = mkdtempSync(join(tmpdir(), 'hookaba-bench-'))
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
  const [sink, mongo] = [await start('s3-sink.js'), process.env.MONGO_URI ? undefined : await start('mongo.js')]
  const uri = new URL(process.env.MONGO_URI ?? mongo.uri)
  uri.pathname = `/${DATABASE}`
  const client = await new MongoClient(uri.href).connect()
  await client.db().dropDatabase()
  const env = { ...production({ mongoUri: uri.href, endpoint: sink.endpoint }), DRAIN_SECONDS }
  const ports = []
  for (let i = 0; i < INSTANCES; i++) ports.push(await freePort())
  const serve = i => launch(`instance ${i}`, [process.execPath, 'dist/server.js'], {
    cwd: root,
    log: join(folder, `${i}.log`),
    url: `http://127.0.0.1:${ports[i]}/health/ready`,
    env: { ...env, PORT: ports[i] },
    isMeasured: false
  })
  const instances = []
  for (let i = 0; i < INSTANCES; i++) instances.push(await serve(i))
  const balancer = await startBalancer(ports.map(port => `127.0.0.1:${port}`), [
    'retries 0',
    'option httpchk GET /health/ready',
    'http-check send hdr Host localhost',
    `default-server check inter ${PROBE_MS}ms fall 1 rise 1`
  ])
  const token = await signIn(balancer, 0)

  const load = startLoad(balancer.url, token, (await smallPictures())[0])
  const began = performance.now()
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < INSTANCES; i++) {
      await instances[i].stop()
      instances[i] = await serve(i)
      await sleep(3 * PROBE_MS) // the balancer must know it again before the next one goes
    }
  }
  const { requests, uploads, failures } = await load.end()
  const seconds = (performance.now() - began) / 1000
  console.log(`${rounds * INSTANCES} restarts in ${seconds.toFixed(0)} s, ${requests} requests, ${uploads} of them uploads`)
  const sentence = `${failures.length} requests failed (goal: none)`
  printGoal(failures.length === 0, failures.length === 0 ? sentence : `${sentence}: ${[...new Set(failures)].join(', ')}`)
  await balancer.stop()
  await Promise.all(instances.map(instance => instance.stop()))
  await client.db().dropDatabase()
  await client.close()
  await Promise.all([sink.stop(), mongo?.stop()])
}

/** Clients that read the list, and upload each tenth time, over connections that they keep. */
function startLoad (url, token, file) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: CLIENTS })
  const counts = { requests: 0, uploads: 0, failures: [] }
  const ending = new AbortController()
  const clients = Array.from({ length: CLIENTS }, async () => {
    for (let n = 1; !ending.signal.aborted; n++) {
      const isUpload = n % 10 === 0
      counts.requests++
      if (isUpload) counts.uploads++
      const status = await (isUpload ? upload(url, token, file) : read(`${url}/library`, token, agent))
        .catch(error => error.code ?? error.message)
      if (![200, 201].includes(status)) counts.failures.push(`${isUpload ? 'upload' : 'list'} ${status}`)
    }
  })
  return {
    async end () {
      ending.abort()
      await Promise.all(clients)
      agent.destroy()
      return counts
    }
  }
}

function read (address, token, agent) {
  return new Promise((resolve, reject) => {
    http.get(address, { agent, headers: { authorization: `Bearer ${token}` } }, response => {
      response.resume().on('end', () => resolve(response.statusCode))
    }).on('error', reject)
  })
}

async function upload (url, token, { content }) {
  const body = new FormData()
  body.set('user_id', 'bench')
  body.set('file', new Blob([content]), 'file')
  const response = await fetch(`${url}/library/upload`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body
  })
  await response.arrayBuffer()
  return response.status
}
