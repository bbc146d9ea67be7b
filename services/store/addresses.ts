import type { Config } from '../../schemas/env.js'
import type { MediaStore } from '../ports.js'

export type AddressConfig = Pick<Config,
  | 'S3_BUCKET'
  | 'S3_REGION'
  | 'S3_ENDPOINT'
  | 'S3_FORCE_PATH_STYLE'
  | 'S3_PUBLIC_URL'
  | 'S3_PUBLIC_ENDPOINT'>

/**
 * The addresses of the bucket, without a slash at the end. Items get the first. The replaced system wrote one of the
 * others into its rows. AWS answers a bucket of its own under several host names (S3 User Guide, "Methods for accessing
 * a general purpose bucket").
 */
export function addressesOf (config: AddressConfig): string[] {
  const { S3_BUCKET: bucket, S3_REGION: region, S3_PUBLIC_URL, S3_ENDPOINT } = config
  const hasBucket = (address: string) => address.includes(bucket) // an IP address takes no bucket before it
  const hosts = isAws(S3_ENDPOINT)
    ? ['s3.amazonaws.com', `s3.${region}.amazonaws.com`, `s3-${region}.amazonaws.com`]
    : []
  const others = hosts.flatMap(host => [`${bucket}.${host}`, `${host}/${bucket}`])
  return [...new Set([
    ...(S3_PUBLIC_URL ? [S3_PUBLIC_URL.replace(/\/+$/, '')] : []),
    ownAddress(config),
    ...(S3_ENDPOINT
      ? [true, false].map(isPathStyle => addressAt(S3_ENDPOINT, bucket, isPathStyle)).filter(hasBucket)
      : []),
    ...others.flatMap(place => [`https://${place}`, `http://${place}`])
  ])]
}

/** Where clients post direct uploads, if it is not the endpoint of the service. The form's signature has no host. */
export function postAddressOf (config: AddressConfig): string | undefined {
  const { S3_BUCKET, S3_PUBLIC_ENDPOINT, S3_FORCE_PATH_STYLE } = config
  return S3_PUBLIC_ENDPOINT && addressAt(S3_PUBLIC_ENDPOINT, S3_BUCKET, S3_FORCE_PATH_STYLE !== false)
}

/** The addresses of objects in a bucket that has these addresses, and the keys of addresses. */
export const createUrls = (addresses: string[]): Pick<MediaStore, 'url' | 'urlsOf' | 'keyOf'> => ({
  url: key => `${addresses[0]}/${key}`,

  urlsOf: key => addresses.map(address => `${address}/${key}`),

  keyOf (url) {
    const address = addresses.find(address => url.startsWith(`${address}/`))
    return address && url.slice(address.length + 1)
  }
})

function ownAddress ({ S3_ENDPOINT, S3_BUCKET, S3_REGION, S3_FORCE_PATH_STYLE }: AddressConfig): string {
  if (!S3_ENDPOINT) return `https://${S3_BUCKET}.s3.${S3_REGION}.amazonaws.com`
  return addressAt(S3_ENDPOINT, S3_BUCKET, S3_FORCE_PATH_STYLE !== false)
}

function addressAt (url: string, bucket: string, isPathStyle: boolean): string {
  const endpoint = new URL(url)
  if (!isPathStyle) endpoint.hostname = `${bucket}.${endpoint.hostname}`
  const base = endpoint.href.replace(/\/+$/, '')
  return isPathStyle ? `${base}/${bucket}` : base
}

const isAws = (endpoint?: string) => !endpoint || new URL(endpoint).hostname.endsWith('.amazonaws.com')
