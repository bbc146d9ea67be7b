import t from 'tap'
import { playRounds, startClients, type Instance } from './helpers/crash-rounds.js'
import type { Random } from './helpers/random-faults.js'
import { newClientRecord } from './helpers/upload-clients.js'
import { startProcess } from './helpers/server-process.js'
import { SEED, scale } from './helpers/test-length.js'

const KILLS = scale({ short: 2, long: 200 })
const MAX_KILLS = KILLS + 20
const KILLS_FOR_A_SWEEP = 10

t.setTimeout(scale({ short: 1_800_000, long: 14_400_000 }))

t.test('after SIGKILL during uploads and removals, acknowledged items stay and one sweep removes the rest', async t => {
  const seed = SEED ?? 6
  t.comment(`${KILLS} kills from seed ${seed}`)
  const figures = { kills: 0, acknowledged: 0, removed: 0, unanswered: 0 }
  const isInTheMiddle = () => figures.acknowledged > 0 && figures.unanswered > KILLS / 8
  const problems = await playRounds(t, KILLS, seed, async (instance, round, random) => {
    await kill(instance, random)
    // a few kills may all hit the moment between two requests
    while (figures.kills >= KILLS && figures.kills < MAX_KILLS && !isInTheMiddle()) await kill(instance, random)
    if ((round + 1) % KILLS_FOR_A_SWEEP === 0) t.strictSame(await instance.problems(), [], `after ${round + 1} kills`)
  })
  t.strictSame(problems, [], 'at the end')
  t.comment(JSON.stringify(figures))
  t.ok(isInTheMiddle(), 'the process died in the middle of its work')

  async function kill (instance: Instance, random: Random): Promise<void> {
    const record = newClientRecord()
    const service = await startProcess(t, instance.env)
    const clients = startClients(instance, service, random, record)
    await instance.moment(random, record)
    await service.kill('SIGKILL')
    await clients
    instance.records.push(record)
    figures.kills++
    figures.acknowledged += record.acknowledged.length
    figures.removed += record.removed.length
    figures.unanswered += record.dropped.length
  }
})
