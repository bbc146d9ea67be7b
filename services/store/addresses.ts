import type { Config } from '../../schemas/env.js'

export type AddressConfig = Pick<Config,
  | 'S3_BUCKET'
  | 'S3_REGION'
  | 'S3_ENDPOINT'
  | 'S3_FORCE_PATH_STYLE'
  | 'S3_PUBLIC_URL'>

/**
 * The addresses of the bucket, without a slash at the end. Items get the first. The replaced system wrote one of the
 * others into its rows. AWS answers a bucket of its own under several host names (S3 User Guide, "Methods for accessing
 * a general purpose bucket").
 */
export function addressesOf (config: AddressConfig): string[] {
  const { S3_BUCKET: bucket, S3_REGION: region, S3_PUBLIC_URL, S3_ENDPOINT } = config
  return [...new Set([
    ...(S3_PUBLIC_URL ? [S3_PUBLIC_URL.replace(/\/+$/, '')] : []),
    ownAddress(config),
    ...(isAws(S3_ENDPOINT)
      ? [
          `https://${bucket}.s3.amazonaws.com`,
          `https://${bucket}.s3.${region}.amazonaws.com`,
          `https://${bucket}.s3-${region}.amazonaws.com`,
          `https://s3.amazonaws.com/${bucket}`,
          `https://s3.${region}.amazonaws.com/${bucket}`
        ]
      : [])
  ])]
}

function ownAddress ({ S3_ENDPOINT, S3_BUCKET, S3_REGION, S3_FORCE_PATH_STYLE }: AddressConfig): string {
  if (!S3_ENDPOINT) return `https://${S3_BUCKET}.s3.${S3_REGION}.amazonaws.com`
  const endpoint = new URL(S3_ENDPOINT)
  if (S3_FORCE_PATH_STYLE === false) endpoint.hostname = `${S3_BUCKET}.${endpoint.hostname}`
  const base = endpoint.href.replace(/\/+$/, '')
  return S3_FORCE_PATH_STYLE === false ? base : `${base}/${S3_BUCKET}`
}

const isAws = (endpoint?: string) => !endpoint || new URL(endpoint).hostname.endsWith('.amazonaws.com')
