/** How the fault proxies listen, hold bytes back and break connections. */
import { once } from 'node:events'
import type net from 'node:net'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Resets sockets. Node cannot reset a socket that is being ended, and would keep its descriptor, and the process, for
 * ever.
 */
export function reset (...sockets: Array<Socket | null>): void {
  for (const socket of sockets) {
    if (socket?.connecting || (socket?.writableEnded && !socket.writableFinished)) socket.destroy()
    else socket?.resetAndDestroy()
  }
}

/** Waits that end early when the faults change. */
export class Change {
  private next = new AbortController()

  happened (): void {
    this.next.abort()
    this.next = new AbortController()
  }

  /** @returns whether a change came first; `Infinity` waits for one. */
  async orAfter (ms: number): Promise<boolean> {
    if (ms <= 0) return false
    const { signal } = this.next
    await sleep(Math.min(ms, 2 ** 31 - 1), undefined, { signal, ref: false }).catch(() => {})
    return signal.aborted
  }
}

/** Throttled bytes go in slices of a twentieth of a second: the bytes of one, and the milliseconds after it. */
export const slice = (rate: number) => Math.max(1, Math.ceil(rate / 20))
export const pause = (bytes: number, rate: number) => rate === Infinity ? 0 : bytes / rate * 1000

/** Writes and waits until the sink wants more, so that a slow sink holds its source back. */
export async function pour (chunk: Buffer, sink: Writable): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    sink.write(chunk, (error) => error ? reject(error) : resolve())
  })
}

export async function listen (server: net.Server, port: number, tries = 50): Promise<void> {
  try {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  } catch (error) {
    if (tries === 0) throw error
    await sleep(20) // meanwhile an outgoing connection may have taken the port
    await listen(server, port, tries - 1)
  }
}
