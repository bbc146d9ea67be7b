import t from 'tap'
import { begin, inLanes } from './helpers/crash-rounds.js'
import { nothingTold } from './helpers/upload-clients.js'
import { startProcess } from './helpers/server-process.js'
import { scale } from './helpers/test-length.js'

const SEED = Number(process.env.HARNESS_SEED ?? 6)
const KILLS = Number(process.env.HARNESS_RUNS ?? scale({ short: 8, long: 200, real: 5 }))
const KILLS_FOR_A_SWEEP = 10

t.setTimeout(scale({ short: 1_800_000, long: 14_400_000 }))

t.test(
  `SIGKILL ${KILLS} times while clients upload, also directly, and delete, from seed ${SEED}: acknowledged items stay, and one sweep removes the rest`,
  async t => {
    const figures = { acknowledged: 0, removed: 0, unanswered: 0 }
    await inLanes(t, KILLS, SEED, async (lane, round, random) => {
      const told = nothingTold()
      const service = await startProcess(t, lane.env)
      const clients = begin(lane, service, random, told)
      await lane.moment(random, told)
      await service.kill('SIGKILL')
      await clients
      lane.told.push(told)
      figures.acknowledged += told.acknowledged.length
      figures.removed += told.removed.length
      figures.unanswered += told.dropped.length
      if ((round + 1) % KILLS_FOR_A_SWEEP === 0) t.strictSame(await lane.problems(), [], `after ${round + 1} kills`)
    })
    t.comment(JSON.stringify(figures))
    t.ok(figures.acknowledged > 0 && figures.unanswered > KILLS / 4, 'it died in the middle of work')
  }
)
