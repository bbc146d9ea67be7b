import type { FastifyInstance } from 'fastify'
import type { ObjectId } from 'mongodb'
import type { Call } from '../program.js'
import { PEOPLE, type Person, type Picture } from './content.js'
import { signIn, type Inbox, type Visitor } from './visitor.js'

export interface Filling extends Pick<Call, 'print' | 'progress'> {
  app: FastifyInstance
  pictures: Picture[]
  inbox: Inbox
  /** Waits. */
  pass: ((seconds: number) => Promise<void>) | undefined
}

/** What the database has of a person. */
interface Found { id?: ObjectId, isNamed: boolean, isBlocked: boolean, titles: Set<string> }

/**
 * Adds what is missing, by the requests that a client would send, and prints a line for each thing. Reads the database
 * first, so that a run that adds nothing asks for no code. Returns a sentence that sums up.
 */
export async function fill ({ app, pictures, inbox, pass, print, progress }: Filling): Promise<string> {
  const visitors = new Map<Person, Visitor>()
  const found = new Map<Person, Found>()
  for (const person of PEOPLE) found.set(person, await find(app, person))
  const unnamed = PEOPLE.filter(person => !found.get(person)!.isNamed)
  const missing = pictures.filter(({ by, title }) => !found.get(by)!.titles.has(title))

  for (const person of unnamed) {
    const { username, number } = person
    await (await visitorOf(person)).post('/users', { username, number })
    print(`user: ${username}, ${number}`)
  }
  for (const [n, picture] of missing.entries()) {
    progress.show('pictures', n, missing.length)
    const { type, width, height, frames } = await upload(await visitorOf(picture.by), picture)
    const size = `${width}x${height}${type === 'gif' ? `, ${frames} frames` : ''}`
    print(`${type}: ${picture.title}, ${size}, by ${picture.by.username}`)
  }
  for (const visitor of visitors.values()) await visitor.post('/auth/logout')
  return unnamed.length + missing.length === 0
    ? `The demo is there already: ${PEOPLE.length} users and ${pictures.length} pictures. Nothing was added.`
    : `Added ${counted(unnamed.length, 'user')} and ${counted(missing.length, 'picture')}.`

  async function visitorOf (person: Person): Promise<Visitor> {
    if (found.get(person)!.isBlocked) {
      throw new Error(`${person.username} (${person.number}) is blocked: unblock that user, and run the command again`)
    }
    const visitor = visitors.get(person) ?? await signIn(app, person, inbox, pass)
    visitors.set(person, visitor)
    return visitor
  }
}

const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`

async function find ({ collections: { users, library } }: FastifyInstance, { number }: Person): Promise<Found> {
  const account = await users.findOne({ number })
  if (!account) return { isNamed: false, isBlocked: false, titles: new Set() }
  const items = await library.find({ owner: account._id }).project<{ title?: string }>({ title: 1 }).toArray()
  return {
    id: account._id,
    isNamed: account.username !== undefined,
    isBlocked: account.blocked === true,
    titles: new Set(items.flatMap(({ title }) => title ?? []))
  }
}

function upload (visitor: Visitor, { by, title, category, filename, make }: Picture) {
  const form = new FormData()
  form.append('user_id', by.username)
  form.append('title', title)
  if (category) form.append('category', category)
  form.append('file', new Blob([new Uint8Array(make())]), filename)
  return visitor.post('/library/upload', form)
}
