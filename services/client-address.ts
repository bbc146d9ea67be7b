import { BlockList, isIP, isIPv4 } from 'node:net'
import ipaddr from 'ipaddr.js'
import { LRUCache } from 'lru-cache'

/** Whether an address, in its normal form, belongs to a trusted proxy. */
export type Trusts = (address: string) => boolean

const NAMED: Record<string, string[]> = {
  loopback: ['127.0.0.0/8', '::1/128'],
  linklocal: ['169.254.0.0/16', 'fe80::/10'],
  uniquelocal: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7']
}
/** Proxies are few, and each is asked about with every request. */
const MAX_CACHED = 1000
export const PRIVATE_NETWORKS = Object.keys(NAMED)

/** Trusts addresses and networks, and the names of private networks. */
export function trustsOf (networks: string[]): Trusts {
  const list = new BlockList()
  for (const network of networks.flatMap(name => NAMED[name] ?? [name])) {
    const [address, bits] = parseNetwork(network)
    list.addSubnet(address.toString(), bits, address.kind())
  }
  const known = new LRUCache<string, boolean>({ max: MAX_CACHED })
  return address => {
    const found = known.get(address)
    if (found !== undefined) return found
    const isTrusted = list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
    known.set(address, isTrusted)
    return isTrusted
  }
}

function parseNetwork (text: string): [ipaddr.IPv4 | ipaddr.IPv6, number] {
  const [name = '', bits] = text.split('/')
  const address = ipaddr.process(name)
  const isMapped = name.includes(':') && address.kind() === 'ipv4'
  const whole = address.kind() === 'ipv4' ? 32 : 128
  return [address, bits === undefined ? whole : Number(bits) - (isMapped ? 96 : 0)]
}

/**
 * One text for every form of an address: IPv4 also where it is mapped into IPv6, and no zone. Undefined without an
 * address.
 */
export function normalAddress (text: string): string | undefined {
  if (isIPv4(text)) return text
  const address = text.replace(/%.*$/s, '')
  const version = isIP(address)
  if (version === 0) return undefined
  return version === 4 ? address : ipaddr.process(address).toString()
}

const PORT = String.raw`(?::\d{1,5})?`
const FORMS = [
  new RegExp(String.raw`^([0-9.]+)${PORT}$`),
  new RegExp(String.raw`^\[([^\]]+)\]${PORT}$`),
  /^((?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}):\d{1,5}$/i,
  /^([0-9a-f:.]+(?:%.+)?)$/i
]

/**
 * The address in one element of `X-Forwarded-For`, with or without port, brackets, zone, quotes and `for=`. Undefined
 * for every other text, such as `unknown`.
 */
function readElement (element: string): string | undefined {
  const pair = unquoted(element.trim()).trim()
  const text = unquoted(pair.replace(/^for=/i, '').replace(/;.*$/s, '').trim())
  for (const form of FORMS) {
    const address = normalAddress(form.exec(text)?.[1] ?? '')
    if (address !== undefined) return address
  }
  return undefined
}

const unquoted = (text: string) => text.replace(/^"(.*)"$/s, '$1')

/**
 * The client's address behind trusted proxies: the address that the last trusted proxy from the right saw. Empty
 * elements are skipped. `unreadable`: an element that counts is no address, so the peer's own address is used.
 */
export function clientAddress (peer: string, forwardedFor: string | undefined, trusts: Trusts): {
  address: string
  unreadable: boolean
} {
  const own = normalAddress(peer) ?? peer
  if (forwardedFor === undefined) return { address: own, unreadable: false }
  let address = own
  for (const element of forwardedFor.split(',').reverse()) {
    if (!trusts(address)) break
    if (element.trim() === '') continue
    const next = readElement(element)
    if (next === undefined) return { address: own, unreadable: true }
    address = next
  }
  return { address, unreadable: false }
}
