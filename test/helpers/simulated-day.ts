import { ServiceError } from '../../services/errors.js'
import { parsePhone, type Phone } from '../../services/phone.js'
import type { RequestContext } from '../../services/ports.js'
import { freshPhone, insertRows, userRow } from './accounts.js'
import type { Service } from './service.js'

const DAY_MS = 86_400_000
/** A person who is refused tries again this many times, `AGAIN_MS` apart. */
const PATIENCE = 3
const AGAIN_MS = 60_000

export interface Day {
  /**
   * Client networks of the attacker. Each asks for a code for a new number every `everySeconds` seconds, and never uses
   * it.
   */
  networks: number
  everySeconds: number
  /** People who sign in over the day, each once: with an account, and without. */
  known: number
  strangers: number
}

export interface Outcome { known: number, strangers: number, sms: number, mostInHour: number }

/** Plays one day of sign-ins and of an attack, on the real service with its clock moved on. Counts sign-ins and SMS. */
export async function simulateDay (
  { app, clock, sms, lastCode }: Service,
  { networks, everySeconds, known, strangers }: Day
): Promise<Outcome> {
  const start = clock.now.getTime()
  const before = sms.length
  const hours = new Map<number, number>()
  const got = { known: 0, strangers: 0 }
  const people = [...Array(known).fill('known'), ...Array(strangers).fill('strangers')].map(
    (kind: keyof typeof got, i) => ({ kind, number: freshPhone(), address: `10.1.${i >> 8}.${i & 255}` })
  )
  await insertRows(
    app.collections.users,
    people.filter(({ kind }) => kind === 'known').map(({ number }) =>
      userRow({ username: number, username_key: number, number }))
  )

  const events: Array<{ at: number, act: () => Promise<void> }> = []
  people.forEach((person, i) =>
    plan(start + Math.floor(spread(i, people.length) * (DAY_MS - PATIENCE * AGAIN_MS)), () => signIn(person, PATIENCE)))
  for (let network = 0; network < networks; network++) {
    const address = `172.16.${network >> 8}.${network & 255}`
    for (let at =
      start + Math.floor(network * everySeconds * 1000 / networks); at < start + DAY_MS; at += everySeconds * 1000) {
      plan(at, async () => { await ask(freshPhone(), address) })
    }
  }
  while (events.length > 0) {
    events.sort((a, b) => a.at - b.at)
    for (const { at, act } of events.splice(0)) {
      clock.now = new Date(Math.max(at, clock.now.getTime()))
      await act()
    }
  }
  return { ...got, sms: sms.length - before, mostInHour: Math.max(...hours.values()) }

  function plan (at: number, act: () => Promise<void>): void {
    events.push({ at, act })
  }

  async function signIn (person: typeof people[number], patience: number): Promise<void> {
    const { kind, number, address } = person
    if (await ask(number, address)) {
      if (await app.login.verifyOtp(phoneOf(number), lastCode(number), requestContext(address))) got[kind]++
    } else if (patience > 1) plan(clock.now.getTime() + AGAIN_MS, () => signIn(person, patience - 1))
  }

  /** Asks for a code. Resolves with whether an SMS was sent. */
  async function ask (number: string, address: string): Promise<boolean> {
    const sent = sms.length
    try {
      await app.login.requestOtp(phoneOf(number), 'other', requestContext(address))
    } catch (error) {
      if (!(error instanceof ServiceError) || error.statusCode !== 429) throw error
    }
    const hour = Math.floor(clock.now.getTime() / 3_600_000)
    hours.set(hour, (hours.get(hour) ?? 0) + sms.length - sent)
    return sms.length > sent
  }

  function requestContext (address: string): RequestContext {
    return { address, userAgent: '', log: app.log, record () {} }
  }
}

const phoneOf = (number: string): Phone => parsePhone(number, 'IN')!
/** Evenly over the day, known and strangers mixed. */
const spread = (i: number, of: number) => (i * 0.6180339887 * of % of) / of
