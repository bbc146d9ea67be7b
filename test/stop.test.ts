import t from 'tap'
import { startClients, playRounds } from './helpers/crash-rounds.js'
import { file, form } from './helpers/multipart.js'
import { gifOf } from './helpers/small-pictures.js'
import { environment, startServices } from './helpers/backends.js'
import { eventually } from './helpers/wait.js'
import { freshPhone } from './helpers/accounts.js'
import { newClientRecord } from './helpers/upload-clients.js'
import { signInTo, startProcess } from './helpers/server-process.js'
import { SEED, scale } from './helpers/test-length.js'
import { startFaultySetup } from './helpers/faulty-setup.js'
import { MIB, open, user } from './helpers/upload-requests.js'

const STOPS = scale({ short: 1, long: 200 })
/** On a busy machine, more requests at once would take longer than the service lets them finish (7 s). */
const CLIENTS = scale({ short: 2, long: 3, real: 3 })

t.setTimeout(scale({ short: 1_800_000, long: 14_400_000 }))

t.test('after SIGTERM under load the process exits with code 0 and drops no request that it had begun', async t => {
  const seed = SEED ?? 13
  t.comment(`${STOPS} stops from seed ${seed}`)
  const problems = await playRounds(t, STOPS, seed, async (instance, round, random) => {
    const record = newClientRecord()
    const service = await startProcess(t, instance.env)
    const clients = startClients(instance, service, random, record, CLIENTS)
    await instance.moment(random, record)
    record.stopping = true
    t.equal(await service.kill('SIGTERM'), 0)
    await clients
    instance.records.push(record)
    t.strictSame(record.dropped, [], 'no request was dropped')
    t.strictSame(record.statuses.filter(status => ![201, 204, 503].includes(status)), [])
    t.strictSame(await instance.problems(), [], `nothing is lost or left over after stop ${round + 1}`)
  })
  t.strictSame(problems, [], 'nothing is lost or left over at the end')
})

t.test('after SIGTERM the process is not ready, and serves on for DRAIN_SECONDS', async t => {
  const services = await startServices(t)
  const service = await startProcess(t, { ...environment(services), DRAIN_SECONDS: '600' })
  const token = await signInTo(service, freshPhone())
  process.kill(service.pid, 'SIGTERM')
  await service.line(/"event":"server\.drain_begun","seconds":600/)
  t.match(await service.json('GET', '/health/ready'), { status: 503, body: { error: 'Not ready' } })
  t.match(await service.json('GET', '/health/live'), { status: 200 })
  t.equal((await fetch(`${service.url}/health/live`)).headers.get('connection'), 'close', 'clients find another')
  for (let n = 0; n < 3; n++) t.equal((await service.json('GET', '/library', { token })).status, 200)
  t.equal(await service.kill('SIGTERM'), 1, 'a second signal ends it at once')

  const short = await startProcess(t, { ...environment(services), DRAIN_SECONDS: '1' })
  t.equal(await short.kill('SIGTERM'), 0)
  t.match(short.output().find(line => line.includes('server.stop_begun')), /"requests":0/)
})

t.test(
  'after SIGTERM while clients have stopped sending, their uploads are cleared away and the exit code is 0',
  async t => {
    const setup = await startFaultySetup(t)
    const service = await startProcess(t, environment(setup.throughProxies))
    const token = await signInTo(service, freshPhone())
    const body = form([user, file(gifOf(6 * MIB))])
    for (const share of [0.01, 0.5, 0.99]) {
      const request = open(service, token, { 'content-length': body.length })
      await new Promise(resolve => request.write(body.subarray(0, body.length * share), resolve))
    }
    await eventually(async () => {
      const { uploads, multipartUploads } = await setup.left()
      return uploads === 3 && multipartUploads === 3
    })
    t.equal(await service.kill('SIGTERM'), 0)
    t.strictSame(await setup.left(), setup.empty)
  }
)
