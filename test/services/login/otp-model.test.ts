import t from 'tap'
import { seededRandom } from '../../helpers/seeded-random.js'
import { scale } from '../../helpers/test-length.js'
import { initial, next, type OtpEvent, type OtpState } from '../../../services/login/otp.js'

/**
 * Random histories of one phone: requests from several client networks, guesses, SMS that fail or never arrive, clock
 * steps in both directions. A model beside services/login/otp.ts keeps the whole history and derives every answer from
 * it.
 */
const HISTORIES = scale({ short: 12_000, long: 120_000 })
const SECOND = 1000
const MINUTE = 60 * SECOND
const DAY = 1440 * MINUTE
const LIFE = 300 * SECOND
const GAPS = [0, 15, 30, 60, 120, 300, 300, 300, 300, 300, 300].map(seconds => seconds * SECOND)

interface Code {
  nonce: Buffer
  issued: number
  tries: number
  used: boolean
  spent: boolean
  compared: number
  tokens: number
}
interface SentSms {
  at: number
  network: string
  code: Code
  expires: number
  state: 'flying' | 'sent' | 'failed' | 'refused'
  counts: boolean
  over: SentSms[]
  unsent: OtpEvent & { type: 'unsent' }
}

t.test('next follows the model in random histories', async t => {
  const seen = new Map<string, number>()
  const failures: string[] = []
  for (let seed = 1; seed <= HISTORIES && failures.length < 3; seed++) {
    try {
      play(seed, what => seen.set(what, (seen.get(what) ?? 0) + 1))
    } catch (error) {
      failures.push(`history ${seed}: ${error instanceof Error ? error.message : error}`)
    }
  }
  t.same(failures, [])
  for (const what of [
    'send', 'repeat', 'quiet', 'limited phone', 'limited network', 'limited guard', 'rejected', 'locked', 'accepted',
    'failed',
    'refused',
    'freed',
    'unchanged',
    'sent in the gap of a lost SMS',
    'five compared',
    'fifty failures',
    'clock went back',
    'silent',
    'replay'
  ]) t.ok((seen.get(what) ?? 0) >= 100, `${what}: ${seen.get(what) ?? 0} times`)
})

function play (seed: number, saw: (what: string) => void): void {
  const random = seededRandom(seed)
  const chance = (share: number) => random() < share
  const below = (most: number) => Math.floor(random() * most)
  const oneOf = <T>(list: readonly T[]): T => list[below(list.length)]!

  const attacker = chance(0.03)
  const silent = chance(attacker ? 0.5 : 0.05)
  let now = 4_000_000_000_000 + below(1000)
  let highest = now
  let state: OtpState = initial
  let nonces = 0

  const messages: SentSms[] = []
  let failures: number[] = []
  let row = 0
  let lockedUntil = 0
  let lost: number | undefined

  const steps = attacker ? 150 : 5 + below(40)
  for (let step = 0; step < steps; step++) {
    if (attacker) attack()
    else live()
    if (state.challenge && state.challenge.tries > 5) throw new Error('a sixth try')
  }
  agree('the counted SMS', state.sms.map(({ at }) => at.getTime()), counted().map(({ at }) => at))
  agree(
    'their networks',
    state.sms.map(({ network }) => network).sort(),
    counted().map(({ network }) => network).sort()
  )
  agree('the row of failures', state.failures.row, row)
  agree('the failures', state.failures.dates.map(date => date.getTime()).sort(), failures.toSorted())

  function live (): void {
    const dice = random()
    if (dice < 0.28) advance()
    else if (dice < 0.50) request()
    else if (dice < 0.74) guess(chance(0.25), chance(0.95))
    else if (dice < 0.78) guess(true, true)
    else if (dice < 0.94) settleSms()
    else undelivered()
  }

  /** Asks and guesses whenever it is allowed. With SMS the waits leave no time for fifty failures a day. */
  function attack (): void {
    if (chance(0.3)) guess(false, true)
    if (now < lockedUntil) now = lockedUntil
    settleSms(1)
    const before = messages.length
    if (!isLive()) request()
    if (messages.length === before && !isLive()) now += oneOf([10 * MINUTE, 60 * MINUTE, 6 * 60 * MINUTE])
    guess(chance(0.05), true)
    highest = Math.max(highest, now)
  }

  function advance (): void {
    const last = counted().at(-1)
    const current = standing()
    const edges = [
      lockedUntil,
      current?.expires,
      current && current.code.issued + 540 * SECOND,
      last && last.at + GAPS[Math.min(counted(10 * MINUTE).length, 10)]!,
      last && last.at + 10 * MINUTE,
      counted()[0] && counted()[0]!.at + DAY
    ]
      .filter((edge): edge is number => edge !== undefined && edge > now)
    const flying = messages.some(({ state }) => state === 'flying')
    if (chance(0.08)) {
      now -= oneOf([1, SECOND, 20 * SECOND, 5 * MINUTE])
      saw('clock went back')
    } else if (flying) now += below(8 * SECOND)
    else if (edges.length > 0 && chance(0.5)) now = oneOf(edges) + oneOf([-1, 0, 0, 1])
    else {
      now += oneOf([
        0,
        1,
        below(SECOND),
        below(30 * SECOND),
        below(10 * MINUTE),
        below(3 * 60 * MINUTE),
        below(2 * DAY)
      ])
    }
    highest = Math.max(highest, now)
  }

  function request (): void {
    const nonce = Buffer.alloc(16)
    nonce.writeUInt32BE(++nonces)
    const network = oneOf(['a', 'a', 'a', 'b', 'c'])
    const stop = chance(0.05) ? { reason: 'guard', retryAfter: 77 } : undefined
    const { challenge: before } = state
    const outcome = apply({ type: 'request', nonce, life: LIFE, network, stop, silent })
    const recent = counted(10 * MINUTE)
    const day = counted(DAY)
    const last = recent.at(-1)?.at
    const inGap = last !== undefined && isLive() && now < last + GAPS[Math.min(recent.length, 10)]!
    const own = (list: SentSms[]) => list.filter(message => message.network === network)
    const waits = [untilFewer(recent, 5, 10 * MINUTE), untilFewer(day, 10, DAY)]
    const shares = [untilFewer(own(recent), 3, 10 * MINUTE), untilFewer(own(day), 5, DAY)]
    const wait = Math.max(...waits, ...shares)
    if (Math.max(...waits) <= 0 && wait > 0) saw('limited network')

    if (!silent && inGap && last !== lost) return expect(outcome, { type: 'quiet' })
    if (!silent && wait > 0) return expect(outcome, { type: 'limited', reason: 'phone', retryAfter: inSeconds(wait) })
    if (!silent && stop) return expect(outcome, { type: 'limited', ...stop })
    if (silent) saw('silent')
    else if (inGap) saw('sent in the gap of a lost SMS')

    const current = standing()
    const repeat = isLive() && now - current!.code.issued <= 540 * SECOND
    const code = repeat
      ? current!.code
      : { nonce, issued: now, tries: 0, used: false, spent: false, compared: 0, tokens: 0 }
    expect(outcome, { type: 'send', nonce: code.nonce, before })
    if (repeat) saw('repeat')
    if (lost === now) lost = undefined
    const over = messages.filter(({ state }) => state === 'flying')
    forget(messages, now - DAY)
    messages.push({
      at: now,
      network,
      code,
      expires: repeat ? Math.min(now + LIFE, code.issued + 600 * SECOND) : now + LIFE,
      state: silent ? 'sent' : 'flying',
      counts: !silent,
      over,
      unsent: { type: 'unsent', sentAt: new Date(now), network, nonce: code.nonce, before, counted: false }
    })
  }

  /**
   * A provider answers. Two SMS that were under way at once never both fail, because the phone does not keep the state
   * before both.
   */
  function settleSms (odds = 0.6): void {
    const flying = messages.filter(({ state }) => state === 'flying')
    if (flying.length === 0) return
    const message = oneOf(flying)
    const mayFail = message.over.every(({ state }) => state === 'sent') &&
      messages.every(other => !other.over.includes(message) || other.state === 'sent')
    if (!mayFail || chance(odds)) {
      message.state = 'sent'
      return
    }
    message.state = oneOf(['failed', 'refused'] as const)
    saw(message.state)
    expect(apply({ ...message.unsent, counted: message.state === 'refused' }), { type: 'restored' })
  }

  function undelivered (): void {
    const settled = messages.filter(({ state, counts }) => state === 'sent' && counts)
    if (settled.length === 0) return
    const sentAt = chance(0.3) ? undefined : oneOf([settled.at(-1)!, oneOf(settled)]).at
    const last = counted().at(-1)?.at
    if (messages.some(({ at, state }) => at === last && state === 'flying')) return
    const frees = last !== undefined && (sentAt ?? last) === last && lost !== last
    expect(apply({ type: 'undelivered', ...(sentAt !== undefined && { sentAt: new Date(sentAt) }) }), {
      type: frees ? 'freed' : 'unchanged'
    })
    if (frees) lost = last
  }

  function guess (right: boolean, wellFormed: boolean): void {
    const last = messages.findLast(({ state, code }) => state === 'sent' || state === 'flying' || code.spent)?.code
    const outcome = apply({
      type: 'guess',
      matches: wellFormed ? nonce => right && last !== undefined && nonce.equals(last.nonce) : undefined
    })
    if (now < lockedUntil) return expect(outcome, { type: 'locked', retryAfter: inSeconds(lockedUntil - now) })
    if (!wellFormed || !isLive()) {
      const replay = wellFormed && right && last?.used === true
      if (replay) saw('replay')
      return expect(outcome, { type: 'rejected', replay })
    }
    const { code } = standing()!
    if (++code.compared > 5) throw new Error('six compared with one code')
    if (code.compared === 5) saw('five compared')
    failures = failures.filter(at => at > now - DAY)
    if (right) {
      expect(outcome, { type: 'accepted', counted: undefined })
      if (++code.tokens > 1) throw new Error('two tokens for one code')
      for (const { code } of messages) code.used = true
      code.spent = true
      code.tries++
      row = 0
      return waitFor(dayWait())
    }
    expect(outcome, { type: 'rejected', replay: false })
    code.tries++
    row++
    failures.push(now)
    waitFor(Math.max(row >= 10 ? Math.min(2 ** (row - 10), 900) * SECOND : 0, dayWait()))
    if (failures.length >= 50) saw('fifty failures')
    if (failures.length > 50 && now === highest) throw new Error('more than fifty failures in a day')
  }

  /** The SMS whose code is valid: the last one that was not taken back. */
  function standing (): SentSms | undefined {
    return messages.findLast(({ state }) => state === 'sent' || state === 'flying')
  }

  function isLive (): boolean {
    const message = standing()
    return message !== undefined && !message.code.used && message.code.tries < 5 && now < message.expires
  }

  /** SMS that count against the budgets, of the last `within` milliseconds or of all that is remembered. */
  function counted (within = Infinity): SentSms[] {
    return messages.filter(({ state, counts, at }) => counts && state !== 'failed' && at > now - within)
  }

  function untilFewer (list: Array<{ at: number }>, most: number, window: number): number {
    return list.length < most ? 0 : list.map(({ at }) => at).sort((a, b) => b - a)[most - 1]! + window - now
  }

  function waitFor (ms: number): void {
    lockedUntil = ms > 0 ? now + ms : 0
  }

  function dayWait (): number {
    return Math.max(0, untilFewer(failures.map(at => ({ at })), 50, DAY))
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

/** SMS sent a day before the last one, or earlier, count no more, wherever the clock goes. */
function forget (messages: SentSms[], before: number): void {
  for (const message of messages) if (message.at <= before) message.counts = false
}

function agree (what: string, actual: unknown, expected: unknown): void {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)]
  if (a !== b) throw new Error(`${what}: ${a}, and the model says ${b}`)
}

function inSeconds (ms: number): number {
  return Math.max(1, Math.ceil(ms / SECOND))
}
