import { createHmac, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import type { Challenge, Sms } from '../../../schemas/documents.js'
import {
  initial,
  next,
  otpCode,
  readCode,
  sameCode,
  type OtpEvent,
  type OtpState
} from '../../../services/login/otp.js'
import { root } from '../../helpers/paths.js'
import { quoted } from '../../helpers/quoted.js'

const EPOCH = Date.parse('2026-05-04T10:00:00.000Z')
const DAY = 86_400

t.test('next', async t => {
  t.test('request', async t => {
    t.test('the first request opens a challenge of the given life and counts the SMS', async t => {
      const { state, outcome } = request(initial, 0, 'a')
      t.same(outcome, { type: 'send', nonce: nonce('a'), before: null })
      t.same(state, { ...initial, challenge: challenge('a', 0, 300), sms: sms(0) })
      t.same(initial.sms, [], 'a state is never changed in place')
    })

    for (const [i, gap] of [15, 30, 60, 120, 300].entries()) {
      t.test(`after SMS ${i + 1} of ten minutes the gap is ${gap} s, to the millisecond`, async t => {
        const state = sent(i + 1, { challenge: challenge('a', 0, 599) })
        const quiet = request(state, gap - 0.001, 'b')
        t.same(quiet.outcome, { type: 'quiet' })
        t.equal(quiet.state, state, 'nothing to write')
        t.not(request(state, gap, 'b').outcome.type, 'quiet')
      })
    }

    t.test('SMS of more than ten minutes ago do not lengthen the gap', async t => {
      const state = { ...initial, challenge: challenge('a', 0, 300), sms: sms(-2000, -1000, -600, 0) }
      t.equal(request(state, 14.999, 'b').outcome.type, 'quiet')
      t.equal(request(state, 15, 'b').outcome.type, 'send')
    })

    for (const [what, dead] of Object.entries({
      used: { used_at: at(0.5) },
      exhausted: { tries: 5 },
      expired: { expires_at: at(1) }
    })) {
      t.test(`a challenge that is ${what} holds no gap, and a new code takes its place`, async t => {
        const state = sent(1, { challenge: { ...challenge('a', 0, 300), ...dead } })
        const { state: after, outcome } = request(state, 1, 'b')
        t.same(outcome, { type: 'send', nonce: nonce('b'), before: state.challenge })
        t.same(after.challenge, challenge('b', 1, 301))
        t.equal(after.sms.length, 2)
      })
    }

    t.test('a challenge with one try left still holds the gap', async t => {
      t.equal(request(sent(1, { challenge: { ...challenge('a', 0, 300), tries: 4 } }), 1, 'b').outcome.type, 'quiet')
    })

    t.test('a resend repeats the code, renews its life and refills no tries', async t => {
      const state = sent(1, { challenge: { ...challenge('a', 0, 300), tries: 3 } })
      const { state: after, outcome } = request(state, 100, 'b')
      t.same(outcome, { type: 'send', nonce: nonce('a'), before: state.challenge })
      t.same(after.challenge, { ...state.challenge, expires_at: at(400) })
      t.same(after.sms, sms(0, 100))
    })

    for (const { when, life } of [
      { when: 299, life: 599 },
      { when: 300, life: 600 },
      { when: 301, life: 600 },
      { when: 540, life: 600 }
    ]) {
      t.test(`a resend after ${when} s lets the code live until ${life} s after its first SMS`, async t => {
        const { state: after, outcome } = request(sent(1, { challenge: challenge('a', 0, 599) }), when, 'b')
        t.match(outcome, { type: 'send', nonce: nonce('a') })
        t.same(after.challenge, { ...challenge('a', 0, 599), expires_at: at(life) })
      })
    }

    t.test('more than 540 s after the first SMS a new code replaces one that still lives', async t => {
      const { state: after, outcome } = request(
        sent(1, { challenge: { ...challenge('a', 0, 599), tries: 2 } }),
        540.001,
        'b'
      )
      t.match(outcome, { type: 'send', nonce: nonce('b') })
      t.same(after.challenge, challenge('b', 540.001, 840.001))
    })

    t.test('the sixth SMS within ten minutes is refused until the first of them is that old', async t => {
      const state = { ...initial, sms: sms(0, 15, 45, 105, 225) }
      for (const { now, retryAfter } of [
        { now: 226, retryAfter: 374 },
        { now: 525, retryAfter: 75 },
        { now: 599, retryAfter: 1 },
        { now: 599.5, retryAfter: 1 },
        { now: 599.999, retryAfter: 1 }
      ]) {
        const { state: after, outcome } = request(state, now, 'b')
        t.same(outcome, { type: 'limited', reason: 'phone', retryAfter }, `at ${now} s`)
        t.equal(after, state, 'nothing to write')
      }
      t.equal(request(state, 600, 'b').outcome.type, 'send')
    })

    t.test('the eleventh SMS within a day is refused until the first of them is that old', async t => {
      const state = { ...initial, sms: sms(...Array.from({ length: 10 }, (_, i) => i * 1000)) }
      t.same(request(state, 20_000, 'b').outcome, { type: 'limited', reason: 'phone', retryAfter: DAY - 20_000 })
      t.same(request(state, DAY - 0.001, 'b').outcome, { type: 'limited', reason: 'phone', retryAfter: 1 })
      const { state: after, outcome } = request(state, DAY, 'b')
      t.equal(outcome.type, 'send')
      t.equal(after.sms.length, 10, 'the SMS of yesterday are forgotten')
    })

    t.test('the longer wait of two budgets is named', async t => {
      const list = sms(0, 1000, 2000, 3000, 4000, 40_000, 40_001, 40_002, 40_003, 40_004)
      t.same(request({ ...initial, sms: list }, 40_010, 'b').outcome, {
        type: 'limited',
        reason: 'phone',
        retryAfter: DAY - 40_010
      })
      t.same(request({ ...initial, sms: list }, DAY - 5, 'b').outcome, {
        type: 'limited',
        reason: 'phone',
        retryAfter: 5
      })
      t.same(request({ ...initial, sms: list.slice(5) }, 40_010, 'b').outcome, {
        type: 'limited',
        reason: 'phone',
        retryAfter: 590
      })
    })

    t.test('budgets go by dates, the gap by the last SMS, also after a clock was set back', async t => {
      const list = sms(100, 0, 50, 20, 30)
      t.same(request({ ...initial, sms: list }, 200, 'b').outcome, {
        type: 'limited',
        reason: 'phone',
        retryAfter: 400
      })
      const state = { ...initial, challenge: challenge('a', 0, 599), sms: sms(100, 50) }
      t.equal(request(state, 79.999, 'b').outcome.type, 'quiet')
      t.equal(request(state, 80, 'b').outcome.type, 'send')
    })

    t.test('the gap is judged before the budgets', async t => {
      const state = sent(5, { challenge: challenge('a', 0, 599) })
      t.equal(request(state, 1, 'b').outcome.type, 'quiet')
      t.equal(request({ ...state, challenge: null }, 1, 'b').outcome.type, 'limited')
    })
  })

  t.test('request, where something stops SMS', async t => {
    const stop = { reason: 'daily cap', retryAfter: 1234 }
    const stopped = (state: OtpState, now: number) => next(
      state,
      { type: 'request', nonce: nonce('b'), life: 300_000, network: 'me', stop },
      at(now)
    )

    t.test('a stop changes nothing where an SMS would have been sent', async t => {
      for (const state of [initial, sent(1, { challenge: challenge('a', 0, 300) }), sent(1, { challenge: null })]) {
        const { state: after, outcome } = stopped(state, 15)
        t.same(outcome, { type: 'limited', ...stop })
        t.equal(after, state)
      }
    })

    t.test('the gap, and the phone\'s own budgets, are judged before', async t => {
      t.same(stopped(sent(1, { challenge: challenge('a', 0, 300) }), 14.999).outcome, { type: 'quiet' })
      t.same(stopped(sent(5, {}), 1).outcome, { type: 'limited', reason: 'phone', retryAfter: 599 })
    })
  })

  t.test('request, without an SMS', async t => {
    const silent = (state: OtpState, now: number, letter: string) => next(
      state,
      { type: 'request', nonce: nonce(letter), life: 300_000, network: 'me', silent: true },
      at(now)
    )

    t.test('a request without an SMS knows no gap and no budget, and refills no tries', async t => {
      let { state } = silent(initial, 0, 'a')
      t.same(state, { ...initial, challenge: challenge('a', 0, 300) })
      state = guess(state, 1).state
      for (let times = 1; times <= 20; times++) {
        const again = silent(state, 1, 'b')
        t.same(again.outcome, { type: 'send', nonce: nonce('a'), before: state.challenge })
        state = again.state
      }
      t.equal(state.challenge?.tries, 1)
      t.same(state.sms, [])
      t.equal(silent(sent(10, {}), 1, 'b').outcome.type, 'send')
    })
  })

  t.test('a challenge remembers where its last SMS is counted', async t => {
    const asked = (state: OtpState, now: number, hour: number) => next(
      state,
      { type: 'request', nonce: nonce('a'), life: 300_000, network: `n${now}`, counted: { hour, by: [] } },
      at(now)
    ).state
    const first = asked(initial, 0, 7)
    t.same(first.challenge?.counted, { hour: 7, by: [] })
    const second = asked(first, 15, 8)
    t.same(second.challenge?.counted, { hour: 8, by: [] })
    t.same(match(second, 'a', 16).outcome, { type: 'accepted', counted: { hour: 8, by: [] } })
    t.notOk('counted' in request(second, 45, 'b').state.challenge!, 'nor is it kept where nothing is counted')
  })

  t.test('request, repeated by one client network', async t => {
    const from = (state: OtpState, now: number, network: string) => next(
      state,
      { type: 'request', nonce: nonce('b'), life: 300_000, network },
      at(now)
    )
    const list = (network: string, ...seconds: number[]) => seconds.map(second => ({ at: at(second), network }))

    t.test('one client network has three of the five SMS of ten minutes, and the others have what is left', async t => {
      const state = { ...initial, sms: list('stranger', 0, 15, 45) }
      t.same(from(state, 100, 'stranger').outcome, { type: 'limited', reason: 'phone', retryAfter: 500 })
      t.equal(from(state, 600, 'stranger').outcome.type, 'send')
      const fourth = from(state, 100, 'owner')
      t.equal(fourth.outcome.type, 'send')
      const fifth = from({ ...fourth.state, challenge: null }, 101, 'owner')
      t.equal(fifth.outcome.type, 'send')
      t.same(from({ ...fifth.state, challenge: null }, 102, 'third').outcome, {
        type: 'limited',
        reason: 'phone',
        retryAfter: 498
      })
    })

    t.test('one client network has five of the ten SMS of a day', async t => {
      const state = { ...initial, sms: list('stranger', 0, 1000, 2000, 3000, 4000) }
      t.same(from(state, 5000, 'stranger').outcome, { type: 'limited', reason: 'phone', retryAfter: DAY - 5000 })
      t.equal(from(state, 5000, 'owner').outcome.type, 'send')
      t.equal(from(state, DAY, 'stranger').outcome.type, 'send')
    })
  })

  t.test('undelivered', async t => {
    const reported = (state: OtpState, sentAt?: number) => next(
      state,
      { type: 'undelivered', ...(sentAt !== undefined && { sentAt: at(sentAt) }) },
      at(99)
    )

    t.test('an undelivered last SMS frees its gap: the next request repeats the code, and the gap holds again', async t => {
      for (const sentAt of [0, undefined]) {
        const { state, outcome } = reported(sent(1, { challenge: challenge('a', 0, 300) }), sentAt)
        t.same(outcome, { type: 'freed' })
        t.same(state, { ...sent(1, { challenge: challenge('a', 0, 300) }), undelivered_at: at(0) })
        const again = request(state, 1, 'b')
        t.match(again.outcome, { type: 'send', nonce: nonce('a') })
        t.same(again.state.sms, sms(0, 1))
        t.same(request(again.state, 30.999, 'b').outcome, { type: 'quiet' })
      }
    })

    t.test('an earlier SMS, an unknown one and a second report change nothing', async t => {
      const state = { ...initial, challenge: challenge('a', 0, 300), sms: sms(0, 15) }
      const freed = reported(state, 15).state
      for (const { before, sentAt } of [
        { before: state, sentAt: 0 },
        { before: state, sentAt: 7 },
        { before: initial, sentAt: 0 },
        { before: initial },
        { before: freed, sentAt: 15 },
        { before: freed },
        { before: freed, sentAt: 0 }
      ]) {
        const { state: after, outcome } = reported(before, sentAt)
        t.same(outcome, { type: 'unchanged' })
        t.equal(after, before)
      }
    })

    t.test('budgets count an undelivered SMS', async t => {
      t.match(request(reported(sent(5, { challenge: challenge('a', 0, 300) }), 0).state, 1, 'b').outcome, {
        type: 'limited',
        reason: 'phone'
      })
    })

    t.test('when the SMS after an undelivered one fails, the gap is free again', async t => {
      const { state } = reported(sent(1, { challenge: challenge('a', 0, 300) }), 0)
      const failed = unsent(request(state, 1, 'b').state, 1, 'a', state.challenge)
      t.same(failed, state)
      t.equal(request(failed, 2, 'b').outcome.type, 'send')
    })

    t.test('an SMS of the same millisecond is another SMS', async t => {
      const again = request(reported(sent(1, { challenge: challenge('a', 0, 300) }), 0).state, 0, 'b')
      t.equal(request(again.state, 0, 'b').outcome.type, 'quiet')
    })
  })

  t.test('unsent', async t => {
    t.test('a first SMS that failed leaves no trace', async t => {
      const { state } = request(initial, 0, 'a')
      t.same(unsent(state, 0, 'a', null), initial)
    })

    t.test('a failed resend leaves the code its earlier life, and gap and budget as they were', async t => {
      const before = sent(1, { challenge: challenge('a', 0, 300) })
      const { state } = request(before, 100, 'b')
      t.same(unsent(state, 100, 'a', before.challenge), before)
    })

    t.test('guesses at a code while its resend was under way stay counted', async t => {
      const before = sent(1, { challenge: challenge('a', 0, 300) })
      const { state } = guess(request(before, 100, 'b').state, 101)
      t.same(unsent(state, 100, 'a', before.challenge).challenge, { ...before.challenge, tries: 1 })
    })

    t.test('a failed SMS with a new code brings the earlier challenge back', async t => {
      const before = sent(1, { challenge: challenge('a', 0, 599) })
      const { state } = request(before, 541, 'b')
      t.same(unsent(state, 541, 'b', before.challenge), before)
    })

    t.test('a code that was used while its resend failed stays used', async t => {
      const before = sent(1, { challenge: challenge('a', 0, 300) })
      const used = match(request(before, 100, 'b').state, 'a', 101)
      t.same(unsent(used.state, 100, 'a', before.challenge), { ...used.state, sms: sms(0) })
    })

    t.test('a code that another SMS repeated or replaced meanwhile stays', async t => {
      const first = request(initial, 0, 'a').state
      const repeated = request(first, 15, 'b').state
      t.same(unsent(repeated, 0, 'a', null), { ...repeated, sms: sms(15) })
      const exhausted = { ...first, challenge: { ...first.challenge!, tries: 5 } }
      const replaced = request(exhausted, 5, 'b').state
      t.same(unsent(replaced, 0, 'a', null), { ...replaced, sms: sms(5) })
    })

    t.test('the order of events decides, not a clock that was set back', async t => {
      const first = request(initial, 100, 'a').state
      const exhausted = { ...first, challenge: { ...first.challenge!, tries: 5 } }
      const { state, outcome } = request(exhausted, 50, 'b')
      t.same(state.sms, sms(100, 50))
      t.equal(outcome.type, 'send')
      t.same(unsent(state, 50, 'b', exhausted.challenge), exhausted)
      t.same(unsent(state, 100, 'a', null), { ...state, sms: sms(50) })
    })

    t.test('only one of two SMS at the same time is taken back', async t => {
      const state = { ...initial, sms: sms(0, 0) }
      t.same(unsent(state, 0, 'a', null).sms, sms(0))
    })

    t.test('a number that was refused opens no challenge, and its SMS counts', async t => {
      const { state } = request(initial, 0, 'a')
      const after = unsent(state, 0, 'a', null, true)
      t.same(after, { ...initial, sms: sms(0) })
      const five = [1, 2, 3, 4].reduce(
        (state, now) => unsent(request(state, now, 'a').state, now, 'a', null, true),
        after
      )
      t.same(request(five, 5, 'a').outcome, { type: 'limited', reason: 'phone', retryAfter: 595 })
    })
  })

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

  t.test('a million codes are evenly distributed', async t => {
    const codes = new Uint32Array(1_000_000)
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
    t.ok(Math.abs(distinct - 632_121) < 2500, `${distinct} different ones`) // 10^6 (1 - 1/e), 8 standard deviations
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

function at (seconds: number): Date {
  return new Date(EPOCH + Math.round(seconds * 1000))
}

function nonce (letter: string): Buffer {
  return Buffer.alloc(16, letter)
}

function challenge (letter: string, issued: number, expires: number): Challenge {
  return { nonce: nonce(letter), issued_at: at(issued), expires_at: at(expires), tries: 0, used_at: null }
}

/** A state with this many SMS, all at 0 s. */
function sent (count: number, state: Partial<OtpState>): OtpState {
  return { ...initial, sms: sms(...Array(count).fill(0)), ...state }
}

function request (state: OtpState, now: number, letter: string) {
  return next(state, { type: 'request', nonce: nonce(letter), life: 300_000, network: `n${now}` }, at(now))
}

/** A wrong guess. */
function guess (state: OtpState, now: number) {
  return next(state, { type: 'guess', matches: () => false }, at(now))
}

/** A guess of the code of this nonce. */
function match (state: OtpState, letter: string, now: number) {
  return next(state, { type: 'guess', matches: other => other.equals(nonce(letter)) }, at(now))
}

/** One SMS at each of these seconds, each from a client network of its own. */
function sms (...seconds: number[]): Sms[] {
  return seconds.map(second => ({ at: at(second), network: `n${second}` }))
}

function unsent (state: OtpState, sentAt: number, letter: string, before: Challenge | null, counted = false): OtpState {
  const event: OtpEvent = {
    type: 'unsent',
    sentAt: at(sentAt),
    network: `n${sentAt}`,
    nonce: nonce(letter),
    before,
    counted
  }
  const { state: after, outcome } = next(state, event, at(sentAt + 4))
  t.same(outcome, { type: 'restored' })
  return after
}

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
