/**
 * The JSON endpoints without a framework: node:http, the driver, and a hand-written check of the token. A login has the
 * smallest number of database commands: one upsert for a requested code, one read for a typed one.
 */
import { createHash, createHmac, randomInt, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'
import { MongoClient, ObjectId } from 'mongodb'
import { serveParent } from '../harness/child.js'
import { present } from '../harness/library.js'
import { listen } from '../harness/listen.js'
import { signToken } from '../harness/token.js'

const { MONGO_URI, JWT_SECRET_KEY, S3_ENDPOINT, S3_BUCKET } = process.env
const MAX_PER_PAGE = 100
const base = `${S3_ENDPOINT}/${S3_BUCKET}`
const client = await new MongoClient(MONGO_URI).connect()
const [users, library, otps] = ['users', 'library', 'otps'].map(name => client.db().collection(name))
await library.createIndex({ created_at: -1, _id: -1 })
await users.createIndex({ number: 1 }, { unique: true })

const server = createServer(async (request, response) => {
  try {
    if (request.method === 'POST') return answer(response, ...await login(request))
    const caller = readToken(request.headers.authorization ?? '')
    if (!caller) return answer(response, 401, { error: 'Missing or bad token' })
    const { pathname, searchParams } = new URL(request.url, 'http://naive')
    if (pathname === '/library') return list(request, response, searchParams)
    const [, id] = /^\/users\/(\w+)$/.exec(pathname) ?? []
    if (id === undefined) return answer(response, 404, { error: 'Not found' })
    answer(response, ...await findUser(id === 'me' ? caller.sub : id))
  } catch (error) {
    answer(response, 500, { error: String(error) })
  }
})

function answer (response, status, body) {
  send(response, status, JSON.stringify(body))
}

function send (response, status, text, headers = {}) {
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    ...headers
  }).end(text)
}

function readToken (authorization) {
  const [head, payload, signature] = authorization.slice('Bearer '.length).split('.')
  const expected = createHmac('sha256', JWT_SECRET_KEY).update(`${head}.${payload}`).digest()
  const given = Buffer.from(signature ?? '', 'base64url')
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined
  const claims = JSON.parse(Buffer.from(payload, 'base64url'))
  return claims.exp > Date.now() / 1000 ? claims : undefined
}

async function list (request, response, query) {
  const [page, perPage] = [Number(query.get('page') ?? 1), Math.min(Number(query.get('per_page') ?? 10), MAX_PER_PAGE)]
  if (!(Number.isInteger(page) && page > 0 && Number.isInteger(perPage) && perPage > 0)) {
    return answer(response, 400, { errors: { page: ['Not a valid integer.'] } })
  }
  const [total, rows] = await Promise.all([
    library.countDocuments(),
    library.find().sort({ created_at: -1, _id: -1 }).skip((page - 1) * perPage).limit(perPage).toArray()
  ])
  const text = JSON.stringify({
    items: rows.map(row => present(base, row)),
    page,
    per_page: perPage,
    total,
    total_pages: Math.ceil(total / perPage)
  })
  const etag = `"${createHash('sha1').update(text).digest('base64url')}"`
  if (request.headers['if-none-match'] === etag) return response.writeHead(304, { etag }).end()
  send(response, 200, text, { etag })
}

async function findUser (id) {
  if (!ObjectId.isValid(id)) return [400, { error: 'Invalid user id' }]
  const row = await users.findOne({ _id: new ObjectId(id) })
  if (!row) return [404, { error: 'User not found' }]
  const { _id, username, number, created_on: createdOn, admin = false } = row
  return [200, { _id, username, number, created_on: createdOn.toISOString(), admin }]
}

async function login (request) {
  const { phone, otp } = JSON.parse(Buffer.concat(await request.toArray()).toString())
  if (typeof phone !== 'string' || !/^\+?\d{6,15}$/.test(phone)) {
    return [400, { errors: { phone: ['Not a valid phone number.'] } }]
  }
  return [200, request.url === '/auth/request-otp' ? await requestCode(phone) : await typeCode(phone, otp)]
}

async function requestCode (_id) {
  const code = String(randomInt(1_000_000)).padStart(6, '0')
  await otps.updateOne({ _id }, { $set: { code, at: new Date() } }, { upsert: true })
  return { message: 'OTP sent' }
}

async function typeCode (number, otp) {
  const row = await otps.findOne({ _id: number })
  if (row?.code !== otp) return { success: false, message: 'Invalid OTP' }
  await otps.deleteOne({ _id: number })
  const { _id } = await users.findOneAndUpdate({ number }, { $setOnInsert: { created_on: new Date() } }, {
    upsert: true,
    returnDocument: 'after'
  })
  return { success: true, message: 'OTP verified', access_token: signToken(JWT_SECRET_KEY, _id.toHexString()) }
}

serveParent({ url: await listen(server) })
