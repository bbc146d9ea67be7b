import http from 'node:http'
import t, { type Test } from 'tap'
import { freshPhone } from './helpers/accounts.js'
import { startService, type Service } from './helpers/service.js'
import { startServices } from './helpers/backends.js'

t.setTimeout(1_200_000)
const services = await startServices(t)

/** A request from loopback with these headers. Resolves with its status. */
async function ask (service: Service, headers: string | string[]): Promise<number> {
  const body = JSON.stringify({ phone: freshPhone() })
  return new Promise((resolve, reject) => {
    const request = http.request(`${service.url}/auth/request-otp`, {
      method: 'POST',
      agent: false,
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(body),
        'x-forwarded-for': headers
      }
    })
    request
      .on('response', response => { response.resume().on('end', () => resolve(response.statusCode!)) })
      .on('error', reject)
      .end(body)
  })
}

/** A service that allows one SMS for each client. */
const start = (t: Test, env: Record<string, string> = {}): Promise<Service> =>
  startService(t, { services, env: { TRUST_PROXY: 'loopback,10.0.0.0/8', LIMIT_SMS_PER_ADDRESS: '1', ...env } })

const service = await start(t)

/** Sends one request for each header, when the earlier SMS count no more. Resolves with the statuses. */
async function letIn (headers: Array<string | string[]>, by = service): Promise<number[]> {
  by.clock.advance(600)
  const statuses: number[] = []
  for (const header of headers) statuses.push(await ask(by, header))
  return statuses
}

t.test('Clients behind a proxy have a budget each, however the proxy writes their addresses', async t => {
  const forms = (n: number): Array<string | string[]> => [
    `1.2.3.${n}`, `2.2.3.${n}:5678`, ` 3.2.3.${n} `, `"4.2.3.${n}:80"`, `::ffff:5.2.3.${n}`, `[::ffff:6.2.3.${n}]:443`,
    `[2001:db8:${n}00::1]`,
    `[2001:db8:${n}01::1]:443`,
    `2001:db8:${n}02::1`,
    `"[2001:db8:${n}03::1]:1"`,
    `[2001:db8:${n}04::1%eth0]`,
    `2001:db8:${n}05:0:0:0:0:1:50123`,
    `for=7.2.3.${n}`,
    `for="[2001:db8:${n}06::1]:8080"`,
    `, ,8.2.3.${n},, `,
    `9.9.9.9, 9.2.3.${n}, 10.1.2.3:99, 127.0.0.1`,
    ['9.9.9.9', `11.2.3.${n}, 10.0.0.1`],
    `unknown, 12.2.3.${n}`
  ]
  const statuses = await letIn([...forms(1), ...forms(2)])
  t.same(statuses, [...forms(1), ...forms(2)].map(() => 200))
  for (const header of forms(1)) t.equal(await ask(service, header), 429, JSON.stringify(header))
  t.notOk(service.logs.some(line => line.includes('proxy.')), 'nothing to warn of')
})

t.test('Several forms of one address are one client', async t => {
  const statuses = await letIn(
    ['1.2.3.4', '1.2.3.4:1', '::ffff:1.2.3.4', '[::ffff:102:304]:2', '"1.2.3.4"', '9.9.9.9, 1.2.3.4']
  )
  t.same(statuses, [200, 429, 429, 429, 429, 429])
})

t.test('Addresses that a client puts before the trusted proxies count for nothing', async t => {
  const statuses = await letIn(Array.from({ length: 5 }, (_, i) => `5.5.5.${i}, 1.2.3.4, 10.0.0.7`))
  t.same(statuses, [200, 429, 429, 429, 429])
})

t.test('An element that is no address counts for the proxy, and is logged once', async t => {
  const statuses = await letIn(
    [
      'unknown', '_hidden', '1.2.3.4, 999.1.1.1', '1.2.3.4, nonsense, 10.0.0.7', '1.2.3.4:port', '[2001:db8::1',
      '010.1.1.1', '<script>'
    ]
  )
  t.same(statuses, [200, ...Array.from({ length: 7 }, () => 429)])
  const lines = service.logs.filter(line => line.includes('proxy.address_unreadable'))
  t.equal(lines.length, 1)
  t.notMatch(lines[0], /nonsense|1\.2\.3\.4|script/)
})

t.test('Without TRUST_PROXY the header counts for nothing, and is warned about once', async t => {
  const service = await start(t, { TRUST_PROXY: 'off' })
  const statuses = await letIn(['1.2.3.4', '1.2.3.5', '1.2.3.6'], service)
  t.same(statuses, [200, 429, 429])
  t.equal(service.logs.filter(line => line.includes('proxy.not_trusted')).length, 1)
})

t.test('The header of a peer that is no trusted proxy counts for nothing', async t => {
  const statuses = await letIn(['1.2.3.4', '1.2.3.5'], await start(t, { TRUST_PROXY: '10.0.0.0/8' }))
  t.same(statuses, [200, 429])
})

t.test('The audit and the log have the network of the client, not of the proxy', async t => {
  t.same(await letIn(['[2001:db8:77:1::5]:443']), [200])
  await service.app.audit.flush()
  t.ok(await service.app.collections.audit.findOne({ event: 'otp.requested', network: '2001:db8:77::/48' }))
  t.ok(service.logs.some(line => line.includes('"event":"request.finished"') && line.includes('"network":"2001:db8:77::/48"')))
})
