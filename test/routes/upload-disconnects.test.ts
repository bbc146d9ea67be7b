import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import net from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import t from 'tap'
import { freshPhone } from '../helpers/accounts.js'
import { type Services } from '../helpers/backends.js'
import { field, file, form } from '../helpers/multipart.js'
import { type Service, startService } from '../helpers/service.js'
import { gif, gifOf } from '../helpers/small-pictures.js'
import { scale } from '../helpers/test-length.js'
import { createDice } from '../helpers/upload-mutants.js'
import { KIB, MIB, requestHead, user } from '../helpers/upload-requests.js'
import { eventually } from '../helpers/wait.js'

const CLIENTS = scale({ short: 200, long: 1000 })
const CONCURRENCY = 10
const FORMS = [
  form([user, file(gif)]),
  form([file(gifOf(100 * KIB)), user]),
  form([user, file(gifOf(300 * KIB)), field('title', 'Fox')])
]
/** Larger than one part in the store, and so for one client in twenty only. */
const LARGE_FORM = form([user, file(gifOf(6 * MIB))])

t.test('Of clients that go away during an upload nothing stays in the store, the database or the process', async t => {
  t.comment(`${CLIENTS} clients go away at 0, 1, 50, 99 or 100 %`)
  const service = await startService(t, { logger: { level: 'silent' } })
  const token = await service.tokenFor(freshPhone())
  await leave(service, token, 1, CLIENTS / 2) // until the pools of connections are full and the code is warm
  const before = await settled(service)
  await leave(service, token, CLIENTS / 2 + 1, CLIENTS / 2)
  // bytes in a socket are freed a little later
  const after = await eventually(async () => {
    const held = await settled(service)
    t.comment({ before, held })
    return held.buffers <= before.buffers * 1.02 + MIB && held
  })
  t.pass('the bytes beside the heap are back')
  t.ok(after.descriptors <= before.descriptors + 1, 'file descriptors are back')
  t.ok(after.heap <= before.heap * 1.02 + MIB, 'the heap is back')
})

/** Plays `clients` clients, some at once, that hang up: some in order, some by a reset. */
async function leave (service: Service, token: string, seed: number, clients: number): Promise<void> {
  let next = seed
  await Promise.all(Array.from({ length: CONCURRENCY }, async () => {
    while (next < seed + clients) await leaveOnce(service, token, next++)
  }))
}

async function leaveOnce ({ url }: Service, token: string, seed: number): Promise<void> {
  const dice = createDice(seed)
  const body = dice.chance(0.05) ? LARGE_FORM : dice.oneOf(FORMS)
  const head = requestHead(token, { 'Content-Length': body.length })
  const percent = dice.oneOf([0, 1, 50, 99, 100])
  const socket = net.connect({ port: Number(new URL(url).port), host: '127.0.0.1' }).on('error', () => {}).resume()
  socket.write(head)
  await new Promise(resolve => { socket.write(body.subarray(0, Math.floor(body.length * percent / 100)), resolve) })
  const closed = once(socket, 'close')
  if (dice.chance(0.5)) socket.resetAndDestroy()
  else socket.destroy()
  await closed
}

interface Held { descriptors: number, heap: number, buffers: number }

/**
 * The resources that the process holds once nothing is in progress and items and objects match. A client that left
 * after the last byte may have made an item.
 */
async function settled ({ services, app: { collections, mediaStore, server } }: Service): Promise<Held> {
  // the connections first: each may yet begin a record
  await eventually(async () => await connectionsTo(server) === 0 && await collections.uploads.countDocuments() === 0)
  const folders = new Set<string>()
  for await (const { key } of mediaStore.list('')) folders.add(key.slice(0, key.lastIndexOf('/')))
  const unfinished = []
  for await (const upload of mediaStore.unfinished('')) unfinished.push(upload)
  const items = await collections.library.countDocuments()
  if (unfinished.length > 0 || folders.size !== items) {
    throw new Error(`${folders.size} objects for ${items} items, ${unfinished.length} unfinished`)
  }
  collectGarbage()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return { descriptors: descriptors(services), heap: heapUsed, buffers: arrayBuffers }
}

/**
 * Counts the open descriptors of this process without its connections to the database and the store, whose pools keep
 * their largest size. Without /proc it counts active resources other than TCP.
 */
function descriptors ({ mongoUri, s3 }: Services): number {
  if (!existsSync('/proc/self/fd')) {
    return process.getActiveResourcesInfo().filter(kind => !kind.startsWith('TCP')).length
  }
  const ports = [mongoUri, s3.endpoint].map(url => Number(new URL(url).port))
  const pooled = new Set(['tcp', 'tcp6'].flatMap(table =>
    readFileSync(`/proc/self/net/${table}`, 'utf8').trim().split('\n').slice(1).flatMap(line => {
      const [, local, remote, , , , , , , inode] = line.trim().split(/\s+/)
      return [local!, remote!].some(address => ports.includes(parseInt(address.split(':')[1]!, 16)))
        ? `socket:[${inode}]`
        : []
    })))
  return readdirSync('/proc/self/fd').filter(number => !pooled.has(targetOf(number))).length
}

/** The target of a descriptor; empty when it is closed by now. */
function targetOf (number: string): string {
  try {
    return readlinkSync(`/proc/self/fd/${number}`)
  } catch {
    return ''
  }
}

const connectionsTo = (server: net.Server) => new Promise<number>((resolve, reject) =>
  server.getConnections((error, count) => error ? reject(error) : resolve(count)))

function collectGarbage (): void {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
}
