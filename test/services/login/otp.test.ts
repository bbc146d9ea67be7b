import { createHmac, randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { getCountries, getExampleNumber } from 'libphonenumber-js/max'
import examples from 'libphonenumber-js/mobile/examples'
import t from 'tap'
import type { Challenge, Sms } from '../../../schemas/documents.js'
import { readConfig } from '../../../services/config.js'
import { FieldError } from '../../../services/errors.js'
import {
  initial,
  next,
  otpCode,
  readCode,
  sameCode,
  type OtpEvent,
  type OtpState
} from '../../../services/login/otp.js'
import { maskPhone, maskPhones, normalizePhone, parsePhone, requirePhone } from '../../../services/phone.js'
import { smsMessage, type Platform, type Wording } from '../../../services/sms/message.js'
import { parseUsername, usernameKey } from '../../../services/users/username.js'
import { root } from '../../helpers/paths.js'

const EPOCH = Date.parse('2026-05-04T10:00:00.000Z')
const DAY = 86_400

t.test('next', async t => {
  t.test('request', async t => {
    t.test('the first opens a challenge of the given life and counts the SMS', async t => {
      const { state, outcome } = request(initial, 0, 'a')
      t.same(outcome, { type: 'send', nonce: nonce('a'), before: null })
      t.same(state, { ...initial, challenge: challenge('a', 0, 300), sms: sms(0) })
      t.same(initial.sms, [], 'a state is never changed in place')
    })

    for (const [texts, gap] of [[1, 15], [2, 30], [3, 60], [4, 120], [5, 300]] as const) {
      t.test(`after SMS ${texts} of ten minutes the gap is ${gap} s, to the millisecond`, async t => {
        const state = sent(texts, { challenge: challenge('a', 0, 599) })
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

    for (const [what, dead] of [
      ['used', { used_at: at(0.5) }],
      ['exhausted', { tries: 5 }],
      ['expired', { expires_at: at(1) }]
    ] as const) {
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

    for (const [when, life] of [[299, 599], [300, 600], [301, 600], [540, 600]] as const) {
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
      for (const [now, retryAfter] of [[226, 374], [525, 75], [599, 1], [599.5, 1], [599.999, 1]] as const) {
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
      t.equal(after.sms.length, 10, 'texts of yesterday are forgotten')
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

    t.test('changes nothing where it would have sent', async t => {
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
    const textless = (state: OtpState, now: number, letter: string) => next(
      state,
      { type: 'request', nonce: nonce(letter), life: 300_000, network: 'me', silent: true },
      at(now)
    )

    t.test('knows no gap and no budget, and refills no tries', async t => {
      let { state } = textless(initial, 0, 'a')
      t.same(state, { ...initial, challenge: challenge('a', 0, 300) })
      state = guess(state, 1).state
      for (let times = 1; times <= 20; times++) {
        const again = textless(state, 1, 'b')
        t.same(again.outcome, { type: 'send', nonce: nonce('a'), before: state.challenge })
        state = again.state
      }
      t.equal(state.challenge?.tries, 1)
      t.same(state.sms, [])
      t.equal(textless(sent(10, {}), 1, 'b').outcome.type, 'send')
    })
  })

  t.test('request remembers where its SMS is counted, last', async t => {
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

    t.test('it has three of the five SMS of ten minutes, and the others have what is left', async t => {
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

    t.test('it has five of the ten SMS of a day', async t => {
      const state = { ...initial, sms: list('stranger', 0, 1000, 2000, 3000, 4000) }
      t.same(from(state, 5000, 'stranger').outcome, { type: 'limited', reason: 'phone', retryAfter: DAY - 5000 })
      t.equal(from(state, 5000, 'owner').outcome.type, 'send')
      t.equal(from(state, DAY, 'stranger').outcome.type, 'send')
    })
  })

  t.test('undelivered', async t => {
    const told = (state: OtpState, sentAt?: number) => next(
      state,
      { type: 'undelivered', ...(sentAt !== undefined && { sentAt: at(sentAt) }) },
      at(99)
    )

    t.test('the last SMS frees its gap: the next request repeats the code, and the gap holds again', async t => {
      for (const sentAt of [0, undefined]) {
        const { state, outcome } = told(sent(1, { challenge: challenge('a', 0, 300) }), sentAt)
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
      const freed = told(state, 15).state
      for (const [before, sentAt] of [
        [state, 0],
        [state, 7],
        [initial, 0],
        [initial, undefined],
        [freed, 15],
        [freed, undefined],
        [freed, 0]
      ] as const) {
        const { state: after, outcome } = told(before, sentAt)
        t.same(outcome, { type: 'unchanged' })
        t.equal(after, before)
      }
    })

    t.test('budgets count it', async t => {
      t.match(request(told(sent(5, { challenge: challenge('a', 0, 300) }), 0).state, 1, 'b').outcome, {
        type: 'limited',
        reason: 'phone'
      })
    })

    t.test('when the SMS after it fails, its gap is free again', async t => {
      const { state } = told(sent(1, { challenge: challenge('a', 0, 300) }), 0)
      const failed = unsent(request(state, 1, 'b').state, 1, 'a', state.challenge)
      t.same(failed, state)
      t.equal(request(failed, 2, 'b').outcome.type, 'send')
    })

    t.test('an SMS of the same millisecond is another SMS', async t => {
      const again = request(told(sent(1, { challenge: challenge('a', 0, 300) }), 0).state, 0, 'b')
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
    t.test('a wrong one is counted, as a try and as a failure', async t => {
      const state = sent(1, { challenge: challenge('a', 0, 300) })
      const { state: after, outcome } = guess(state, 10)
      t.same(outcome, { type: 'rejected', replay: false })
      t.same(after, { ...state, challenge: { ...state.challenge, tries: 1 }, failures: { row: 1, dates: [at(10)] } })
      t.equal(state.challenge?.tries, 0)
    })

    t.test('five are compared with a live code; the sixth is no failure, even if it is right', async t => {
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

    for (const [what, state, letter, replay] of [
      ['at a phone that never asked', initial, 'a', false],
      ['that is malformed', sent(1, { challenge: challenge('a', 0, 300) }), undefined, false],
      [
        'that is malformed, at a used code',
        sent(1, { challenge: { ...challenge('a', 0, 300), used_at: at(1) } }),
        undefined,
        false
      ],
      ['of a used code', sent(1, { challenge: { ...challenge('a', 0, 300), used_at: at(1) } }), 'a', true],
      [
        'of another code than the one that was used',
        sent(1, { challenge: { ...challenge('a', 0, 300), used_at: at(1) } }),
        'b',
        false
      ]
    ] as const) {
      t.test(`one ${what} is rejected and is no try`, async t => {
        const { state: after, outcome } = letter
          ? match(state, letter, 2)
          : next(state, { type: 'guess', matches: undefined }, at(2))
        t.same(outcome, { type: 'rejected', replay })
        t.equal(after, state)
      })
    }

    for (const [failure, wait] of [
      [9, 0],
      [10, 1],
      [11, 2],
      [12, 4],
      [13, 8],
      [19, 512],
      [20, 900],
      [21, 900],
      [5000, 900]
    ] as const) {
      t.test(`failure ${failure} in a row makes the phone wait ${wait} s`, async t => {
        const state = { ...sent(1, { challenge: challenge('a', 0, 300) }), failures: { row: failure - 1, dates: [] } }
        const { state: after, outcome } = guess(state, 10)
        t.equal(outcome.type, 'rejected', 'it still answers like the others')
        t.same(after.locked_until, wait === 0 ? null : at(10 + wait))
      })
    }

    t.test('while the phone waits every guess is refused, a malformed one too, and nothing is counted', async t => {
      const state = { ...sent(1, { challenge: challenge('a', 0, 300) }), locked_until: at(20) }
      for (const [now, retryAfter] of [[10, 10], [18.5, 2], [19.999, 1]] as const) {
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
    t.test('uses the code up and ends the row and the wait, not the failures of the day', async t => {
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

    t.test('a second one is a replay and counts as no failure', async t => {
      const first = match(sent(1, { challenge: challenge('a', 0, 300) }), 'a', 1)
      const second = match(first.state, 'a', 2)
      t.same([first.outcome.type, second.outcome], ['accepted', { type: 'rejected', replay: true }])
      t.equal(second.state, first.state)
    })

    t.test('may be the fifth', async t => {
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

  t.test('is what another implementation of RFC 4226 gives', async t => {
    for (const [counter, code] of [[0, '928347'], [1, '138955'], [871, '000937'], [10_904, '000031']] as const) {
      t.equal(otpCode(secret, counted(counter), phone), code, `nonce ${counter}`)
    }
  })

  t.test('always has six digits, and keeps its zeros', async t => {
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
      readdirSync(`${root}/${folder}`, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.ts')).map(
        name => `${folder}/${name}`
      ))
    t.ok(files.length > 50)
    t.same(
      [...files, 'app.ts', 'server.ts'].filter(file =>
        /Math\s*\.\s*random/.test(readFileSync(`${root}/${file}`, 'utf8'))),
      []
    )
  })

  t.test('depends on the secret, the nonce and the phone', async t => {
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

t.test('smsMessage', async t => {
  const wording = { brand: 'Hookaba', androidHash: 'FA+9qCX9VSu', webOrigin: 'app.hookaba.com' }
  const platforms: Platform[] = ['android', 'ios', 'web', 'other']

  t.test('each platform gets its own words', async t => {
    t.equal(smsMessage('123456', 'android', wording), '<#> Your Hookaba code is: 123456\nFA+9qCX9VSu')
    t.equal(smsMessage('123456', 'other', wording), '<#> Your Hookaba code is: 123456\nFA+9qCX9VSu')
    t.equal(smsMessage('123456', 'ios', wording), '123456 is your Hookaba verification code.')
    t.equal(smsMessage('123456', 'web', wording), 'Your Hookaba code is: 123456\n@app.hookaba.com #123456')
    t.equal(smsMessage('123456', 'web', { ...wording, webOrigin: undefined }), 'Your Hookaba code is: 123456')
    t.equal(smsMessage('123456', 'ios', { ...wording, brand: 'Köpi' }), '123456 is your Köpi verification code.')
  })

  t.test(
    'with every brand and host that is accepted the code is the first run of 4 to 6 digits, the SMS fits in 140 bytes, and the part that a phone looks for comes last',
    async t => {
      const brand = fc.oneof(
        fc.string({ minLength: 1, maxLength: 40, unit: 'grapheme' }),
        fc.string({ minLength: 1, maxLength: 40 }),
        fc.stringMatching(/^[A-Za-z]{0,10} ?\d{1,3}( \d{1,3}){0,3}$/),
        fc.string({ minLength: 30, maxLength: 50, unit: fc.constantFrom('ß', 'é', 'x', '1', ' ') })
      )
      const host = fc.oneof(fc.domain(), fc.constant('localhost'), fc.stringMatching(/^[a-z0-9-]{1,60}$/))
      const wordings = fc
        .sample(fc.record({ brand, webOrigin: host, androidHash: fc.stringMatching(/^[A-Za-z0-9+/]{11}$/) }), {
          numRuns: 400,
          seed: 5
        })
        .filter(
          isTaken
        )
      t.ok(wordings.length > 100, `${wordings.length} of them`)
      const code = fc.integer({ min: 0, max: 999_999 }).map(number => String(number).padStart(6, '0'))
      fc.assert(
        fc.property(fc.constantFrom(...wordings), fc.constantFrom(...platforms), code, (wording, platform, code) => {
          const text = smsMessage(code, platform, wording)
          const last = text.split('\n').at(-1)
          return /\d{4,6}/.exec(text)?.[0] === code && Buffer.byteLength(text) <= 140 &&
        (platform !== 'web' || last === `@${wording.webOrigin} #${code}`) &&
          (platform === 'web' || platform === 'ios' || (last === wording.androidHash && text.startsWith('<#> ')))
        }),
        { numRuns: 20_000, seed: 5 }
      )
    }
  )
})

t.test('parsePhone', async t => {
  t.test('an assigned mobile number is told from every other', async t => {
    for (const phone of ['+919876543210', '+12025550123', '+447400123456']) {
      t.ok(parsePhone(phone, 'IN')?.isMobile, phone)
    }
    for (const phone of [
      '+911123456789', '+911234567890', '+15551234567', '+18002345678', '+80012345678', '+442071838750',
      '+445600123456', '+447640123456'
    ]) {
      t.equal(parsePhone(phone, 'IN')?.isMobile, false, phone)
    }
    t.equal(parsePhone('+14165550123', 'US')?.country, 'CA', 'a calling code is no country')
  })

  t.test('a prefix is all but six digits, and never less than the calling code', async t => {
    t.match(parsePhone('+919876543210', 'IN'), { country: 'IN', prefix: '+919876' })
    t.match(parsePhone('+12025550123', 'IN'), { country: 'US', prefix: '+12025' })
    t.match(parsePhone('+2905123', 'IN'), { country: 'SH', prefix: '+290' })
    t.match(parsePhone('+80012345678', 'IN'), { country: '+800', prefix: '+80012' })
    t.equal(parsePhone('+15551234567', 'IN')?.country, '+1')
  })
})

t.test('normalizePhone', async t => {
  const ways = [
    '9123456789',
    '09123456789',
    '919123456789',
    '+919123456789',
    '00919123456789',
    '+91 91234 56789',
    '+91 91234-56789',
    '+91-9123-456-789',
    '091234 56789',
    '0 91234 56789',
    '(+91) 9123456789',
    '+91 (0) 91234 56789',
    '(0)9123456789',
    '91234/56789',
    '91234.56789',
    '+91.91234.56789',
    '+91–91234–56789',
    '+91−91234−56789',
    '+91‐91234‑56789',
    '+91\u00a091234\u00a056789',
    '+91\u202f91234\u202f56789',
    '  +919123456789  ',
    '＋９１９１２３４５６７８９',
    '９１２３４５６７８９',
    '+91　91234　56789',
    '٩١٢٣٤٥٦٧٨٩',
    '۹۱۲۳۴۵۶۷۸۹',
    '00 91 91234 56789',
    '\n9123456789\t',
    '((9123456789))',
    '9123456789.',
    '91234·56789',
    '९१२३४५६७८९',
    '०९१२३४५६७८९',
    '+९१ ९१२३४ ५६७८९',
    '৯১২৩৪৫৬৭৮৯',
    '౯౧౨౩౪౫౬౭౮౯',
    '௯௧௨௩௪௫௬௭௮௯',
    '912345678९',
    '𝟗𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗',
    '𝟿𝟷𝟸𝟹𝟺𝟻𝟼𝟽𝟾𝟿',
    '🯹🯱🯲🯳🯴🯵🯶🯷🯸🯹'
  ]
  const none = [
    '',
    ' ',
    '+',
    '+0',
    '+0123456789',
    '+00919123456789',
    '+91',
    '91',
    '112',
    '100',
    '12345',
    'abc',
    'nine one two',
    '9123456789x12',
    '9123456789 ext. 12',
    '9123456789;ext=12',
    '9123456789#12',
    'tel:+919123456789',
    '+919123456789;phone-context=in',
    'call 9123456789',
    '9123456789 please',
    '9123456789 9123456780',
    '9123456789/9123456780',
    '++919123456789',
    '+91+9123456789',
    '91234+56789',
    '9123456789+',
    '9123456789\0',
    '\u0000',
    '\u200f+919123456789',
    '+919123456789\u200e',
    '\u202a9123456789',
    '\u200b9123456789',
    '+91\u20609123456789',
    '1234567890123456',
    '+1234567890123456',
    '+4988222901052968',
    '+999123456789',
    '0'.repeat(12),
    '9'.repeat(64),
    '9'.repeat(10_000),
    ' '.repeat(10_000),
    `${' '.repeat(10_000)}9123456789`,
    '+91 00 9123456789',
    '९१२',
    '⑨①②③④⑤⑥⑦⑧⑨',
    '⁹¹²³⁴⁵⁶⁷⁸⁹',
    '九一二三四五六七八九',
    '⁺919123456789',
    '9123456789,',
    '9123456789*',
    '1-800-FLOWERS',
    '9.1e9',
    '0x91234567',
    'null',
    '\ud800',
    '+91\ud8009123456789',
    '{"$ne":""}'
  ]

  t.test('one number in many ways is one number', async t => {
    t.ok(ways.length >= 20)
    for (const way of ways) t.equal(normalizePhone(way, 'IN'), '+919123456789', quoted(way))
  })

  t.test('an invalid number has no normal form', async t => {
    t.ok(none.length >= 30)
    for (const text of none) t.equal(normalizePhone(text, 'IN'), undefined, quoted(text.slice(0, 60)))
  })

  t.test('a number need only be possible, and a national one belongs to the region', async t => {
    t.equal(normalizePhone('+15551234567', 'IN'), '+15551234567')
    t.equal(normalizePhone('1234567890', 'IN'), '+911234567890')
    t.equal(normalizePhone('030 1234567', 'DE'), '+49301234567')
    t.equal(normalizePhone('06 1234 5678', 'IT'), '+390612345678', 'an Italian zero stays')
    t.equal(normalizePhone('9123456789', 'nowhere'), undefined)
  })

  t.test('the normal form is its own normal form in every region, for a mobile number of every country', async t => {
    const failures = getCountries().flatMap(country => {
      const number = getExampleNumber(country, examples)?.number
      return number === undefined ||
        ['IN', 'US', 'IT', 'AR', 'RU', country].every(region => normalizePhone(number, region) === number)
        ? []
        : [country]
    })
    t.same(failures, [])
  })

  t.test('a normal form is its own normal form, however many zeros stand in front', async t => {
    for (const number of ['+91009123456789', '+9109123456789', '00919123456789', '+4300790409', '+97100720837936']) {
      const once = normalizePhone(number, 'IN')
      t.equal(once === undefined ? undefined : normalizePhone(once, 'IN'), once, number)
    }
  })

  t.test('requirePhone names the field in its refusal', async t => {
    t.equal(requirePhone('9123456789', 'IN', 'number').e164, '+919123456789')
    t.same(refusal(() => requirePhone('x', 'IN', 'number')), { number: ['Not a valid phone number.'] })
  })
})

t.test('maskPhone', async t => {
  t.equal(maskPhone('+919876543210'), '+********3210')
  t.equal(maskPhone('+80012345'), '+****2345')
  t.equal(maskPhone('1234'), '1234')
  t.equal(
    maskPhones('E11000 dup key: { _id: "+919876543210" } on port 27017'),
    'E11000 dup key: { _id: "+********3210" } on port 27017'
  )
})

t.test('parseUsername', async t => {
  t.test('trims, and composes to NFC', async t => {
    t.same(parseUsername('  Meera '), { username: 'Meera', key: 'meera' })
    t.equal(parseUsername('Ame\u0301lie').username, 'Am\u00e9lie')
    t.equal(parseUsername('\u00a0\u3000meera\ufeff').username, 'meera')
  })

  t.test('names that look the same have one key', async t => {
    for (const same of [
      ['meera', 'MEERA', 'Meera', 'me\u200bera', 'm\u00adeera', 'meera\u200d', '\u2060meera', 'ｍｅｅｒａ', '𝐦𝐞𝐞𝐫𝐚'],
      ['amélie', 'AME\u0301LIE', 'Ame\u0301lie'],
      ['straße', 'STRASSE', 'STRAẞE'],
      ['σίσυφος', 'ΣΊΣΥΦΟΣ', 'σίσυφοσ'],
      ['ﬁnn', 'FINN', 'finn']
    ]) t.equal(new Set(same.map(name => parseUsername(name).key)).size, 1, same.join(' '))
    t.not(parseUsername('meera').key, parseUsername('mеera').key, 'letters of another script stay others')
    t.not(parseUsername('मीरा').key, parseUsername('मिरा').key)
  })

  t.test('a key is its own key', async t => {
    for (const name of ['Meera', 'ẞ', 'İ', 'ŉ', 'ΐ', 'ﬃ', '\u1e9b\u0323', 'Dž', 'ϒ\u0308', '㎯']) {
      t.equal(usernameKey(usernameKey(name)), usernameKey(name), name)
    }
  })

  t.test('has 1 to 64 characters, counted as code points after trimming and composing', async t => {
    for (const name of ['a', 'x'.repeat(64), '😀'.repeat(64), 'e\u0301'.repeat(64), ` ${'x'.repeat(64)} `]) {
      t.ok(parseUsername(name).username)
    }
    for (const name of ['', ' ', '\t\n', '\u00a0', 'x'.repeat(65), '😀'.repeat(65), 'x'.repeat(10_000)]) {
      t.same(
        refusal(() => parseUsername(name)),
        { username: ['Length must be between 1 and 64.'] },
        quoted(name.slice(0, 10))
      )
    }
  })

  t.test('control and bidirectional characters, lone surrogates and names that cannot be seen are refused', async t => {
    for (const name of [
      'a\0b',
      'a\nb',
      'a\tb',
      'a\x1b[31mb',
      'a\x7fb',
      'a\u0085b',
      'a\u2028b',
      'a\u2029b',
      'a\u202ab',
      'a\u202bb',
      'a\u202cb',
      'a\u202db',
      'a\u202eb',
      'a\u2066b',
      'a\u2067b',
      'a\u2068b',
      'a\u2069b',
      '\ud800',
      'a\udc00',
      'a\ud83d',
      '\ude00\ud83d',
      '\u200b',
      '\u200b\u200d\u2060',
      '\u00ad',
      '\u3164',
      '\ufe0f',
      '\u200e'
    ]) t.same(refusal(() => parseUsername(name)), { username: ['Not a valid value.'] }, quoted(name))
    for (const name of ['मीरा', '😀', '👩‍👩‍👧', 'می‌روم', 'O’Neill', 'a b', '<script>', '$ne', '__proto__', 'null']) {
      t.ok(parseUsername(name), quoted(name))
    }
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
function sent (texts: number, state: Partial<OtpState>): OtpState {
  return { ...initial, sms: sms(...Array(texts).fill(0)), ...state }
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

function refusal (work: () => unknown): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    if (error instanceof FieldError) return error.errors
    throw error
  }
}

/** Pearson's statistic against an even distribution. */
function chiSquare (counts: Uint32Array): number {
  const even = counts.reduce((sum, count) => sum + count, 0) / counts.length
  return counts.reduce((sum, count) => sum + (count - even) ** 2 / even, 0)
}

/** Whether a service would start with this wording. */
function isTaken ({ brand, androidHash, webOrigin }: Wording): boolean {
  try {
    return readConfig({
      SMS_BRAND: brand,
      SMS_ANDROID_HASH: androidHash,
      SMS_WEB_ORIGIN: webOrigin
    }).SMS_BRAND === brand
  } catch {
    return false
  }
}

/** ASCII only: TAP is read line by line. */
function quoted (text: string): string {
  return JSON.stringify(text).replace(/[^ -~]/g, character =>
    `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
