/**
 * The smallest number of database commands for a login, without a framework: one upsert for a requested code, one read
 * for a typed one.
 */
import { createServer } from 'node:http'
import { MongoClient } from 'mongodb'
import { serveParent } from '../harness/child.js'
import { listen } from '../harness/listen.js'

const client = await new MongoClient(process.env.MONGO_URI).connect()
const codes = client.db().collection('naive_codes')

const server = createServer(async (request, response) => {
  try {
    const { phone, otp } = JSON.parse(Buffer.concat(await request.toArray()).toString())
    const answer = request.url === '/auth/request-otp' ? await requestCode(phone) : await typeCode(phone, otp)
    const text = JSON.stringify(answer)
    response
      .writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'content-length': Buffer.byteLength(text) })
      .end(
        text
      )
  } catch (error) {
    response.writeHead(500).end(String(error))
  }
})

async function requestCode (_id) {
  await codes.updateOne({ _id }, { $set: { code: '123456', at: new Date() } }, { upsert: true })
  return { message: 'OTP sent' }
}

async function typeCode (_id, otp) {
  const row = await codes.findOne({ _id })
  return row?.code === otp ? { success: true, message: 'OTP verified' } : { success: false, message: 'Invalid OTP' }
}

serveParent({ url: await listen(server) })
