import type { FastifyInstance } from 'fastify'
import type { Call } from '../program.js'
import { PEOPLE, REPORTS, type Person, type Picture, type Report } from './content.js'
import { signIn, type Inbox, type Visitor } from './visitor.js'

export interface Filling extends Pick<Call, 'print' | 'progress'> {
  app: FastifyInstance
  pictures: Picture[]
  inbox: Inbox
  /** Waits. */
  pass: ((seconds: number) => Promise<void>) | undefined
}

/**
 * Adds what is missing, by the requests that a client would send, and prints a line for each thing. Reads the database
 * first, so that a run that adds nothing asks for no code. Returns a sentence that sums up.
 */
export async function fill ({ app, pictures, inbox, pass, print, progress }: Filling): Promise<string> {
  const visitors = new Map<Person, Visitor>()

  const unnamed = await lacking(PEOPLE, async ({ number }) => (await findAccount(app, number))?.username)
  for (const person of unnamed) {
    const { username, number } = person
    await (await visitorOf(person)).post('/users', { username, number })
    print(`user: ${username}, ${number}`)
  }

  const missing = await lacking(pictures, picture => findItem(app, picture))
  for (const [n, picture] of missing.entries()) {
    progress.show('pictures', n, missing.length)
    const { type, width, height, frames } = await upload(await visitorOf(picture.by), picture)
    const size = `${width}x${height}${type === 'gif' ? `, ${frames} frames` : ''}`
    print(`${type}: ${picture.title}, ${size}, by ${picture.by.username}`)
  }

  const reports = REPORTS.filter(({ of }) => pictures.includes(of))
  const unsent = await lacking(reports, report => findReport(app, report))
  for (const { by, of, reason, comment } of unsent) {
    const { _id } = (await findItem(app, of))!
    await (await visitorOf(by)).post(`/library/${_id.toHexString()}/reports`, { reason, ...(comment && { comment }) })
    print(`report: ${of.title}, ${reason}, by ${by.username}`)
  }

  for (const visitor of visitors.values()) await visitor.post('/auth/logout')
  return unnamed.length + missing.length + unsent.length === 0
    ? `The demo is there already: ${counted(PEOPLE, pictures, reports)}. Nothing was added.`
    : `Added ${counted(unnamed, missing, unsent)}.`

  async function visitorOf (person: Person): Promise<Visitor> {
    const known = visitors.get(person)
    if (known) return known
    if ((await findAccount(app, person.number))?.blocked) {
      throw new Error(`${person.username} (${person.number}) is blocked: unblock that user, and run the command again`)
    }
    const visitor = await signIn(app, person, inbox, pass)
    visitors.set(person, visitor)
    return visitor
  }
}

/** Those for which nothing is found. */
async function lacking<T> (things: T[], find: (thing: T) => Promise<unknown>): Promise<T[]> {
  const found = await Promise.all(things.map(find))
  return things.filter((_, n) => !found[n])
}

const findAccount = ({ collections: { users } }: FastifyInstance, number: string) => users.findOne({ number })

async function findItem (app: FastifyInstance, { by, title }: Picture) {
  const account = await findAccount(app, by.number)
  return account && app.collections.library.findOne({ owner: account._id, title }, { sort: { _id: 1 } })
}

/** The report of this person, also a reviewed one. The item where it is hidden, because it takes no report. */
async function findReport (app: FastifyInstance, { by, of }: Report) {
  const [account, item] = [await findAccount(app, by.number), await findItem(app, of)]
  if (!account || !item) return undefined
  return item.hidden ? item : app.collections.reports.findOne({ item: item._id, account: account._id })
}

function upload (visitor: Visitor, { by, title, category, filename, make }: Picture) {
  const form = new FormData()
  form.append('user_id', by.username)
  form.append('title', title)
  if (category) form.append('category', category)
  form.append('file', new Blob([new Uint8Array(make())]), filename)
  return visitor.post('/library/upload', form)
}

const counted = (users: unknown[], pictures: unknown[], reports: unknown[]) =>
  `${several(users, 'user')}, ${several(pictures, 'picture')} and ${several(reports, 'report')}`

const several = ({ length }: unknown[], what: string) => `${length} ${what}${length === 1 ? '' : 's'}`
