import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { BOUNDARY, file, form, gif } from '../fixtures.js'
import { environment } from '../helper.js'
import { faultBed, KIB, MIB, send, user, zeros } from '../uploads.js'

t.test('POST /library/upload: 20 uploads to a slow store take memory for their parts, not for their files', async t => {
  const PART = 5 * MIB
  const bed = await faultBed(t)
  const child = fork(fileURLToPath(new URL('../service-process.ts', import.meta.url)), {
    env: { ...process.env, ...environment({ ...bed.throughProxies, s3: { ...bed.throughProxies.s3, endpoint: bed.s3.endpoint } }), UPLOAD_MAX_BYTES: String(40 * MIB), LOG_LEVEL: 'silent', STORE_SILENCE_MS: '60000' }
  })
  t.teardown(() => { child.kill() })
  const ask = async (question: string) => {
    child.send(question)
    const [answer] = await once(child, 'message')
    return answer
  }
  const [{ url, token }] = await once(child, 'message') as [{ url: string, token: string }]
  const uploads = async (count: number, size: number) => {
    const before = await ask('peak') as number
    const slow = bed.s3.fault({ operation: 'UploadPart', action: { do: 'throttle', bytesPerSecond: 3 * MIB }, times: count })
    const start = form([user, file(gif)], { end: '' })
    const rest = [...Array.from({ length: Math.floor((size - gif.length) / (256 * KIB)) }, () => zeros), Buffer.alloc((size - gif.length) % (256 * KIB))]
    const answers = await Promise.all(Array.from({ length: count }, () => send({ url }, token, [start, ...rest, `\r\n--${BOUNDARY}--\r\n`])))
    t.strictSame(answers.map(({ status }) => status), answers.map(() => 201))
    t.equal(slow.hits, count)
    return (await ask('peak') as number) - before
  }
  await uploads(2, 6 * MIB)
  const large = await uploads(5, 40 * MIB)
  const small = await uploads(20, 10 * MIB)
  t.comment(`grew by ${Math.round(large / MIB)} MiB for 5 × 40 MiB, and by ${Math.round(small / MIB)} MiB more for 20 × 10 MiB`)
  t.ok(large <= 150 * MIB, 'files of 200 MiB are never in memory as a whole')
  t.ok(large + small <= 20 * 4 * PART, 'four parts for each at most')
})
