import type { Config } from '../schemas/env.js'

/**
 * Why a dependency fails at the start. The error's sentence names the variable and the host, and no other part of the
 * value.
 */
type Reason = { kind: 'unreachable' | 'credentials' | 'tls' | 'missing' | 'region', detail?: string }

const TLS = /^(ERR_TLS_|ERR_SSL_|ERR_OSSL|CERT_|UNABLE_TO_|DEPTH_ZERO|SELF_SIGNED|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|EPROTO$)/
const DETAILS: Record<string, string> = {
  ECONNREFUSED: 'nobody listens there',
  ENOTFOUND: 'the name has no address',
  EAI_AGAIN: 'the name server does not answer',
  ENODATA: 'the name has no address',
  ESERVFAIL: 'the name server does not answer',
  EHOSTUNREACH: 'there is no way to that network',
  ENETUNREACH: 'there is no way to that network',
  ECONNRESET: 'it cuts the connection'
}
const BAD_CREDENTIALS = new Set([
  'InvalidAccessKeyId', 'SignatureDoesNotMatch', 'AccessDenied', 'ExpiredToken', 'InvalidToken',
  'CredentialsProviderError', 'MongoMissingCredentialsError'
])
/** Unauthorized, AuthenticationFailed, and Atlas' own AtlasError. */
const MONGO_REFUSALS = new Set([13, 18, 8000])
const SILENT = 'it does not answer'
const MAX_ERRORS = 50

interface Fault {
  name?: string
  code?: unknown
  cause?: unknown
  reason?: unknown
  errors?: unknown
  error?: unknown
  servers?: Map<string, unknown>
  $metadata?: { httpStatusCode?: number }
}

/** An error and all of its causes, at most 50. */
function causes (error: unknown): Fault[] {
  const found = new Set<Fault>()
  const add = (value: unknown) => {
    if (typeof value !== 'object' || value === null || found.has(value) || found.size >= MAX_ERRORS) return
    const fault = value as Fault
    found.add(fault)
    for (const next of [
      fault.cause, fault.reason, fault.error, ...listOf(fault.errors), ...listOf(fault.servers?.values())
    ]) {
      add(next)
    }
  }
  add(error)
  return [...found]
}

const listOf = (values: unknown): unknown[] => typeof values === 'object' &&
  values !== null &&
  Symbol.iterator in values
  ? [...values as Iterable<unknown>]
  : []

function reasonOf (error: unknown): Reason {
  const faults = causes(error)
  const codes = faults.map(({ code }) => code)
  const statuses = faults.map(({ $metadata }) => $metadata?.httpStatusCode)
  const tls = codes.find(code => typeof code === 'string' && TLS.test(code))
  if (tls !== undefined) return { kind: 'tls', detail: String(tls) }
  const isRefusal = faults.some(({ name = '', code }) =>
    BAD_CREDENTIALS.has(name) || MONGO_REFUSALS.has(code as number))
  if (isRefusal || statuses.some(status => status === 401 || status === 403)) return { kind: 'credentials' }
  if (statuses.includes(404)) return { kind: 'missing' }
  if (statuses.some(status => status === 301 || status === 307)) return { kind: 'region' }
  const code = codes.find(code => typeof code === 'string' && code in DETAILS)
  return { kind: 'unreachable', detail: DETAILS[String(code)] ?? SILENT }
}

/** Why MongoDB at `uri` cannot be used. */
export function mongoRefusal (uri: string, cause: unknown): Error {
  const { kind, detail } = reasonOf(cause)
  const reasons: Partial<Record<Reason['kind'], string>> = {
    credentials: 'it refuses the user name or the password: check both, and authSource',
    tls: `TLS failed (${detail})`
  }
  const reason = reasons[kind] ?? detail ?? SILENT
  return new Error(`MongoDB cannot be reached at MONGO_URI (${hostsOf(uri)}): ${reason}`, { cause })
}

/** The hosts of a connection string, without user name, password, database and options. */
const hostsOf = (uri: string) => /^mongodb(?:\+srv)?:\/\/(?:[^/]*@)?([^/?@]+)/.exec(uri)?.[1] ?? 'no host'

/** Why the bucket of `config` cannot be used. */
export function storeRefusal (
  { S3_ENDPOINT, S3_REGION }: Pick<Config, 'S3_ENDPOINT' | 'S3_REGION'>,
  cause: unknown
): Error {
  const { kind, detail = SILENT } = reasonOf(cause)
  const at = S3_ENDPOINT === undefined
    ? `S3_REGION (s3.${S3_REGION}.amazonaws.com:443)`
    : `S3_ENDPOINT (${hostOf(S3_ENDPOINT)})`
  const reason = {
    credentials: 'the store refuses the credentials, or does not let them use the bucket: check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the role',
    missing: 'the store has no such bucket: create it, or correct the name',
    region: 'the bucket is in another region than S3_REGION',
    tls: `TLS failed (${detail})`,
    unreachable: detail
  }[kind]
  return new Error(`The bucket S3_BUCKET cannot be reached at ${at}: ${reason}`, { cause })
}

function hostOf (url: string): string {
  const { host, port, protocol } = new URL(url)
  return port !== '' ? host : `${host}:${protocol === 'https:' ? 443 : 80}`
}

/** Why the process cannot listen. */
export function listenRefusal (error: unknown): Error {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'EADDRINUSE') {
    return new Error('PORT is in use by another process: stop that one, or set PORT to a free port')
  }
  if (code === 'EACCES') return new Error('PORT is one that this process may not listen on: set PORT to one above 1023')
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND' || code === 'EINVAL') {
    return new Error('HOST is no address of this machine: set HOST to one that is, or to 0.0.0.0 for all of them')
  }
  return error as Error
}
