import { once } from 'node:events'
import { connect } from 'node:net'

const EMPTY = Buffer.alloc(0)

/** The bytes of a request, as a proxy would pass it on. `address` is the client's, if it is not this machine. */
export function toRequest (method, path, { token, address, json, headers = {}, body } = {}) {
  const content = json === undefined ? body : Buffer.from(JSON.stringify(json))
  const head = [
    `${method} ${path} HTTP/1.1`,
    'host: localhost',
    'accept: application/json',
    ...(token ? [`authorization: Bearer ${token}`] : []),
    ...(address ? [`x-forwarded-for: ${address}`] : []),
    ...(json === undefined ? [] : ['content-type: application/json']),
    ...(content ? [`content-length: ${content.length}`] : []),
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  ].join('\r\n') + '\r\n\r\n'
  return content ? Buffer.concat([Buffer.from(head), content]) : head
}

/**
 * Opens this many connections to a server. `run` lets each send its next request as soon as the last one is answered,
 * until `next()` gives no more; it resolves with the seconds in total and the milliseconds of each request. An answer
 * with another status than `expected`, or than those in it, rejects. It costs less CPU than node:http, so the load
 * hinders the stores less.
 */
export async function openConnections (url, count) {
  const { hostname, port } = new URL(url)
  const sockets = Array.from({ length: count }, () => connect({ host: hostname, port, noDelay: true }))
  await Promise.all(sockets.map(socket => once(socket, 'connect')))
  return {
    async run (next, expected = 200) {
      const latencies = []
      const isExpected = status => [expected].flat().includes(status)
      const began = performance.now()
      await Promise.all(sockets.map(socket => drive(socket, next, isExpected, latencies)))
      return { seconds: (performance.now() - began) / 1000, latencies }
    },
    close () {
      for (const socket of sockets) socket.destroy()
    }
  }
}

const drive = (socket, next, isExpected, latencies) => new Promise((resolve, reject) => {
  let head = EMPTY
  let missing // bytes of the body; undefined before it
  let sentAt = 0
  const send = () => {
    const request = next()
    if (request === undefined) return resolve()
    sentAt = performance.now()
    socket.write(request, 'latin1')
  }
  socket.on('data', chunk => {
    if (missing === undefined) {
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      const { status, length } = readHead(head.latin1Slice(0, end))
      if (!isExpected(status) || length === undefined) return reject(new Error(`answered ${head}`))
      missing = length - (head.length - end - 4)
      head = EMPTY
    } else {
      missing -= chunk.length
    }
    if (missing > 0) return
    missing = undefined
    latencies.push(performance.now() - sentAt)
    send()
  })
  socket.on('close', () => reject(new Error('a connection was closed before its answer')))
  socket.on('error', reject)
  send()
})

/**
 * One connection, whose requests come one after the other. `ask` resolves with the status, the seconds of `Retry-After`
 * and the milliseconds until the whole answer; it rejects when the connection ends first.
 */
export async function openClient (url) {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port, noDelay: true })
  await once(socket, 'connect')
  let received = EMPTY
  let asked
  socket.on('data', chunk => {
    received = Buffer.concat([received, chunk])
    const end = received.indexOf('\r\n\r\n')
    if (end < 0) return
    const { status, length = 0, retryAfter } = readHead(received.latin1Slice(0, end))
    if (received.length < end + 4 + length) return
    received = EMPTY
    asked?.resolve({ status, retryAfter, ms: performance.now() - asked.at })
  })
  socket.on('error', () => {})
  socket.on('close', () => asked?.reject(new Error('the connection was closed before the answer')))
  return {
    ask: request => new Promise((resolve, reject) => {
      if (socket.destroyed) return reject(new Error('the connection is closed'))
      asked = { resolve, reject, at: performance.now() }
      socket.write(request, 'latin1')
    }),
    close: () => socket.destroy()
  }
}

function readHead (text) {
  const status = Number(text.slice(9, 12))
  if (status === 304) return { status, length: 0 }
  const [, length] = /\r\ncontent-length: *(\d+)/i.exec(text) ?? []
  const [, retryAfter] = /\r\nretry-after: *(\d+)/i.exec(text) ?? []
  return { status, length: length && Number(length), retryAfter: Number(retryAfter ?? 0) }
}

/** The value that this share of the numbers does not exceed. */
export function percentile (numbers, share) {
  const sorted = Float64Array.from(numbers).sort()
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)]
}
