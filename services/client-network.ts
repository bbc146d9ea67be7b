import ipaddr from 'ipaddr.js'
import { LRUCache } from 'lru-cache'

/** Addresses whose networks are cached: a request needs those of its client several times. */
const MAX_CACHED = 10_000

/**
 * One client for the limits: an IPv4 address, also in its IPv6 form, or the /56 that one IPv6 customer may have (RFC
 * 6177).
 */
export const clientOf = networkOf({ ipv4: 32, ipv6: 56 })

/** An address for readers who may not see it exactly: the /24 or the /48 around it. */
export const maskAddress = networkOf({ ipv4: 24, ipv6: 48 })

/** Gives the network of an address by its number of bits, as `192.0.2.0/24`; `unknown` without an address. */
function networkOf (bits: { ipv4: number, ipv6: number }): (address: string) => string {
  const known = new LRUCache<string, string>({ max: MAX_CACHED, memoMethod: network })
  return address => known.memo(address)

  function network (address: string): string {
    if (!ipaddr.isValid(address)) return 'unknown'
    const parsed = ipaddr.process(address)
    const kind = parsed.kind()
    const family = kind === 'ipv4' ? ipaddr.IPv4 : ipaddr.IPv6
    return `${family.networkAddressFromCIDR(`${parsed}/${bits[kind]}`)}/${bits[kind]}`
  }
}
