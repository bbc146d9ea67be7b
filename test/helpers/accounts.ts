import { randomInt } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { ObjectId, type Collection, type Document, type OptionalUnlessRequiredId } from 'mongodb'
import type { AuditDocument, UserDocument } from '../../schemas/documents.js'
import { maskPhone } from '../../services/phone.js'
import type { RequestContext } from '../../services/ports.js'
import type { Service } from './service.js'

let nextPhone = randomInt(1_000_000) * 100
let nextName = 0
let nextAddress = 0

/** A possible Indian mobile number that is new in this process. */
export const freshPhone = () => `+9198${String(nextPhone++ % 100_000_000).padStart(8, '0')}`

/** A client address that is new in this process, for `x-forwarded-for`. */
export function freshAddress (): string {
  nextAddress++
  return `10.${nextAddress >> 16}.${(nextAddress >> 8) & 255}.${nextAddress & 255}`
}

/** A username that is new in this process. */
export const freshName = () => `name ${nextName++}`

/** The claims of a token. The signature is not checked. */
export const claimsOf = (token: string): {
  sub: string
  sid: string
  iat: number
  exp: number
} => JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())

/** The request context of a caller on this machine. It records nothing. */
export const requestContextOf = ({ log }: FastifyInstance): RequestContext => ({
  address: '127.0.0.1',
  userAgent: 'test',
  log,
  record () {}
})

/** The audit rows of a phone and of the account that has it now, newest first. */
export async function auditOf ({ audit, collections }: FastifyInstance, phone: string): Promise<AuditDocument[]> {
  await audit.flush()
  const account = await collections.users.findOne({ number: phone })
  return collections.audit
    .find({ $or: [{ phone: maskPhone(phone) }, ...(account ? [{ account: account._id }] : [])] })
    .sort({ at: -1 })
    .toArray()
}

/** A row of `users`, with the members that every row has. */
export const userRow = (more: Partial<UserDocument>): UserDocument =>
  ({
    _id: new ObjectId(),
    schema: 2,
    admin: false,
    sessions: [],
    created_on: new Date('2126-05-04T10:00:00.000Z'),
    ...more
  })

/** A number whose account has a name, so that a further sign-in ends no other session. */
export async function namedPhone ({ collections }: FastifyInstance, number = freshPhone()): Promise<string> {
  await collections.users.insertOne(userRow({ number, username: `user ${number}`, username_key: `user ${number}` }))
  return number
}

/**
 * Inserts many rows, 100 at a time: a slow database takes longer for all of them than the service waits for one
 * command.
 */
export async function insertRows <Row extends Document> (collection: Collection<Row>, rows: Row[]): Promise<void> {
  for (let i = 0; i < rows.length; i += 100) {
    await collection.insertMany(rows.slice(i, i + 100) as Array<OptionalUnlessRequiredId<Row>>)
  }
}

/** The id of the account that has a number now. */
export async function accountOf ({ collections }: FastifyInstance, number: string): Promise<ObjectId> {
  return (await collections.users.findOne({ number }))!._id
}

/** A new account without a name, and a session of it. */
export async function createCaller ({ tokenFor }: Service): Promise<{ phone: string, token: string }> {
  const phone = freshPhone()
  return { phone, token: await tokenFor(phone) }
}

/** An account with a name and a new session; one without a name, for a phone or a token that has one, gets it. */
export async function createUser (
  service: Service,
  { phone = freshPhone(), username = freshName(), token }: { phone?: string, username?: string, token?: string } = {}
): Promise<{ id: string, phone: string, token: string, username: string }> {
  const session = token ?? await service.tokenFor(phone)
  const json = { username, number: phone }
  const { status, body, text } = await service.call('POST', '/users', { token: session, json })
  if (status !== 201) throw new Error(`creation of user ${username}: ${status} ${text}`)
  return { id: body.user_id, phone, token: session, username }
}

/** Makes the account of a phone an admin, in the database. */
export const makeAdmin = (service: WithApp, phone: string) => changeAccount(service, phone, { admin: true })

/** Blocks the account of a phone, or takes the block off, in the database. Its sessions stay in the row. */
export const setBlocked = (service: WithApp, phone: string, blocked: boolean) =>
  changeAccount(service, phone, { blocked })

async function changeAccount ({ app }: WithApp, number: string, change: Partial<UserDocument>): Promise<void> {
  const { matchedCount } = await app.collections.users.updateOne({ number }, { $set: change })
  if (matchedCount !== 1) throw new Error(`no account has the number ${number}`)
}

/** The row of an account; null without one. */
export const findAccount = ({ app }: WithApp, account: { phone: string } | { id: string }) =>
  app.collections.users.findOne('id' in account ? { _id: new ObjectId(account.id) } : { number: account.phone })

/** Inserts an account that nobody signed in to. */
export async function insertAccount ({ app }: WithApp, more: Partial<UserDocument> = {}): Promise<UserDocument> {
  const row = userRow(more)
  await app.collections.users.insertOne(row)
  return row
}

/** The events of `auditOf`, newest first. */
export const auditEvents = async ({ app }: WithApp, phone: string): Promise<string[]> =>
  (await auditOf(app, phone)).map(({ event }) => event)

type WithApp = Pick<Service, 'app'>
