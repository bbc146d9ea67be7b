import ipaddr from 'ipaddr.js'

const parse = (address: string) => ipaddr.isValid(address) ? ipaddr.process(address) : undefined
const network = (address: string, bits: { ipv4: number, ipv6: number }) => {
  const parsed = parse(address)
  if (!parsed) return 'unknown'
  const kind = parsed.kind()
  return `${kind === 'ipv4' ? ipaddr.IPv4.networkAddressFromCIDR(`${parsed}/${bits.ipv4}`) : ipaddr.IPv6.networkAddressFromCIDR(`${parsed}/${bits.ipv6}`)}/${bits[kind]}`
}

/** Whom limits count as one client: an IPv4 address, also in its IPv6 form, or the /56 that one IPv6 customer may have (RFC 6177). */
export const clientOf = (address: string) => network(address, { ipv4: 32, ipv6: 56 })

/** Where somebody was, for people who may not know exactly: the /24 or the /48 around an address. */
export const maskAddress = (address: string) => network(address, { ipv4: 24, ipv6: 48 })
