/**
 * Compares this package's codec with that of the official `bson`, on a row of the library and on a document of `otps`.
 * Prints the median of the ratios of interleaved rounds: below 1, this package's codec is the faster one.
 * `npm run build && node packages/mongo-emulator/bench/codec.js`
 */
import { BSON, ObjectId } from 'bson'
import { decode } from '../../../dist/packages/mongo-emulator/decode.js'
import { encode } from '../../../dist/packages/mongo-emulator/encode.js'

const ROUNDS = 41
const TIMES = 5000
const date = new Date('2026-01-01')
const documents = {
  library: {
    _id: new ObjectId(),
    key: 'library/00000000-0000-4000-8000-000000000000/original.gif',
    owner: new ObjectId(),
    user_id: 'meera',
    category: 'GIF',
    type: 'gif',
    title: 'Dancing fox',
    words: ['dancing', 'fox'],
    created_at: date,
    size: 123_456,
    width: 320,
    height: 240,
    hidden: null,
    renditions: [{ size: 240, bytes: 12_345, width: 240, height: 180 }, { size: 480, bytes: 34_567, width: 320 }]
  },
  otps: {
    _id: '+919876543210',
    write_id: '0f8fad5b-d9cd-469f-a165-70867728950e',
    sms: Array.from({ length: 3 }, () => ({ at: date, network: '192.0.2.0/24' })),
    challenge: { nonce: 'x'.repeat(22), issued_at: date, failures: 0, used_at: null },
    hours: new Map([['495000', { sent: 3, verified: 1 }], ['494999', { sent: 1, verified: 1 }]]),
    expires_at: date
  }
}
const exact = { promoteValues: false, promoteBuffers: false }

for (const [name, document] of Object.entries(documents)) {
  const bytes = Buffer.from(BSON.serialize(document))
  const [own, official] = [decode(bytes), BSON.deserialize(bytes, exact)]
  if (!encode(own).equals(bytes)) throw new Error('The codec of this package changes a document')
  compare(`${name}: decode`, () => decode(bytes), () => BSON.deserialize(bytes, exact))
  compare(`${name}: encode`, () => encode(own), () => BSON.serialize(official))
  console.log(`${name}: the official codec keeps the order of names: ${bytes.equals(BSON.serialize(official))}`)
}

function compare (name, own, official) {
  const ratios = Array.from({ length: ROUNDS }, () => timeOf(own) / timeOf(official)).slice(ROUNDS >> 2)
  ratios.sort((a, b) => a - b)
  console.log(`${name}: ${ratios[ratios.length >> 1].toFixed(2)} of the official codec's time`)
}

function timeOf (work) {
  const begun = process.cpuUsage().user
  for (let time = 0; time < TIMES; time++) work()
  return process.cpuUsage().user - begun || 1
}
