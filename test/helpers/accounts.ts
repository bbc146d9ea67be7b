import { randomInt } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { ObjectId, type Collection, type Document, type OptionalUnlessRequiredId } from 'mongodb'
import type { AuditDocument, UserDocument } from '../../schemas/documents.js'
import { maskPhone } from '../../services/phone.js'
import type { RequestContext } from '../../services/ports.js'

let nextPhone = randomInt(1_000_000) * 100

/** A possible Indian mobile number that is new in this process. */
export const freshPhone = () => `+9198${String(nextPhone++ % 100_000_000).padStart(8, '0')}`

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
export async function namedPhone ({ collections }: FastifyInstance): Promise<string> {
  const number = freshPhone()
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
