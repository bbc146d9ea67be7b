import t from 'tap'
import { createAddressLimit } from '../../../services/login/address-limits.js'

const START = Date.parse('2126-05-04T10:20:00.000Z')
const clock = { now: START }
const now = () => new Date(clock.now)

t.beforeEach(() => { clock.now = START })

t.test('createAddressLimit', async t => {
  t.test('no five minutes hold more than the limit, wherever they begin', async t => {
    const limit = createAddressLimit(3, now)
    const taken: number[] = []
    const failures: unknown[] = []
    for (let second = 0; second < 3000; second++) {
      clock.now = START + second * 1000
      const wait = limit.wait('192.0.2.1')
      const one = limit.take('192.0.2.1').wait
      if (one === 0) taken.push(clock.now)
      const expected = one > 0 ? (taken.at(-3)! + 300_000 - clock.now) / 1000 : 0
      if (wait !== expected || one !== expected) failures.push([second, wait, one])
    }
    t.same(failures, [])
    t.equal(taken.length, 30)
    t.notOk(taken.some((time, i) => taken[i + 3]! < time + 300_000))
  })

  t.test('a use that is given back does not count, also long after', async t => {
    const limit = createAddressLimit(2, now)
    const first = limit.take('192.0.2.1')
    const second = limit.take('192.0.2.1')
    t.strictSame([first.wait, second.wait, limit.take('192.0.2.1').wait], [0, 0, 300])
    second.giveBack()
    t.equal(limit.take('192.0.2.1').wait, 0)
    t.equal(limit.take('192.0.2.1').wait, 300)
    clock.now += 300_001
    first.giveBack()
    t.equal(limit.wait('192.0.2.1'), 0)
  })

  t.test('waiting takes nothing, 0 is no limit, and a clock that is set back frees no client', async t => {
    const limit = createAddressLimit(1, now)
    for (let times = 1; times <= 5; times++) t.equal(limit.wait('192.0.2.1'), 0)
    t.equal(limit.take('192.0.2.1').wait, 0)
    clock.now -= 60_000
    t.equal(limit.wait('192.0.2.1'), 360)
    const none = createAddressLimit(0, now)
    for (let times = 1; times <= 1000; times++) t.equal(none.take('192.0.2.1').wait, 0)
    t.equal(none.wait('192.0.2.1'), 0)
  })

  t.test('an IPv4 address, also as IPv6, and a /56 are one client each; an invalid address is one, too', async t => {
    for (const [one, same, other] of [
      ['192.0.2.1', '::ffff:192.0.2.1', '192.0.2.2'],
      ['2001:db8::1', '2001:db8:0:ff:ffff::1', '2001:db8:0:100::1'],
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
