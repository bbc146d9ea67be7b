import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import net, { type Socket } from 'node:net'
import { ListMultipartUploadsCommand, paginateListObjectsV2 } from '@aws-sdk/client-s3'
import { MongoClient } from 'mongodb'
import t from 'tap'
import type { LibraryItem } from '../../schemas/library.js'
import { detectFileType } from '../../services/pictures/file-type.js'
import { createScrubber } from '../../services/pictures/scrub/index.js'
import { eventually } from '../helpers/wait.js'
import { foldersOf } from '../helpers/service.js'
import { s3Client, startServices } from '../helpers/backends.js'
import { LARGE_PICTURES, LIMIT, mutantOf, PICTURES, type Mutant } from '../helpers/upload-mutants.js'
import { openApiCheck, type OpenApiDocument } from '../helpers/openapi-check.js'
import { scale } from '../helpers/test-length.js'
import { forkService } from '../helpers/forked-service.js'
import { KIB } from '../helpers/upload-requests.js'

/** Each seed is one mutant. To repeat one: FIRST_MUTANT=17 MUTANTS=1. */
const FIRST = Number(process.env.FIRST_MUTANT ?? 1)
const COUNT = Number(process.env.MUTANTS ?? scale({ short: 150, long: 20_000, real: 300 }))
const LINES = 8
const DEADLINE_MS = 30_000

// eslint-disable-next-line @typescript-eslint/no-explicit-any
interface Reply { status: number, headers: Record<string, string>, body: any }
type Outcome = Reply | 'hung up' | 'silence'

t.test(
  'No mutant of an upload is a 5xx or waits for ever, no file is cut, and a refused one leaves nothing',
  async t => {
    t.comment(`${COUNT} mutants from seed ${FIRST}`)
    const services = await startServices(t)
    const { url, token } = await forkService(t, services, { UPLOAD_MAX_BYTES: String(LIMIT) })
    const client = await new MongoClient(services.mongoUri).connect()
    const s3 = s3Client(services)
    const judge = createJudge(await (await fetch(`${url}/openapi.json`)).json() as OpenApiDocument)
    t.teardown(async () => {
      judge.close()
      s3.destroy()
      await client.close()
    })
    const seen = new Map<string, number>()
    const count = (what: string) => seen.set(what, times(what) + 1)
    const times = (what: string) => seen.get(what) ?? 0
    const strays: string[] = []
    let next = FIRST

    await Promise.all(Array.from({ length: LINES }, async () => {
      const line = createLine(Number(new URL(url).port))
      while (next < FIRST + COUNT && strays.length < 3) {
        const seed = next++
        const mutant = mutantOf(seed)
        const outcome = await line.exchange(mutant, token)
        const fault = await judge.faultIn(mutant, outcome)
        for (const what of judge.kindsOf(mutant, outcome)) count(what)
        if (fault) strays.push(`FIRST_MUTANT=${seed} MUTANTS=1: ${fault}\n${dump(mutant)}`)
      }
      line.close()
    }))
    t.same(strays, [])
    t.comment(Object.fromEntries([...seen].sort()))

    await eventually(async () => await client.db().collection('uploads').countDocuments() === 0)
    const items = await client.db().collection('library').countDocuments()
    t.ok(
      items >= times('201') && items <= times('201') + times('perhaps taken'),
    `${items} items for ${times('201')} answers that said so`
    )
    const keys: string[] = []
    for await (const { Contents = [] } of paginateListObjectsV2({ client: s3 }, { Bucket: services.s3.bucket })) {
      keys.push(...Contents.map(({ Key }) => Key!))
    }
    t.equal(foldersOf(keys).length, items, 'every object is of an item, and every item has its own')
    const { Uploads = [] } = await s3.send(new ListMultipartUploadsCommand({ Bucket: services.s3.bucket }))
    t.strictSame(Uploads, [])
    if (COUNT >= 10_000) {
      for (const what of [
        '201', '400', '413', '415', 'hung up', 'judged in full: 201', 'to be taken: 201', 'not whole: 400'
      ]) {
        t.ok(times(what) >= COUNT / 5000, `${what}: ${times(what)} times`)
      }
    }
  }
)

/** Judges a mutant and its outcome. */
function createJudge (document: OpenApiDocument) {
  const check = openApiCheck(document)
  const agent = new http.Agent({ keepAlive: true })
  return { faultIn, kindsOf, close: () => agent.destroy() }

  async function faultIn (mutant: Mutant, outcome: Outcome): Promise<string | undefined> {
    if (typeof outcome === 'string') return outcome === 'silence' || mutant.ending === 'kept' ? outcome : undefined
    const { status, body } = outcome
    const answer = `${status} ${JSON.stringify(body)}`
    if (status >= 500) return answer
    const misshapen = shapeFault(mutant, outcome)
    if (misshapen) return `${answer}: ${misshapen}`
    const form = mutant.sent && readForm(mutant.sent)
    if (status !== 201) {
      return form && mutant.ending === 'kept' && isToBeTaken(form) ? `${answer}, but the form is in order` : undefined
    }
    if (mutant.unfinished) return 'taken before it was whole'
    const served = await fetchBytes(body.original_url ?? body.url)
    if (body.size !== served.length || body.sha256 !== sha256(served)) return `${answer}, but other bytes are served`
    if (form && !served.equals(scrubbed(form.file))) return `${answer}, but ${form.file.length} other bytes were sent`
  }

  function kindsOf (mutant: Mutant, outcome: Outcome): string[] {
    if (typeof outcome === 'string') return [outcome, 'perhaps taken']
    const form = mutant.sent && readForm(mutant.sent)
    const kinds = [
      form && 'judged in full',
      form && mutant.ending === 'kept' && isToBeTaken(form) && 'to be taken',
      mutant.sent && !form && 'not whole'
    ].filter(kind => typeof kind === 'string')
    return [
      String(outcome.status),
      ...(mutant.ending === 'kept' || outcome.status === 201 ? [] : ['perhaps taken']),
      ...kinds.map(kind => `${kind}: ${outcome.status}`)
    ]
  }

  /**
   * The fault of an answer that the document does not describe for an upload. If the mutant is no upload request any
   * more, the answer only needs the shape of a refusal.
   */
  function shapeFault ({ head }: Mutant, { status, headers, body }: Reply): string | undefined {
    if (headers['x-request-id'] && head.includes('POST /library/upload HTTP/1.1\r\n')) {
      return check({
        method: 'POST',
        path: '/library/upload',
        status,
        contentType: headers['content-type'] ?? null,
        body
      })
    }
    return status === 200 ||
      (headers['content-type']?.startsWith('application/json') &&
        (typeof body.error === 'string' || typeof body.errors === 'object'))
      ? undefined
      : 'in no known shape'
  }

  async function fetchBytes (url: LibraryItem['url']): Promise<Buffer> {
    const [response] = await once(http.get(url, { agent }), 'response') as [http.IncomingMessage]
    return Buffer.concat(await response.toArray())
  }
}

interface Form { file: Buffer, fields: Array<[name: string, value: string]>, after: number }

/**
 * Reads a form that is beyond doubt (RFC 7578 as browsers write it), with exactly one file, called `file`. Undefined
 * for any other.
 */
function readForm ({ body, boundary }: NonNullable<Mutant['sent']>): Form | undefined {
  const delimiter = Buffer.from(`\r\n--${boundary}`)
  const bytes = Buffer.concat([Buffer.from('\r\n'), body])
  const fields: Form['fields'] = []
  let file: Buffer | undefined
  let after = 0
  let at = bytes.indexOf(delimiter)
  if (at < 0) return undefined
  for (;;) {
    at += delimiter.length
    const sign = bytes.toString('latin1', at, at + 2)
    if (sign === '--') {
      return file && bytes.indexOf(delimiter, at) < 0 ? { file, fields, after: bytes.length - after } : undefined
    }
    if (sign !== '\r\n') return undefined
    const headEnd = bytes.indexOf('\r\n\r\n', at)
    const end = bytes.indexOf(delimiter, headEnd + 4)
    if (headEnd < 0 || end < 0 || headEnd + 4 > end || headEnd > bytes.indexOf(delimiter, at)) return undefined
    const part = /^\r\nContent-Disposition: form-data; name="([\w ]+)"(; filename="([^"\\\r\n]*)"\r\nContent-Type: [a-z]+\/[a-z-]+)?$/.exec(
      bytes.toString('latin1', at, headEnd)
    )
    if (!part || (part[2] && (file || part[1] !== 'file'))) return undefined
    const content = bytes.subarray(headEnd + 4, end)
    if (part[2]) {
      file = content
      after = end
    } else fields.push([part[1]!, content.toString('latin1')])
    at = end
  }
}

const LABELS = ['user_id', 'title', 'category']

/** Whether a form gives no reason for a refusal. */
function isToBeTaken ({ file, fields, after }: Form): boolean {
  return [...PICTURES, LARGE_PICTURES[0]!].some(picture => picture.equals(file)) &&
    fields.length < 20 &&
    after <= 64 * KIB &&
    fields.some(([name]) => name === 'user_id') &&
    fields.every(([name, value]) =>
      LABELS.includes(name)
        ? /^[!-~]([ -~]{0,253}[!-~])?$/.test(value)
        : name === 'fit' ? value === 'cover' : name !== 'constructor')
}

/** The bytes to expect when a file is served. */
function scrubbed (bytes: Buffer): Buffer {
  const scrubber = createScrubber(detectFileType(bytes)!)
  return Buffer.concat([...scrubber.push(bytes), ...scrubber.end()])
}

/** Sends one mutant after the other on a connection, as long as it holds. */
function createLine (port: number) {
  let socket: Socket | undefined
  return { exchange, close: () => { socket?.destroy() } }

  async function exchange ({ head, pieces, ending }: Mutant, token: string): Promise<Outcome> {
    socket ??= await connect(port)
    const line = socket
    const answered = answerOn(line)
    line.write(Buffer.concat([head, Buffer.from(`Authorization: Bearer ${token}\r\n\r\n`)]))
    const written = (async () => {
      for (const piece of pieces) {
        if (line.writable && !line.write(piece)) await Promise.race([once(line, 'drain'), once(line, 'close')])
        if (pieces.length > 1) await new Promise(resolve => setImmediate(resolve))
      }
      if (ending === 'hung up') line.end()
    })()
    const outcome = await answered
    if (ending === 'kept' && typeof outcome !== 'string' && outcome.headers.connection !== 'close') await written
    else {
      line.destroy()
      socket = undefined
    }
    return outcome
  }
}

async function connect (port: number): Promise<Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true }).on('error', () => {})
  socket.setMaxListeners(0)
  await once(socket, 'connect')
  return socket
}

/** The next answer on a connection, or the reason why there is none. */
function answerOn (socket: Socket): Promise<Outcome> {
  return new Promise(resolve => {
    let received = Buffer.alloc(0)
    const settle = (outcome: Outcome) => {
      clearTimeout(deadline)
      socket.off('data', read).off('end', ended).off('close', ended)
      resolve(outcome)
    }
    const deadline = setTimeout(() => settle('silence'), DEADLINE_MS)
    const ended = () => settle('hung up')
    const read = (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      const reply = replyIn(received)
      if (reply) settle(reply)
    }
    socket.on('data', read).once('end', ended).once('close', ended)
  })
}

function replyIn (bytes: Buffer): Reply | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const [start, ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n')
  const headers = Object.fromEntries(lines.map(line =>
    [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]))
  const end = headEnd + 4 + Number(headers['content-length'])
  if (bytes.length < end) return undefined
  return { status: Number(start!.slice(9, 12)), headers, body: JSON.parse(bytes.toString('utf8', headEnd + 4, end)) }
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')

/** The start of a mutant, in hexadecimal and as text. */
function dump ({ head, pieces, ending }: Mutant): string {
  const bytes = Buffer.concat([head, ...pieces])
  const lines = Array.from({ length: Math.ceil(Math.min(bytes.length, 1024) / 32) }, (_, i) => {
    const row = bytes.subarray(i * 32, i * 32 + 32)
    return `${(i * 32).toString(16).padStart(4, '0')}  ${row.toString('hex').padEnd(64)}  ${row.toString('latin1').replace(/[^ -~]/g, '.')}`
  })
  return [`${bytes.length} bytes, ${ending}`, ...lines].join('\n')
}
