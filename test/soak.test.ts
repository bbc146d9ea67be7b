import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import net, { type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { MongoClient } from 'mongodb'
import t from 'tap'
import { uploadForm } from './helpers/multipart.js'
import { gif } from './helpers/small-pictures.js'
import { environment, startServices } from './helpers/backends.js'
import { freshPhone } from './helpers/accounts.js'
import { startService } from './helpers/service.js'
import { answerFrom } from './helpers/raw-http.js'
import { startProcess } from './helpers/server-process.js'
import { scale } from './helpers/test-length.js'
import { eventually } from './helpers/wait.js'

const SECONDS = scale({ short: 5, long: 600 })
/** Milliseconds for which an attacker that takes nothing keeps a connection, before it opens another. */
const HOLD_MS = 5000

t.setTimeout((SECONDS + 900) * 1000)

t.test(
  'a heap of 256 MB is enough to serve honest clients among those that send ahead, read nothing and finish no body',
  async t => {
    const services = await startServices(t)
    const token = await (await startService(t, { services, now: () => new Date() })).tokenFor(freshPhone())
    await fill(services.mongoUri)
    const service = await startProcess(t, environment(services), { flags: ['--max-old-space-size=256'] })
    const over = AbortSignal.timeout(SECONDS * 1000)
    const port = Number(new URL(service.url).port)
    const host = `Host: x\r\nAuthorization: Bearer ${token}\r\n`
    const counts = { attacks: 0, probes: 0, honest: 0 }
    const failures: string[] = []

    await Promise.all([
      ...many(30, () => hold(`GET /openapi.json HTTP/1.1\r\n${host}\r\n`.repeat(200))),
      ...many(40, () => hold(`GET /library?per_page=100 HTTP/1.1\r\n${host}\r\n`.repeat(200))),
      ...many(100, () =>
        hold(
          `POST /auth/request-otp HTTP/1.1\r\n${host}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{`
        )),
      ...many(8, sendBodiesLate),
      ...many(300, askWhetherReady),
      ...many(3, beHonest)
    ])
    // attackers, database and store share this process
    t.ok(counts.honest > 3 * failures.length, `served but for ${JSON.stringify(failures)}`)
    const memory = await peak(service.pid)
    const { honest, attacks, probes } = counts
    t.comment(`${SECONDS} s: ${honest} honest requests served, ${attacks} attacks, ${probes} probes; peak: ${memory}`)
    await eventually(async () => (await service.json('GET', '/library', { token })).status === 200)
    t.equal(await service.kill('SIGTERM'), 0)

    function connect (): Socket {
      return net.connect(port, '127.0.0.1').on('error', () => {})
    }

    /** Sends this again and again, each time on a connection of its own, and never reads. */
    async function hold (text: string): Promise<void> {
      while (!over.aborted) {
        const socket = connect().pause()
        socket.write(text)
        counts.attacks++
        await Promise.race([once(socket, 'close'), wait(HOLD_MS, undefined, { ref: false })])
        socket.destroy()
      }
    }

    /** The body of each request comes after its answer. */
    async function sendBodiesLate (): Promise<void> {
      while (!over.aborted) {
        const socket = connect()
        try {
          while (!over.aborted) {
            socket.write('POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n')
            await answerFrom(socket)
            socket.write('x')
            counts.attacks++
          }
        } catch {
          await wait(10)
        } finally {
          socket.destroy()
        }
      }
    }

    async function askWhetherReady (): Promise<void> {
      while (!over.aborted) {
        const socket = connect()
        try {
          while (!over.aborted) {
            socket.write('GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n')
            await answerFrom(socket)
            counts.probes++
            await wait(100)
          }
        } catch {
          await wait(10)
        } finally {
          socket.destroy()
        }
      }
    }

    async function beHonest (): Promise<void> {
      while (!over.aborted) {
        await served('GET', '/health/live', 200)
        await served('GET', '/library?per_page=10', 200)
        await served('POST', '/library/upload', 201, uploadForm(gif))
      }
    }

    async function served (method: string, path: string, expected: number, body?: FormData): Promise<void> {
      try {
        const { status } = await service.json(method, path, { token, body })
        if (status === expected) counts.honest++
        else failures.push(`${method} ${path}: ${status}`)
      } catch (error) {
        failures.push(`${method} ${path}: ${String(error)}`)
        await wait(100)
      }
    }
  }
)

const many = <T>(count: number, work: () => T): T[] => Array.from({ length: count }, work)

/** Items whose pages are large. */
async function fill (uri: string): Promise<void> {
  const client = await new MongoClient(uri).connect()
  const long = 'x'.repeat(255)
  await client.db().collection('library').insertMany(many(200, () => ({
    url: `https://media.example.com/${long}`,
    user_id: long,
    type: 'image',
    category: long,
    title: long,
    created_at: new Date()
  })))
  await client.close()
}

/** The most memory that a process ever held, if the system tells it. */
async function peak (pid: number): Promise<string> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
  return /VmHWM:\s*(.*)/.exec(status)?.[1] ?? 'unknown'
}
