/**
 * A TCP proxy that causes faults of connections; its terms are Toxiproxy's. It stands before the emulators and
 * before independent servers alike. 'up' is the way from the client to the server, 'down' the way back.
 */
import net, { type AddressInfo, type Socket } from 'node:net'
import { Change, listen, pause, pour, reset, slice } from './proxy-flow.js'

export type Direction = 'up' | 'down'

export interface TcpProxy {
  readonly host: string
  readonly port: number
  /** Connections open through the proxy now. */
  connections (): number
  /** Bytes that `blackhole` has swallowed so far. */
  swallowed (): number
  /** Heals: listens again and forgets every fault. Connections that lost bytes to `blackhole` are reset. */
  up (): Promise<void>
  /** Refuses new connections and resets the open ones. */
  down (): Promise<void>
  /** Swallows what either side sends, on open and new connections. */
  blackhole (): void
  /** Resets the open connections, once. */
  reset (): void
  /** Delays each chunk by this many milliseconds. 0 ends the delay. */
  latency (ms: number, direction?: Direction): void
  /**
   * From now on, resets each connection once it has passed this many bytes, but at most `times` connections (default:
   * all). No byte beyond passes. The reset may overtake earlier bytes that its receiver has not read.
   */
  cutAfter (bytes: number, direction: Direction, times?: number): void
  /**
   * Passes this many bytes a second for each connection, by back-pressure. 0 holds everything and loses nothing.
   * Infinity ends it.
   */
  throttle (bytesPerSecond: number, direction: Direction): void
  /** Resolves when this many more bytes have passed. */
  passed (bytes: number, direction: Direction): Promise<void>
  /** Resets all and stops listening for good. */
  close (): Promise<void>
}

interface Link { lossy: boolean, reset: () => void }
interface Cut { after: number, times: number }
interface Faults { latency: number, rate: number, cut: Cut | undefined }

const noFaults = (): Record<Direction, Faults> => ({
  up: { latency: 0, rate: Infinity, cut: undefined },
  down: { latency: 0, rate: Infinity, cut: undefined }
})

/** Listens on a free port of 127.0.0.1 and forwards to `host:port`. */
export async function tcpProxy (target: { host?: string, port: number }): Promise<TcpProxy> {
  const links = new Set<Link>()
  const change = new Change()
  let faults = noFaults()
  const counts = { up: new Set<(bytes: number) => void>(), down: new Set<(bytes: number) => void>() }
  let swallowing = false
  let swallowed = 0

  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const upstream = net.connect({
      host: target.host ?? '127.0.0.1',
      port: target.port,
      allowHalfOpen: true,
      noDelay: true
    })
    const link: Link = { lossy: false, reset () { reset(client); reset(upstream) } }
    links.add(link)
    for (const socket of [client, upstream]) {
      socket.on('error', () => {}).on('close', () => {
        if (client.destroyed && upstream.destroyed) links.delete(link)
      })
    }
    carry(link, client, upstream, 'up')
    carry(link, upstream, client, 'down')
  })

  async function carry (link: Link, source: Socket, sink: Socket, direction: Direction): Promise<void> {
    let counted: Cut | undefined
    let passed = 0
    try {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        await change.orAfter(faults[direction].latency)
        for (let rest = chunk; ;) {
          const { rate, cut } = faults[direction]
          if (counted !== cut) { counted = cut; passed = 0 }
          const left = cut && cut.times > 0 ? cut.after - passed : Infinity
          if (cut && left <= 0) { cut.times--; return link.reset() }
          if (swallowing) { link.lossy = true; swallowed += rest.length }
          if (swallowing || rest.length === 0) break
          const piece = rest.subarray(0, Math.min(left, slice(rate)))
          if (await change.orAfter(pause(piece.length, rate))) continue
          await pour(piece, sink)
          passed += piece.length
          for (const count of counts[direction]) count(piece.length)
          rest = rest.subarray(piece.length)
        }
      }
      if (swallowing) link.lossy = true
      else sink.end()
    } catch { link.reset() }
  }

  const resetAll = () => { for (const link of links) link.reset() }
  await listen(server, 0)
  const { port } = server.address() as AddressInfo

  async function down (): Promise<void> {
    const closed = server.listening && new Promise((resolve) => server.close(resolve))
    resetAll()
    change.happened()
    await closed
  }

  return {
    host: '127.0.0.1',
    port,
    connections: () => links.size,
    swallowed: () => swallowed,
    async up () {
      faults = noFaults()
      swallowing = false
      for (const link of links) if (link.lossy) link.reset()
      change.happened()
      if (!server.listening) await listen(server, port)
    },
    down,
    blackhole () { swallowing = true; change.happened() },
    reset: resetAll,
    latency (ms, direction = 'down') { faults[direction].latency = ms; change.happened() },
    cutAfter (bytes, direction, times = Infinity) {
      faults[direction].cut = { after: bytes, times }
      change.happened()
    },
    throttle (bytesPerSecond, direction) { faults[direction].rate = bytesPerSecond; change.happened() },
    async passed (bytes, direction) {
      await new Promise<void>(resolve => {
        let left = bytes
        const count = (more: number) => {
          left -= more
          if (left <= 0 && counts[direction].delete(count)) resolve()
        }
        counts[direction].add(count)
      })
    },
    close: down
  }
}

/** A TCP proxy before the server of a `mongodb://` address (its first host), and the address that leads through it. */
export async function mongoProxy (uri: string): Promise<TcpProxy & { readonly uri: string }> {
  const address = new URL(uri.replace(/^(mongodb:\/\/[^/,]+),[^/?]*/, '$1'))
  const proxy = await tcpProxy({ host: address.hostname, port: Number(address.port || 27017) })
  address.host = `${proxy.host}:${proxy.port}`
  if (address.pathname === '') address.pathname = '/'
  address.searchParams.delete('replicaSet')
  // else the driver bypasses the proxy, to the address that the server announces
  address.searchParams.set('directConnection', 'true')
  return { ...proxy, uri: address.href }
}
