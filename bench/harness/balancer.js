import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './listen.js'
import { launch } from './processes.js'

/** Whether haproxy is installed. */
export function hasBalancer () {
  try {
    execFileSync('haproxy', ['-v'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Starts haproxy before servers, `<host>:<port>` each, with further lines for its backend. */
export async function startBalancer (hosts, backend) {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), 'hookaba-haproxy-'))
  const config = join(folder, 'haproxy.cfg')
  writeFileSync(config, [
    'defaults',
    '  mode http',
    '  timeout connect 5s',
    '  timeout client 60s',
    '  timeout server 60s',
    'frontend all',
    `  bind 127.0.0.1:${port}`,
    '  default_backend services',
    'backend services',
    '  balance roundrobin',
    ...backend.map(line => `  ${line}`),
    ...hosts.map((host, i) => `  server s${i} ${host}`),
    ''
  ].join('\n'))
  const url = `http://127.0.0.1:${port}`
  const balancer = await launch('haproxy', ['haproxy', '-f', config], {
    log: join(folder, 'log'),
    url: `${url}/health/live`,
    isMeasured: false
  })
  return {
    url,
    async stop () {
      await balancer.stop()
      rmSync(folder, { recursive: true })
    }
  }
}
