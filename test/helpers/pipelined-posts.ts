import { once } from 'node:events'
import net, { type Socket } from 'node:net'
import type { Test } from 'tap'
import type { Service } from './service.js'
import { openApiCheck, type OpenApiDocument } from './openapi-check.js'

// eslint-disable-next-line @typescript-eslint/no-explicit-any
export interface Answer { status: number, body: any }
export interface Post { path: string, json: unknown, token?: string, headers?: Record<string, string> }
export type Burst = (posts: Post[]) => Promise<Answer[]>

const CONNECTIONS = 50

/**
 * `burst(posts)` sends all posts at once, pipelined over a few open connections, because a `fetch` for each would cost
 * more than the requests. The answers come in the same order. Each is checked against the OpenAPI document.
 */
export function burstOf (t: Test, service: Service): Burst {
  const check = openApiCheck(service.app.swagger() as unknown as OpenApiDocument)
  const sockets: Socket[] = []
  t.teardown(() => { for (const socket of sockets) socket.destroy() })

  return async posts => {
    while (sockets.length < Math.min(CONNECTIONS, posts.length)) {
      sockets.push(await connect(Number(new URL(service.url).port)))
    }
    const answers = await Promise.all(sockets.map((socket, nth) =>
      exchange(socket, posts.filter((_, i) => i % sockets.length === nth))))
    return posts.map(({ path }, i) => {
      const answer = answers[i % sockets.length]![Math.floor(i / sockets.length)]!
      const fault = check({ method: 'POST', path, contentType: 'application/json', ...answer })
      if (fault) {
        throw new Error(
          `POST ${path} answered against the OpenAPI document: ${fault}\n${answer.status} ${JSON.stringify(answer.body)}`
        )
      }
      return answer
    })
  }
}

async function connect (port: number): Promise<Socket> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

function exchange (socket: Socket, posts: Post[]): Promise<Answer[]> {
  return new Promise((resolve, reject) => {
    const answers: Answer[] = []
    let received = Buffer.alloc(0)
    const settle = (error?: Error) => {
      socket.off('data', read).off('close', closed)
      if (error) reject(error)
      else resolve(answers)
    }
    const closed = () => settle(new Error('the service hung up'))
    const read = (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      for (let next = take(received); next; next = take(received)) {
        answers.push(next.answer)
        received = received.subarray(next.length)
      }
      if (answers.length === posts.length) settle()
    }
    if (posts.length === 0) return resolve(answers)
    socket.on('data', read).once('close', closed)
    socket.write(posts.map(written).join(''))
  })
}

function written ({ path, json, token, headers = {} }: Post): string {
  const body = JSON.stringify(json)
  const authorization = token === undefined ? '' : `Authorization: Bearer ${token}\r\n`
  const others = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return `POST ${path} HTTP/1.1\r\nHost: localhost\r\n${authorization}${others}Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

/** The first whole answer in `bytes`, and its length. */
function take (bytes: Buffer): { answer: Answer, length: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd < 0) return undefined
  const head = bytes.toString('latin1', 0, headEnd)
  const start = headEnd + 4
  const end = start + Number(/^content-length: (\d+)$/im.exec(head)?.[1])
  if (bytes.length < end) return undefined
  return {
    answer: { status: Number(head.slice(9, 12)), body: JSON.parse(bytes.toString('utf8', start, end)) },
    length: end
  }
}
