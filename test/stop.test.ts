import t from 'tap'
import { judge } from './helpers/library-check.js'
import { begin, inLanes } from './helpers/crash-rounds.js'
import { file, form } from './helpers/multipart.js'
import { gifOf } from './helpers/small-pictures.js'
import { environment } from './helpers/backends.js'
import { eventually } from './helpers/wait.js'
import { freshPhone } from './helpers/accounts.js'
import { startService } from './helpers/service.js'
import { nothingTold } from './helpers/upload-clients.js'
import { startProcess } from './helpers/server-process.js'
import { scale } from './helpers/test-length.js'
import { faultBed } from './helpers/fault-bed.js'
import { MIB, open, user } from './helpers/upload-requests.js'

const SEED = Number(process.env.HARNESS_SEED ?? 13)
const STOPS = Number(process.env.HARNESS_RUNS ?? scale({ short: 4, long: 200, real: 3 }))

t.setTimeout(scale({ short: 1_800_000, long: 14_400_000 }))

t.test(
  `SIGTERM under load ${STOPS} times, from seed ${SEED}: it ends in order, drops no request that it had begun to read before, and nothing is lost or left over`,
  async t => {
    await inLanes(t, STOPS, SEED, async (lane, round, random) => {
      const told = nothingTold()
      const service = await startProcess(t, lane.env)
      const clients = begin(lane, service, random, told)
      await lane.moment(random, told)
      told.stopping = true
      t.equal(await service.kill('SIGTERM'), 0)
      await clients
      lane.told.push(told)
      t.strictSame(told.dropped, [])
      t.strictSame(told.statuses.filter(status => ![201, 204, 503].includes(status)), [])
      t.strictSame(await lane.problems(), [], `after ${round + 1} ends`)
    })
  }
)

t.test(
  'SIGTERM while clients have stopped sending: their uploads are cut off and cleared away, and it ends in order',
  async t => {
    const bed = await faultBed(t)
    const court = await judge(t, bed.services)
    const other = await startService(t, { services: bed.services, now: () => new Date() })
    const token = await other.tokenFor(freshPhone())
    const service = await startProcess(t, environment(bed.throughProxies))
    const body = form([user, file(gifOf(6 * MIB))])
    for (const share of [0.01, 0.5, 0.99]) {
      const request = open(service, token, { 'content-length': body.length })
      await new Promise(resolve => request.write(body.subarray(0, body.length * share), resolve))
    }
    await eventually(async () =>
      await court.uploads.countDocuments() === 3 && (await bed.left()).multipartUploads === 3)
    t.equal(await service.kill('SIGTERM'), 0)
    t.strictSame(await bed.left(), bed.empty)
  }
)
