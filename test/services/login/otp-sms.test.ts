import t from 'tap'
import type { Challenge } from '../../../schemas/documents.js'
import { initial, next, type OtpEvent, type OtpState } from '../../../services/login/otp.js'
import { at, challenge, guess, match, nonce, request, sent, sms } from '../../helpers/otp-states.js'

const DAY = 86_400

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
