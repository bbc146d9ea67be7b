/** The list of the library without a framework: node:http, the driver, and a hand-written check of the token. */
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer } from 'node:http'
import { MongoClient } from 'mongodb'
import { serveParent } from '../harness/child.js'
import { listen } from '../harness/listen.js'

const { MONGO_URI, JWT_SECRET_KEY, S3_ENDPOINT, S3_BUCKET, TOKEN } = process.env
const base = `${S3_ENDPOINT}/${S3_BUCKET}`
const client = await new MongoClient(MONGO_URI).connect()
const library = client.db().collection('library')

const server = createServer(async (request, response) => {
  try {
    if (!isGood(request.headers.authorization ?? '')) return response.writeHead(401).end()
    const { searchParams } = new URL(request.url, 'http://naive')
    const [page, perPage] = [Number(searchParams.get('page') ?? 1), Number(searchParams.get('per_page') ?? 10)]
    const total = await library.countDocuments()
    const rows = await library
      .find()
      .sort({ created_at: -1, _id: -1 })
      .skip((page - 1) * perPage)
      .limit(perPage)
      .toArray()
    const text = JSON.stringify({
      items: rows.map(present),
      page,
      per_page: perPage,
      total,
      total_pages: Math.ceil(total / perPage)
    })
    response
      .writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(text) })
      .end(
        text
      )
  } catch (error) {
    response.writeHead(500).end(String(error))
  }
})

function isGood (authorization) {
  const [head, payload, signature] = authorization.slice('Bearer '.length).split('.')
  const expected = createHmac('sha256', JWT_SECRET_KEY).update(`${head}.${payload}`).digest()
  const given = Buffer.from(signature ?? '', 'base64url')
  return given.length === expected.length &&
    timingSafeEqual(given, expected) &&
    JSON.parse(Buffer.from(payload, 'base64url')).exp > Date.now() / 1000
}

function present ({
  _id,
  key,
  user_id: userId,
  created_at: createdAt,
  type,
  category,
  title,
  content_type: contentType,
  size,
  sha256,
  width,
  height,
  frames,
  duration_ms: duration,
  dominant_color: color,
  renditions
}) {
  const url = `${base}/${key}`
  return {
    id: _id.toHexString(),
    url,
    user_id: userId,
    created_at: createdAt.toISOString(),
    type,
    category,
    title,
    original_url: url,
    content_type: contentType,
    size,
    sha256,
    width,
    height,
    frames,
    duration_ms: duration,
    dominant_color: color,
    renditions: Object.fromEntries(renditions.map(({ size, ...rest }) =>
      [size, { url: url.replace(/[^/]+$/, `${size}.gif`), ...rest, ble_seconds: Math.ceil(rest.bytes / 900) / 10 }]))
  }
}

serveParent({ url: await listen(server), token: TOKEN })
