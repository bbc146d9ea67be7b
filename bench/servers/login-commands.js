/**
 * The commands of a login that the service sends, with similar documents, and nothing else. Any cost beyond this is the
 * service's own work.
 */
import { createServer } from 'node:http'
import { MongoClient } from 'mongodb'
import { serveParent } from '../harness/child.js'
import { listen } from '../harness/listen.js'

const client = await new MongoClient(process.env.MONGO_URI).connect()
const [codes, users] = ['bare_codes', 'users'].map(name => client.db().collection(name))

const server = createServer(async (request, response) => {
  try {
    const { phone } = JSON.parse(Buffer.concat(await request.toArray()).toString())
    const isRequest = request.url === '/auth/request-otp'
    const [[state]] = await Promise.all([
      codes.find({ _id: { $in: [phone] } }).toArray(),
      ...(isRequest ? [users.findOne({ number: phone }, { projection: { blocked: 1 } })] : [])
    ])
    await codes.bulkWrite([
      {
        replaceOne: {
          filter: { _id: phone, write_id: state?.write_id ?? null },
          replacement: changed(state),
          upsert: true
        }
      }
    ])
    const text = JSON.stringify(isRequest ? { message: 'OTP sent' } : { success: false, message: 'Invalid OTP' })
    response
      .writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(text) })
      .end(
        text
      )
  } catch (error) {
    response.writeHead(500).end(String(error))
  }
})

let writes = 0
function changed (state) {
  const at = new Date()
  const tries = (state?.challenge.tries ?? -1) + 1
  return {
    write_id: String(writes++).padStart(16, '0'),
    challenge: { nonce: Buffer.alloc(16), issued_at: at, expires_at: at, tries, used_at: null },
    sms: [{ at, network: 'n'.repeat(43) }],
    failures: { row: tries, dates: Array.from({ length: tries }, () => at) },
    locked_until: null,
    expires_at: at
  }
}

serveParent({ url: await listen(server) })
