import { createHmac, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { initial, next, otpCode, readCode, sameCode } from '../../../services/login/otp.js'
import { at, challenge, guess, match, nonce, request, sent } from '../../helpers/otp-states.js'
import { root } from '../../helpers/paths.js'
import { quoted } from '../../helpers/quoted.js'
import { scale } from '../../helpers/test-length.js'

const DAY = 86_400
const CODES = scale({ short: 200_000, long: 1_000_000 })

t.test('guess', async t => {
  t.test('a wrong guess is counted, as a try and as a failure', async t => {
    const state = sent(1, { challenge: challenge('a', 0, 300) })
    const { state: after, outcome } = guess(state, 10)
    t.same(outcome, { type: 'rejected', replay: false })
    t.same(after, { ...state, challenge: { ...state.challenge, tries: 1 }, failures: { row: 1, dates: [at(10)] } })
    t.equal(state.challenge?.tries, 0)
  })

  t.test('five guesses are compared with a live code; the sixth is no failure, even if it is right', async t => {
    let state = sent(1, { challenge: challenge('a', 0, 300) })
    for (let tries = 1; tries <= 5; tries++) {
      state = guess(state, tries).state
      t.equal(state.challenge?.tries, tries)
    }
    const sixth = match(state, 'a', 6)
    t.same(sixth.outcome, { type: 'rejected', replay: false })
    t.equal(sixth.state, state, 'nothing to write')
  })

  t.test('a code lives to the millisecond before its end', async t => {
    const state = sent(1, { challenge: challenge('a', 0, 300) })
    t.equal(match(state, 'a', 299.999).outcome.type, 'accepted')
    const late = match(state, 'a', 300)
    t.same(late.outcome, { type: 'rejected', replay: false })
    t.equal(late.state, state)
  })

  const live = sent(1, { challenge: challenge('a', 0, 300) })
  const used = sent(1, { challenge: { ...challenge('a', 0, 300), used_at: at(1) } })
  for (const { what, state, code, replay = false } of [
    { what: 'at a phone that never asked', state: initial, code: 'a' },
    { what: 'that is malformed', state: live },
    { what: 'that is malformed, at a used code', state: used },
    { what: 'of a used code', state: used, code: 'a', replay: true },
    { what: 'of another code than the one that was used', state: used, code: 'b' }
  ]) {
    t.test(`a guess ${what} is rejected and is no try`, async t => {
      const { state: after, outcome } = code
        ? match(state, code, 2)
        : next(state, { type: 'guess', matches: undefined }, at(2))
      t.same(outcome, { type: 'rejected', replay })
      t.equal(after, state)
    })
  }

  for (const { failure, wait } of [
    { failure: 9, wait: 0 },
    { failure: 10, wait: 1 },
    { failure: 11, wait: 2 },
    { failure: 12, wait: 4 },
    { failure: 13, wait: 8 },
    { failure: 19, wait: 512 },
    { failure: 20, wait: 900 },
    { failure: 21, wait: 900 },
    { failure: 5000, wait: 900 }
  ]) {
    t.test(`failure ${failure} in a row makes the phone wait ${wait} s`, async t => {
      const state = { ...sent(1, { challenge: challenge('a', 0, 300) }), failures: { row: failure - 1, dates: [] } }
      const { state: after, outcome } = guess(state, 10)
      t.equal(outcome.type, 'rejected', 'it still answers like the others')
      t.same(after.locked_until, wait === 0 ? null : at(10 + wait))
    })
  }

  t.test('while the phone waits every guess is refused, a malformed one too, and nothing is counted', async t => {
    const state = { ...sent(1, { challenge: challenge('a', 0, 300) }), locked_until: at(20) }
    for (const { now, retryAfter } of [
      { now: 10, retryAfter: 10 },
      { now: 18.5, retryAfter: 2 },
      { now: 19.999, retryAfter: 1 }
    ]) {
      for (const matches of [() => true, undefined]) {
        const { state: after, outcome } = next(state, { type: 'guess', matches }, at(now))
        t.same(outcome, { type: 'locked', retryAfter })
        t.equal(after, state)
      }
    }
    t.equal(match(state, 'a', 20).outcome.type, 'accepted')
  })

  t.test('the fiftieth failure of a day makes the phone wait until the first of them is a day old', async t => {
    const dates = Array.from({ length: 49 }, (_, i) => at(i * 100 - 50_000))
    const state = { ...sent(1, { challenge: challenge('a', 0, 300) }), failures: { row: 0, dates } }
    t.same(guess(state, 10).state.locked_until, at(DAY - 50_000))
    t.equal(
      guess({ ...state, failures: { row: 0, dates: dates.slice(1) } }, 10).state.locked_until,
      null,
      'the forty-ninth does not'
    )
  })

  t.test('a failure of a day ago counts no more', async t => {
    const dates = [at(10 - DAY), ...Array.from({ length: 48 }, (_, i) => at(i - 500))]
    const { state } = guess({ ...sent(1, { challenge: challenge('a', 0, 300) }), failures: { row: 0, dates } }, 10)
    t.equal(state.locked_until, null)
    t.equal(state.failures.dates.length, 49)
  })
})

t.test('a right guess', async t => {
  t.test('a right guess uses the code up and ends the row and the wait, not the failures of the day', async t => {
    const before = {
      ...sent(2, { challenge: challenge('a', 0, 300) }),
      failures: { row: 10, dates: [at(1), at(2)] },
      locked_until: at(3)
    }
    const { state, outcome } = match(before, 'a', 3)
    t.same(outcome, { type: 'accepted', counted: undefined })
    t.same(state, {
      ...before,
      challenge: { ...before.challenge, tries: 1, used_at: at(3) },
      failures: { row: 0, dates: [at(1), at(2)] },
      locked_until: null
    })
  })

  t.test('a second right guess is a replay and counts as no failure', async t => {
    const first = match(sent(1, { challenge: challenge('a', 0, 300) }), 'a', 1)
    const second = match(first.state, 'a', 2)
    t.same([first.outcome.type, second.outcome], ['accepted', { type: 'rejected', replay: true }])
    t.equal(second.state, first.state)
  })

  t.test('the right guess may be the fifth', async t => {
    t.equal(match(sent(1, { challenge: { ...challenge('a', 0, 300), tries: 4 } }), 'a', 1).outcome.type, 'accepted')
  })

  t.test('a used code holds no gap, and the SMS stay counted', async t => {
    const state = match(sent(4, { challenge: challenge('a', 0, 300) }), 'a', 1).state
    const again = request(state, 2, 'b')
    t.match(again.outcome, { type: 'send', nonce: nonce('b') })
    const used = match(again.state, 'b', 3).state
    t.same(request(used, 4, 'c').outcome, { type: 'limited', reason: 'phone', retryAfter: 596 })
  })
})

t.test('otpCode', async t => {
  const secret = 'Hq7Vn2Zx9Lk4Jf1Gs8Da3Pe6Rt0Yw5Ub'
  const phone = '+919876543210'

  t.test('a code is what another implementation of RFC 4226 gives', async t => {
    for (const [counter, code] of Object.entries({
      0: '928347',
      1: '138955',
      871: '000937',
      10_904: '000031'
    })) {
      t.equal(otpCode(secret, counted(Number(counter)), phone), code, `nonce ${counter}`)
    }
  })

  t.test('a code always has six digits, and keeps its zeros', async t => {
    const codes = Array.from({ length: 2000 }, (_, i) => otpCode(secret, counted(i), phone))
    t.same(codes, codes.map((_, i) => truncated(secret, counted(i), phone)))
    t.ok(codes.every(code => readCode(code) === code))
    t.ok(codes.some(code => code.startsWith('0')))
  })

  t.test('very many codes are evenly distributed', async t => {
    const codes = new Uint32Array(CODES)
    const noise = randomBytes(16 * codes.length)
    const [digits, pairs] = [new Uint32Array(60), new Uint32Array(100)]
    let short = 0
    for (let i = 0; i < codes.length; i++) {
      const code = otpCode(secret, noise.subarray(16 * i, 16 * i + 16), phone)
      if (code.length !== 6) short++
      for (let place = 0; place < 6; place++) digits[place * 10 + Number(code[place])]!++
      pairs[Number(code.slice(0, 2))]!++
      codes[i] = Number(code)
    }
    t.equal(short, 0, 'leading zeros are kept')
    // 9 degrees: 1 in 10^6
    for (let place = 0; place < 6; place++) {
      t.ok(chiSquare(digits.subarray(place * 10, place * 10 + 10)) < 45, `digit ${place + 1}`)
    }
    t.ok(chiSquare(pairs) < 187, 'the first two') // 99 degrees: 2 in 10^7
    const distinct = new Set(codes).size
    const unused = Math.exp(-CODES / 1e6)
    const deviation = Math.sqrt(1e6 * unused * (1 - (1 + CODES / 1e6) * unused))
    t.ok(Math.abs(distinct - 1e6 * (1 - unused)) < 8 * deviation, `${distinct} different ones`)
  })

  t.test('nothing in the service draws from Math.random', async t => {
    const files = ['services', 'plugins', 'routes', 'schemas', 'cli'].flatMap(folder =>
      readdirSync(`${root}/${folder}`, { recursive: true, encoding: 'utf8' })
        .filter(name => name.endsWith('.ts'))
        .map(name => `${folder}/${name}`))
    t.ok(files.length > 50)
    t.same(
      [...files, 'app.ts', 'error-answers.ts', 'http-server.ts', 'server.ts'].filter(file =>
        /Math\s*\.\s*random/.test(readFileSync(`${root}/${file}`, 'utf8'))),
      []
    )
  })

  t.test('a code depends on the secret, the nonce and the phone', async t => {
    const codes = [
      otpCode(secret, counted(0), phone),
      otpCode(`${secret}x`, counted(0), phone),
      otpCode(secret, counted(1), phone),
      otpCode(secret, counted(0), '+919876543211')
    ]
    t.equal(new Set(codes).size, 4)
  })

  t.test('exactly six digits of any script are a code, by their values', async t => {
    for (const text of ['123456', '000000', '999999']) t.equal(readCode(text), text)
    for (const text of ['１２３４５６', '१२३४५६', '১২৩৪৫৬', '𝟏𝟐𝟑𝟒𝟓𝟔', '𝟷𝟸𝟹𝟺𝟻𝟼', '12३४56']) {
      t.equal(readCode(text), '123456', quoted(text))
    }
    for (const text of [
      '', '12345', '1234567', '12345a', ' 123456', '123456 ', '123456\n', '\n123456', '१२३४५', '-12345', '1e3456',
      '12 456', '12345\0', '①②③④⑤⑥', '¹²³⁴⁵⁶'
    ]) {
      t.equal(readCode(text), undefined, quoted(text))
    }
    t.ok(sameCode('012345', '012345'))
    t.notOk(sameCode('012345', '012346'))
  })
})

function counted (value: number): Buffer {
  const bytes = Buffer.alloc(16)
  bytes.writeUInt32BE(value, 12)
  return bytes
}

/** RFC 4226 §5.3 on hexadecimal text. */
function truncated (secret: string, nonce: Buffer, phone: string): string {
  const mac = createHmac('sha256', secret).update(Buffer.concat([nonce, Buffer.from(phone)])).digest('hex')
  const offset = Number.parseInt(mac.slice(-1), 16) * 2
  const code = (BigInt(`0x${mac.slice(offset, offset + 8)}`) & 0x7fffffffn) % 1_000_000n
  return `00000${code}`.slice(-6)
}

/** Pearson's statistic against an even distribution. */
function chiSquare (counts: Uint32Array): number {
  const even = counts.reduce((sum, count) => sum + count, 0) / counts.length
  return counts.reduce((sum, count) => sum + (count - even) ** 2 / even, 0)
}
