import { MongoClient, type Collection } from 'mongodb'
import t from 'tap'
import type { TextCountDocument } from '../../schemas/documents.js'
import { createAddressLimit } from '../../services/address-limits.js'
import type { Visitor } from '../../services/ports.js'
import { bucket, createTextCounts } from '../../services/text-counts.js'
import { createTextGuard, type TextGuardOptions } from '../../services/text-guard.js'
import { freshPhone, startServices } from '../helper.js'

const START = Date.parse('2126-05-04T10:20:00.000Z')
const clock = { now: START }
const now = () => new Date(clock.now)
const { mongoUri } = await startServices(t)
const clients = await Promise.all([1, 2].map(async () => await new MongoClient(mongoUri).connect()))
t.teardown(() => Promise.all(clients.map(client => client.close())))
const [texts, elsewhere] = clients.map(client => client.db().collection<TextCountDocument>('texts')) as [Collection<TextCountDocument>, Collection<TextCountDocument>]

t.beforeEach(async () => {
  clock.now = START
  await texts.deleteMany({})
})

t.test('createAddressLimit', async t => {
  t.test('no five minutes hold more than the limit, wherever they begin', async t => {
    const limit = createAddressLimit(3, now)
    const taken: number[] = []
    const strays: unknown[] = []
    for (let second = 0; second < 3000; second++) {
      clock.now = START + second * 1000
      const wait = limit.wait('192.0.2.1')
      const one = limit.take('192.0.2.1')
      if (typeof one !== 'number') taken.push(clock.now)
      const expected = typeof one === 'number' ? (taken.at(-3)! + 300_000 - clock.now) / 1000 : 0
      if (wait !== expected || (typeof one === 'number' && one !== expected)) strays.push([second, wait, one])
    }
    t.same(strays, [])
    t.equal(taken.length, 30)
    t.notOk(taken.some((time, i) => taken[i + 3]! < time + 300_000))
  })

  t.test('what is given back was never taken, also long after', async t => {
    const limit = createAddressLimit(2, now)
    const first = limit.take('192.0.2.1')
    const second = limit.take('192.0.2.1')
    if (typeof first === 'number' || typeof second === 'number') return t.fail()
    t.equal(limit.take('192.0.2.1'), 300)
    second()
    t.type(limit.take('192.0.2.1'), 'function')
    t.equal(limit.take('192.0.2.1'), 300)
    clock.now += 300_001
    first()
    t.equal(limit.wait('192.0.2.1'), 0)
  })

  t.test('waiting takes nothing, 0 is no limit, and a clock that is set back frees nobody', async t => {
    const limit = createAddressLimit(1, now)
    for (let times = 1; times <= 5; times++) t.equal(limit.wait('192.0.2.1'), 0)
    t.type(limit.take('192.0.2.1'), 'function')
    clock.now -= 60_000
    t.equal(limit.wait('192.0.2.1'), 360)
    const none = createAddressLimit(0, now)
    for (let times = 1; times <= 1000; times++) t.type(none.take('192.0.2.1'), 'function')
    t.equal(none.wait('192.0.2.1'), 0)
  })

  t.test('an IPv4 address, also as IPv6, and a /64 are one client each; what is no address is one, too', async t => {
    for (const [one, same, other] of [
      ['192.0.2.1', '::ffff:192.0.2.1', '192.0.2.2'],
      ['2001:db8::1', '2001:db8::ffff:0:0:1', '2001:db8:0:1::1'],
      ['', 'nonsense', '::1']
    ] as const) {
      const limit = createAddressLimit(1, now)
      limit.take(one)
      t.equal(limit.wait(same), 300, same)
      t.equal(limit.wait(other), 0, other)
    }
  })

  t.test('remembers ten thousand clients, not all there are', async t => {
    const limit = createAddressLimit(1, now)
    for (let i = 0; i <= 10_000; i++) limit.take(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`)
    t.equal(limit.wait('10.0.0.0'), 0)
    t.equal(limit.wait('10.0.0.1'), 300)
  })
})

t.test('text counts', async t => {
  t.test('hours and days are calendar ones, in UTC', async t => {
    const at = (text: string) => [bucket('hour', 'country', 'IN', new Date(text)), bucket('day', 'country', 'IN', new Date(text))].map(({ _id, end }) => [_id, new Date(end).toISOString()])
    t.same(at('2126-12-31T23:59:59.999Z'), [['hour:country:IN:2126-12-31T23:00:00.000Z', '2127-01-01T00:00:00.000Z'], ['day:country:IN:2126-12-31T00:00:00.000Z', '2127-01-01T00:00:00.000Z']])
    t.same(at('2127-01-01T00:00:00.000Z'), [['hour:country:IN:2127-01-01T00:00:00.000Z', '2127-01-01T01:00:00.000Z'], ['day:country:IN:2127-01-01T00:00:00.000Z', '2127-01-02T00:00:00.000Z']])
  })

  t.test('of many processes that reserve the first and the last place at once, none takes one too many', async t => {
    const counts = [createTextCounts(texts), createTextCounts(elsewhere)]
    for (const most of [1, 2, 7, 25]) {
      const here = bucket('hour', 'service', `all ${most}`, now())
      const rows = await Promise.all(Array.from({ length: 40 }, (_, i) => counts[i % 2]!.reserve(here, most)))
      t.same(rows.flatMap(row => row?.sent ?? []).sort((a, b) => a - b), Array.from({ length: most }, (_, i) => i + 1))
      t.match(await texts.findOne({ _id: here._id }), { sent: most, verified: 0, purge_at: new Date(here.end + 86_400_000) })
    }
  })

  t.test('one of many raises the alarm, once for each window', async t => {
    const counts = [createTextCounts(texts), createTextCounts(elsewhere)]
    const here = bucket('hour', 'service', 'all', now())
    await counts[0]!.add([here], { sent: 1, verified: 0 })
    const alarms = await Promise.all(Array.from({ length: 10 }, (_, i) => counts[i % 2]!.raiseAlarm(here)))
    t.equal(alarms.filter(Boolean).length, 1)
    t.equal(await counts[0]!.raiseAlarm(here), false)
  })
})

t.test('the guard', async t => {
  t.test('an unsent text is taken back everywhere, in the window it was counted in', async t => {
    const { guard, visitor } = begin({ caps: { hour: 5, day: 9 } })
    const release = await guard.take('+919876543210', visitor)
    if (typeof release !== 'function') return t.fail()
    t.equal((await rows()).length, 8)
    t.ok((await rows()).every(({ sent, verified }) => sent === 1 && verified === 0))
    clock.now += 2 * 86_400_000
    await release()
    t.equal((await rows()).length, 8)
    t.ok((await rows()).every(({ sent }) => sent === 0))
  })

  t.test('a text that one cap refuses is counted by no other', async t => {
    const { guard, visitor } = begin({ caps: { hour: 5, day: 1 } })
    t.type(await guard.take(freshPhone(), visitor), 'function')
    const before = await rows()
    t.same(await guard.take(freshPhone(), visitor), { reason: 'daily cap', retryAfter: 13 * 3600 + 40 * 60 })
    t.same(await rows(), before)
    t.same(await guard.stopOf(freshPhone(), visitor), { reason: 'daily cap', retryAfter: 13 * 3600 + 40 * 60 })
  })

  t.test('of several reasons the longest is named', async t => {
    const { guard, visitor } = begin({ caps: { hour: 1, day: 0 }, addresses: createAddressLimit(1, now) })
    t.equal(await guard.stopOf(freshPhone(), visitor), undefined)
    await guard.take(freshPhone(), visitor)
    t.same(await guard.stopOf(freshPhone(), visitor), { reason: 'hourly cap', retryAfter: 2400 })
    clock.now = START + 39 * 60_000 + 59_000
    await guard.take(freshPhone(), { ...visitor, address: '192.0.2.77' })
    t.same(await guard.stopOf(freshPhone(), visitor), { reason: 'hourly cap', retryAfter: 1 })
  })

  t.test('a share is judged from so many texts on, and a used code counts where its text was asked for', async t => {
    const { guard, visitor, logs } = begin({})
    const other = { ...visitor, address: '203.0.113.5' }
    for (let text = 1; text <= 3; text++) await guard.take('+919876543210', visitor)
    t.equal(await guard.stopOf('+919876543210', visitor), undefined, 'three texts are too few to tell')
    await guard.take('+919876543210', visitor)
    t.match(await guard.stopOf('+919876543210', visitor), { reason: /^fraud (address|country|prefix)$/, retryAfter: 13 * 3600 + 40 * 60 })
    t.match(await guard.stopOf('+12025550123', visitor), { reason: 'fraud address' })
    t.match(await guard.stopOf('+917012345678', other), { reason: 'fraud country' })
    t.equal(await guard.stopOf('+12025550123', other), undefined)
    t.same(logs.filter(({ event }) => event === 'sms.stopped').map(({ window, dimension }) => `${window} ${dimension}`).sort(), ['day address', 'day country', 'day prefix', 'hour address', 'hour country', 'hour prefix'])

    await guard.verified('+919876543210', guard.originOf(visitor.address), other)
    await guard.verified('+917012345678', undefined, other)
    t.equal(await guard.stopOf('+917012345678', other), undefined, '2 of 4 in the country')
    t.match(await guard.stopOf('+919876543210', other), { reason: 'fraud prefix' }, '1 of 4')
    t.match(await guard.stopOf('+12025550123', visitor), { reason: 'fraud address' }, '1 of 4')
    clock.now += 86_400_000
    t.equal(await guard.stopOf('+919876543210', visitor), undefined)
  })

  t.test('of an address at most five unused texts count for country and prefix, however many are sent, used and taken back at once', async t => {
    const { guard, visitor } = begin({ fraud: { minTexts: 6, minVerified: 0.4, stop: true } })
    const other = { ...visitor, address: '203.0.113.5' }
    const inPlaces = async () => (await rows()).filter(({ _id }) => !_id.includes(':address:')).map(({ sent, verified }) => [sent, verified])
    const releases = await Promise.all(Array.from({ length: 30 }, () => guard.take('+919876543210', visitor)))
    t.same(await inPlaces(), Array(4).fill([5, 0]))
    t.equal(await guard.stopOf('+919876543210', other), undefined)
    t.match(await guard.stopOf('+12025550123', visitor), { reason: 'fraud address' })
    await guard.take('+919876543210', other)
    t.match(await guard.stopOf('+919876543210', { ...visitor, address: '203.0.113.6' }), { reason: /^fraud (country|prefix)$/ }, 'two addresses do')

    const verified = () => guard.verified('+919876543210', guard.originOf(visitor.address), other)
    await Promise.all(Array.from({ length: 10 }, verified))
    t.same(await inPlaces(), Array(4).fill([16, 10]), 'a used one makes room')
    await Promise.all(releases.slice(0, 20).map(release => typeof release === 'function' && release()))
    t.same(await inPlaces(), Array(4).fill([11, 10]))
  })

  t.test('a count that fails makes no request fail; a cap that cannot be counted does, and takes nothing', async t => {
    const nowhere = new MongoClient('mongodb://127.0.0.1:1/x', { serverSelectionTimeoutMS: 100 })
    t.teardown(() => nowhere.close())
    const counts = createTextCounts(nowhere.db().collection<TextCountDocument>('texts'))
    const uncapped = begin({ counts })
    const release = await uncapped.guard.take(freshPhone(), uncapped.visitor)
    if (typeof release !== 'function') return t.fail()
    await release()
    await uncapped.guard.verified(freshPhone(), 'here', uncapped.visitor)
    t.equal(uncapped.logs.filter(({ event }) => event === 'sms.uncounted').length, 2)
    const addresses = createAddressLimit(1, now)
    const capped = begin({ counts, caps: { hour: 5, day: 5 }, addresses })
    await t.rejects(capped.guard.take(freshPhone(), capped.visitor))
    t.equal(addresses.wait(capped.visitor.address), 0)
  })
})

interface Line { event?: string, window?: string, dimension?: string }

function begin (options: Partial<TextGuardOptions>) {
  const logs: Line[] = []
  const log = { info: (line: Line) => { logs.push(line) }, warn: (line: Line) => { logs.push(line) }, error: (line: Line) => { logs.push(line) } }
  const visitor: Visitor = { address: '198.51.100.9', userAgent: '', log, record: () => {} }
  const guard = createTextGuard({
    counts: createTextCounts(texts),
    addresses: createAddressLimit(0, now),
    secret: 'Hq7Vn2Zx9Lk4Jf1Gs8Da3Pe6Rt0Yw5Ub',
    caps: { hour: 0, day: 0 },
    fraud: { minTexts: 4, minVerified: 0.4, stop: true },
    now,
    ...options
  })
  return { guard, visitor, logs }
}

function rows (): Promise<TextCountDocument[]> {
  return texts.find({}, { sort: { _id: 1 } }).toArray()
}
