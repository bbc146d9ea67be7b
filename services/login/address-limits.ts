import { LRUCache } from 'lru-cache'
import { clientOf } from '../client-network.js'
import type { Clock } from '../ports.js'

const WINDOW_MS = 5 * 60 * 1000
/** Clients in the cache. A caller with more addresses has a limit for each. */
const MAX_CLIENTS = 10_000

export type AddressLimit = ReturnType<typeof createAddressLimit>

/** `wait`: the seconds until a take may succeed; 0: this one did, and `giveBack` undoes it. */
export interface Take { wait: number, giveBack: () => void }

const NOTHING = () => {}

/** At most `max` takes within five minutes for each client address, in this process; 0 is no limit. */
export function createAddressLimit (max: number, now: Clock) {
  const clients = new LRUCache<string, number[]>({ max: MAX_CLIENTS })

  /**
   * The client's recent takes, oldest first: the list itself, not a copy. Ten thousand takes cost no more than three.
   */
  function recent (client: string): number[] {
    const taken = clients.get(client) ?? []
    const start = now().getTime() - WINDOW_MS
    while (taken.length > 0 && taken[0]! <= start) taken.shift()
    return taken
  }

  const wait = (taken: number[]) => max > 0 && taken.length >= max
    ? Math.max(1, Math.ceil((taken.at(-max)! + WINDOW_MS - now().getTime()) / 1000))
    : 0

  return {
    /** Seconds until the client of `address` may take again; 0: now. */
    wait: (address: string): number => max === 0 ? 0 : wait(recent(clientOf(address))),

    /** Takes one, if one is left. */
    take (address: string): Take {
      if (max === 0) return { wait: 0, giveBack: NOTHING }
      const client = clientOf(address)
      const taken = recent(client)
      if (wait(taken) > 0) return { wait: wait(taken), giveBack: NOTHING }
      const time = now().getTime()
      taken.splice(taken.findLastIndex(other => other <= time) + 1, 0, time)
      clients.set(client, taken)
      const giveBack = () => {
        const left = recent(client)
        const index = left.lastIndexOf(time)
        if (index >= 0) left.splice(index, 1)
      }
      return { wait: 0, giveBack }
    }
  }
}
