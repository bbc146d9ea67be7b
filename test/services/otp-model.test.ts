import t from 'tap'
import { initial, next, type OtpEvent, type OtpState } from '../../services/otp.js'

/**
 * Random histories of one phone: requests, guesses, races (what was compared comes back in any order), texts that fail or never arrive,
 * clock steps in both directions. Beside services/otp.ts runs a model that keeps the whole history and reads every answer off it.
 */
const HISTORIES = 120_000
const SECOND = 1000
const MINUTE = 60 * SECOND
const DAY = 1440 * MINUTE
const LIFE = 300 * SECOND
const GAPS = [0, 15, 30, 60, 120, 300, 300, 300, 300, 300, 300].map(seconds => seconds * SECOND)

interface Code { nonce: Buffer, issued: number, tries: number, used: boolean, spent: boolean, replaces: Code | undefined, compared: number, tokens: number }
interface TextSent { at: number, code: Code, expires: number, state: 'flying' | 'sent' | 'failed' | 'refused', counts: boolean, over: TextSent[], unsent: OtpEvent & { type: 'unsent' } }
interface Guess { code: Code, at: number, right: boolean, counted: boolean }

t.test(`next → ${HISTORIES} random histories go as the model says`, async t => {
  const seen = new Map<string, number>()
  const strays: string[] = []
  for (let seed = 1; seed <= HISTORIES && strays.length < 3; seed++) {
    try {
      play(seed, what => seen.set(what, (seen.get(what) ?? 0) + 1))
    } catch (error) {
      strays.push(`history ${seed}: ${error instanceof Error ? error.message : error}`)
    }
  }
  t.same(strays, [])
  for (const what of [
    'send', 'repeat', 'quiet', 'limited phone', 'limited guard', 'compare', 'rejected', 'locked', 'accepted', 'accepted after its code was replaced', 'match rejected',
    'failed', 'refused', 'freed', 'unchanged', 'sent in the gap of a lost text', 'five compared', 'fifty failures', 'clock went back', 'textless', 'came upon a used code'
  ]) t.ok((seen.get(what) ?? 0) >= 100, `${what}: ${seen.get(what) ?? 0} times`)
})

function play (seed: number, saw: (what: string) => void): void {
  const random = generator(seed)
  const chance = (share: number) => random() < share
  const below = (most: number) => Math.floor(random() * most)
  const oneOf = <T>(list: readonly T[]): T => list[below(list.length)]!

  const attacker = chance(0.03)
  const textless = chance(attacker ? 0.5 : 0.05)
  let now = 4_000_000_000_000 + below(1000)
  let highest = now
  let state: OtpState = initial
  let nonces = 0

  const texts: TextSent[] = []
  let guesses: Guess[] = []
  const pending: Guess[] = []
  let row = 0
  let lockedUntil = 0
  let lost: number | undefined

  const steps = attacker ? 150 : 5 + below(40)
  for (let step = 0; step < steps; step++) {
    if (attacker) attack()
    else live()
    if (state.challenge && state.challenge.tries > 5) throw new Error('a sixth try')
  }
  agree('the counted texts', state.sends.map(date => date.getTime()), counted().map(({ at }) => at))
  agree('the row of failures', state.failures.row, row)
  agree('the failures', state.failures.dates.map(date => date.getTime()).sort(), guesses.filter(({ counted }) => counted).map(({ at }) => at).sort())

  function live (): void {
    const dice = random()
    if (dice < 0.28) advance()
    else if (dice < 0.50) request()
    else if (dice < 0.74) guess(chance(0.25), chance(0.95))
    else if (dice < 0.84) answerGuess()
    else if (dice < 0.94) settleText()
    else undelivered()
  }

  /** Asks and guesses wherever it may; with texts, the waits leave no time for fifty failures a day. */
  function attack (): void {
    if (chance(0.3)) guess(false, true)
    if (chance(0.1)) answerGuess()
    if (now < lockedUntil) now = lockedUntil
    settleText(1)
    const before = texts.length
    if (!isLive()) request()
    if (texts.length === before && !isLive()) now += oneOf([10 * MINUTE, 60 * MINUTE, 6 * 60 * MINUTE])
    guess(chance(0.05), true)
    highest = Math.max(highest, now)
  }

  function advance (): void {
    const last = counted().at(-1)
    const current = standing()
    const edges = [lockedUntil, current?.expires, current && current.code.issued + 540 * SECOND, last && last.at + GAPS[Math.min(counted(10 * MINUTE).length, 10)]!, last && last.at + 10 * MINUTE, counted()[0] && counted()[0]!.at + DAY]
      .filter((edge): edge is number => edge !== undefined && edge > now)
    const flying = texts.some(({ state }) => state === 'flying')
    if (chance(0.08)) {
      now -= oneOf([1, SECOND, 20 * SECOND, 5 * MINUTE])
      saw('clock went back')
    } else if (flying) now += below(8 * SECOND)
    else if (edges.length > 0 && chance(0.5)) now = oneOf(edges) + oneOf([-1, 0, 0, 1])
    else now += oneOf([0, 1, below(SECOND), below(30 * SECOND), below(10 * MINUTE), below(3 * 60 * MINUTE), below(2 * DAY)])
    highest = Math.max(highest, now)
  }

  function request (): void {
    const nonce = Buffer.alloc(16)
    nonce.writeUInt32BE(++nonces)
    const stop = chance(0.05) ? { reason: 'guard', retryAfter: 77 } : undefined
    const { challenge: before } = state
    const outcome = apply({ type: 'request', nonce, life: LIFE, stop, textless })
    const recent = counted(10 * MINUTE)
    const day = counted(DAY)
    const last = recent.at(-1)?.at
    const inGap = last !== undefined && isLive() && now < last + GAPS[Math.min(recent.length, 10)]!
    const waits = [untilFewer(recent, 5, 10 * MINUTE), untilFewer(day, 10, DAY)]

    if (!textless && inGap && last !== lost) return expect(outcome, { type: 'quiet' })
    if (!textless && Math.max(...waits) > 0) return expect(outcome, { type: 'limited', reason: 'phone', retryAfter: inSeconds(Math.max(...waits)) })
    if (!textless && stop) return expect(outcome, { type: 'limited', ...stop })
    if (textless) saw('textless')
    else if (inGap) saw('sent in the gap of a lost text')

    const current = standing()
    const repeat = isLive() && now - current!.code.issued <= 540 * SECOND
    const code = repeat ? current!.code : { nonce, issued: now, tries: 0, used: false, spent: false, replaces: current && !current.code.used ? current.code : undefined, compared: 0, tokens: 0 }
    expect(outcome, { type: 'send', nonce: code.nonce, before })
    if (repeat) saw('repeat')
    if (lost === now) lost = undefined
    const over = texts.filter(({ state }) => state === 'flying')
    forget(texts, now - DAY)
    texts.push({
      at: now,
      code,
      expires: repeat ? Math.min(now + LIFE, code.issued + 600 * SECOND) : now + LIFE,
      state: textless ? 'sent' : 'flying',
      counts: !textless,
      over,
      unsent: { type: 'unsent', sentAt: new Date(now), nonce: code.nonce, before, counted: false }
    })
  }

  /** A provider answers. Two texts that were under way at once do not both fail: the phone has no memory of what was before both. */
  function settleText (odds = 0.6): void {
    const flying = texts.filter(({ state }) => state === 'flying')
    if (flying.length === 0) return
    const text = oneOf(flying)
    const mayFail = text.over.every(({ state }) => state === 'sent') && texts.every(other => !other.over.includes(text) || other.state === 'sent')
    if (!mayFail || chance(odds)) {
      text.state = 'sent'
      return
    }
    text.state = oneOf(['failed', 'refused'] as const)
    saw(text.state)
    expect(apply({ ...text.unsent, counted: text.state === 'refused' }), { type: 'restored' })
  }

  function undelivered (): void {
    const settled = texts.filter(({ state, counts }) => state === 'sent' && counts)
    if (settled.length === 0) return
    const sentAt = chance(0.3) ? undefined : oneOf([settled.at(-1)!, oneOf(settled)]).at
    const last = counted().at(-1)?.at
    if (texts.some(({ at, state }) => at === last && state === 'flying')) return
    const frees = last !== undefined && (sentAt ?? last) === last && lost !== last
    expect(apply({ type: 'undelivered', ...(sentAt !== undefined && { sentAt: new Date(sentAt) }) }), { type: frees ? 'freed' : 'unchanged' })
    if (frees) lost = last
  }

  function guess (right: boolean, wellFormed: boolean): void {
    const outcome = apply({ type: 'guess', wellFormed })
    if (now < lockedUntil) return expect(outcome, { type: 'locked', retryAfter: inSeconds(lockedUntil - now) })
    if (!wellFormed || !isLive()) {
      const last = texts.findLast(({ state, code }) => state === 'sent' || state === 'flying' || code.spent)?.code
      if (!wellFormed || !last?.used) return expect(outcome, { type: 'rejected' })
      saw('came upon a used code')
      return expect(outcome, { type: 'rejected', used: last.nonce })
    }
    const { code } = standing()!
    expect(outcome, { type: 'compare', nonce: code.nonce })
    code.tries++
    if (++code.compared > 5) throw new Error('six compared with one code')
    if (code.compared === 5) saw('five compared')
    row++
    guesses = guesses.filter(({ at }) => at > now - DAY)
    const made = { code, at: now, right, counted: true }
    guesses.push(made)
    if (right) pending.push(made)
    waitFor(Math.max(row >= 10 ? Math.min(2 ** (row - 10), 900) * SECOND : 0, dayWait()))
    const failures = guesses.filter(({ counted }) => counted).length
    if (failures >= 50) saw('fifty failures')
    if (failures > 50 && now === highest) throw new Error('more than fifty failures in a day')
  }

  /** A comparison that came out right arrives, in whatever order. */
  function answerGuess (): void {
    if (pending.length === 0) return
    const [guess] = pending.splice(below(pending.length), 1) as [Guess]
    const outcome = apply({ type: 'match', nonce: guess.code.nonce, guessedAt: new Date(guess.at) })
    guess.counted = false
    const current = standing()?.code
    const accepted = current !== undefined && !current.used && (current === guess.code || current.replaces === guess.code)
    if (!accepted) {
      saw('match rejected')
      return expect(outcome, { type: 'rejected' })
    }
    expect(outcome, { type: 'accepted', origin: undefined })
    if (current !== guess.code) saw('accepted after its code was replaced')
    if (++guess.code.tokens > 1) throw new Error('two tokens for one code')
    for (const { code } of texts) code.used = true
    current.spent = true
    row = 0
    waitFor(dayWait())
  }

  /** The text whose code is out: the last that was not taken back. */
  function standing (): TextSent | undefined {
    return texts.findLast(({ state }) => state === 'sent' || state === 'flying')
  }

  function isLive (): boolean {
    const text = standing()
    return text !== undefined && !text.code.used && text.code.tries < 5 && now < text.expires
  }

  /** Texts that count against the budgets, of the last `within` milliseconds or of all that is remembered. */
  function counted (within = Infinity): TextSent[] {
    return texts.filter(({ state, counts, at }) => counts && state !== 'failed' && at > now - within)
  }

  function untilFewer (list: Array<{ at: number }>, most: number, window: number): number {
    return list.length < most ? 0 : list.map(({ at }) => at).sort((a, b) => b - a)[most - 1]! + window - now
  }

  function waitFor (ms: number): void {
    lockedUntil = ms > 0 ? now + ms : 0
  }

  function dayWait (): number {
    return Math.max(0, untilFewer(guesses.filter(({ counted }) => counted), 50, DAY))
  }

  function apply (event: OtpEvent) {
    const result = next(state, event, new Date(now))
    state = result.state
    return result.outcome
  }

  function expect (actual: object, expected: object): void {
    const kind = expected as { type: string, reason?: string }
    saw(kind.reason ? `${kind.type} ${kind.reason}` : kind.type)
    agree('an outcome', actual, expected)
  }
}

/** What was sent a day before the last text, or earlier, counts no more, wherever the clock goes. */
function forget (texts: TextSent[], before: number): void {
  for (const text of texts) if (text.at <= before) text.counts = false
}

function agree (what: string, actual: unknown, expected: unknown): void {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (a !== b) throw new Error(`${what}: ${a}, and the model says ${b}`)
}

function inSeconds (ms: number): number {
  return Math.max(1, Math.ceil(ms / SECOND))
}

/** Mulberry32. */
function generator (seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6D2B79F5) | 0
    let x = Math.imul(a ^ (a >>> 15), 1 | a)
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296
  }
}
