import { createPrivateKey } from 'node:crypto'
import { isIP } from 'node:net'
import { envSchema } from 'env-schema'
import { Env, type Config } from '../schemas/env.js'
import { PRIVATE_NETWORKS } from './client-address.js'
import { mongoUriFault } from './database.js'
import { TAKEN_WHOLE } from './environment.js'
import { isRegion, normalizePhone } from './phone.js'
import { isGuessable } from './secret-strength.js'
import { webhookKey } from './standard-webhook.js'

/** The environment cannot be used. The message names every wrong variable and the rule it breaks, never a value. */
export class ConfigError extends Error {
  constructor (readonly problems: string[]) {
    super(`Refusing to start: ${problems.join('; ')}.`)
    this.name = 'ConfigError'
  }
}

/** A variable, a check for its fault, and the rule. The check may return the broken rule itself. */
type Rule = [name: keyof Env, broken: (env: Env) => boolean | string | undefined, rule?: string]

const PLACEHOLDER = /^(.+?)\1{3,}$|(change|replace)[-_ ]?(me|this)|placeholder|your[-_ ](own|jwt|otp|secret|super)|super[-_ ]?secret|(jwt|dev)-secret$/i
/** Whether a secret is publicly known, from a README or a default. */
export const isPlaceholder = (secret: string) => PLACEHOLDER.test(secret)
/** The values of a comma-separated variable. */
export function listOf (text: string | undefined): string[] {
  return (text ?? '').split(',').map(item => item.trim()).filter(item => item !== '')
}
const parses = (parse: () => unknown) => { try { parse(); return true } catch { return false } }
const isUrl = (text: string) => isUrlWithQuery(text) && !text.includes('?')
const isUrlWithQuery = (text: string) => /^https?:\/\/[^/?#@]+([/?][^#]*)?$/i.test(text) && parses(() => new URL(text))
const isOrigin = (text: string) => isUrl(text) && new URL(text).origin === text
/** The default in production: a load balancer asks for readiness some times within this. */
const DRAIN_SECONDS = 5
const MAX_TOKEN_SECONDS = 3650 * 86_400
const isWeak = (secret: string | undefined) => secret === undefined ||
  Buffer.byteLength(secret) < 32 ||
  PLACEHOLDER.test(secret) ||
  isGuessable(secret)
const isSize = (text: string) => /^[1-9]\d{0,3}x[1-9]\d{0,3}$/.test(text)
/** The providers of SMS_PROVIDER in order; `mock` means `console`. */
export const smsProviders = (env: Env) => listOf(env.SMS_PROVIDER).map(name => name === 'mock' ? 'console' : name)
/** Whether an SMS may cost money and reach a person. */
export const sendsRealTexts = (env: Env) => smsProviders(env).some(name => name !== 'console')
const uses = (env: Env, provider: string) => smsProviders(env).includes(provider)
const inProduction = (env: Env) => env.NODE_ENV === 'production'
/** Whether the API's own description is served, and whether the console is. */
export const hasDocs = (env: Pick<Env, 'NODE_ENV' | 'DOCS'>) => env.DOCS ?? env.NODE_ENV !== 'production'
export const hasConsole = (env: Pick<Env, 'NODE_ENV' | 'DOCS' | 'CONSOLE'>) => env.CONSOLE ?? hasDocs(env)
const testNumbers = (env: Env) => listOf(env.OTP_TEST_NUMBERS).map(entry =>
  normalizePhone(entry.split(':')[0]!, env.DEFAULT_REGION))
const isPhone = (text: string, env: Env) => normalizePhone(text, env.DEFAULT_REGION) !== undefined
type UrlName = 'PUBLIC_URL' | 'TWILIO_API_URL' | 'S3_ENDPOINT' | 'S3_PUBLIC_URL' | 'S3_PUBLIC_ENDPOINT' |
  'OTEL_EXPORTER_OTLP_ENDPOINT'
const url = (name: UrlName): Rule =>
  [
    name,
    env => env[name] !== undefined && !isUrl(env[name]),
    'must be an http or https URL without credentials, query or fragment'
  ]
const neededBy = (provider: string, name: keyof Env): Rule =>
  [name, env => uses(env, provider) && env[name] === undefined, `must be set with SMS_PROVIDER=${provider}`]

/** Variables that an earlier version knew by another name, and their new names. */
const renamed: Record<string, keyof Env> = {
  JWT_ACCEPT_LEGACY: 'JWT_LEGACY_SECRET',
  LIMIT_TEXTS_PER_ADDRESS: 'LIMIT_SMS_PER_ADDRESS',
  FRAUD_MIN_TEXTS: 'FRAUD_MIN_SMS'
}

/** Without TLS, codes, numbers and reports can be read on the way. */
const notPlain = (name: 'SMS_HTTP_URL' | 'TWILIO_API_URL' | 'MODERATION_WEBHOOK_URL'): Rule =>
  [
    name,
    env => inProduction(env) && /^http:/i.test(env[name] ?? '') && !isLoopback(new URL(env[name]!).hostname),
    'must be an https URL in production, unless its host is this machine'
  ]
const isLoopback = (host: string) => host === 'localhost' || host === '[::1]' || /^127(\.\d+){3}$/.test(host)

/** No two are equal: a leak in one use must not open another. */
const SECRETS = [
  'JWT_SECRET_KEY', 'OTP_SECRET', 'METRICS_TOKEN', 'SMS_HTTP_TOKEN', 'TWILIO_AUTH_TOKEN', 'AWS_SECRET_ACCESS_KEY',
  'MODERATION_WEBHOOK_SECRET'
] as const
const secretsOf = (env: Env, name: typeof SECRETS[number]) => name === 'JWT_SECRET_KEY'
  ? listOf(env[name])
  : [env[name] ?? []].flat()
function alreadyUsed (env: Env, i: number): string | undefined {
  const used = new Set(secretsOf(env, SECRETS[i]!))
  const other = SECRETS.slice(0, i).find(name => secretsOf(env, name).some(secret => used.has(secret)))
  return other && `must not be the same as ${other}`
}

const rules: Rule[] = [
  [
    'TRUST_PROXY',
    env => listOf(env.TRUST_PROXY).some(network => /\/0+$/.test(network)),
    'must not trust every address (a network of /0): anybody could claim any address'
  ],
  [
    'TRUST_PROXY',
    env => parseTrustProxy(env.TRUST_PROXY) === undefined,
    'must be off, true for private networks, or a list of addresses and networks'
  ],
  url('PUBLIC_URL'),
  url('OTEL_EXPORTER_OTLP_ENDPOINT'),
  [
    'CORS_ORIGINS',
    env => !listOf(env.CORS_ORIGINS).every(isOrigin),
    'must be a list of origins such as https://app.example.com'
  ],
  [
    'METRICS_TOKEN',
    env => env.METRICS_TOKEN !== undefined && env.METRICS_TOKEN.length < 16,
    'must have at least 16 characters'
  ],
  [
    'METRICS_TOKEN',
    env => inProduction(env) &&
      env.METRICS_TOKEN !== undefined &&
      (PLACEHOLDER.test(env.METRICS_TOKEN) || isGuessable(env.METRICS_TOKEN)),
    'must be random in production: openssl rand -base64 24'
  ],

  ['MONGO_URI', env => inProduction(env) && env.MONGO_URI === undefined, 'must be set in production'],
  ['MONGO_URI', env => env.MONGO_URI && mongoUriFault(env.MONGO_URI)],

  [
    'JWT_SECRET_KEY',
    env => inProduction(env) && env.JWT_ALGORITHM === 'HS256' && env.JWT_SECRET_KEY === undefined,
    'must be set in production'
  ],
  [
    'JWT_SECRET_KEY',
    env => env.JWT_SECRET_KEY !== undefined && isWeak(listOf(env.JWT_SECRET_KEY)[0]),
    'must begin with a secret of at least 32 bytes that is no placeholder'
  ],
  [
    'JWT_PRIVATE_KEY',
    env => env.JWT_ALGORITHM !== 'HS256' && env.JWT_PRIVATE_KEY === undefined,
    'must be set with JWT_ALGORITHM ES256 or EdDSA'
  ],
  [
    'JWT_PRIVATE_KEY',
    env => env.JWT_PRIVATE_KEY !== undefined && !areKeysFor(env.JWT_PRIVATE_KEY, env.JWT_ALGORITHM),
    'must hold unencrypted PEM private keys for P-256 or Ed25519, the first of the kind that JWT_ALGORITHM signs with'
  ],
  [
    'JWT_LEGACY_SECRET',
    env => listOf(env.JWT_SECRET_KEY).includes(env.JWT_LEGACY_SECRET?.trim() ?? ''),
    'must not be an entry of JWT_SECRET_KEY: it verifies tokens of the replaced system only'
  ],
  [
    'ACCESS_TOKEN_TTL',
    env => (parseDuration(env.ACCESS_TOKEN_TTL) ?? Infinity) > MAX_TOKEN_SECONDS,
    'must be a number and one of s, m, h, d, such as 30d, and at most ten years'
  ],
  [
    'SESSION_IDLE_TTL',
    env => parseIdleTime(env.SESSION_IDLE_TTL) === undefined,
    'must be 0, or a number and one of s, m, h, d, such as 90d'
  ],

  ['OTP_SECRET', env => inProduction(env) && env.OTP_SECRET === undefined, 'must be set in production'],
  [
    'OTP_SECRET',
    env => env.OTP_SECRET !== undefined && isWeak(env.OTP_SECRET),
    'must have at least 32 bytes and be no placeholder'
  ],
  [
    'OTP_TEST_NUMBERS',
    env => !listOf(env.OTP_TEST_NUMBERS).every(entry =>
      /^[^:]+:\p{Nd}{6}$/u.test(entry) && isPhone(entry.split(':')[0]!, env)),
    'must be a list of number:code with six digits'
  ],
  ['OTP_TEST_NUMBERS', env => new Set(testNumbers(env)).size < testNumbers(env).length, 'must name every number once'],
  [
    'OTP_TEST_NUMBERS',
    env =>
      listOf(env.ADMIN_NUMBERS).some(number => testNumbers(env).includes(normalizePhone(number, env.DEFAULT_REGION))),
    'must hold no number of ADMIN_NUMBERS'
  ],
  [
    'OTP_TEST_NUMBERS_UNTIL',
    env => env.OTP_TEST_NUMBERS_UNTIL !== undefined && !isIsoDate(env.OTP_TEST_NUMBERS_UNTIL),
    'must be an ISO 8601 date'
  ],
  ['DEFAULT_REGION', env => !isRegion(env.DEFAULT_REGION), 'must be an ISO 3166 country code such as IN'],
  [
    'SMS_PROVIDER',
    env =>
      smsProviders(env).length === 0 || !smsProviders(env).every(name => ['console', 'twilio', 'http'].includes(name)),
    'must be console, twilio, http, or a list of them'
  ],
  [
    'SMS_PROVIDER',
    env => inProduction(env) && uses(env, 'console') && !env.SMS_CONSOLE_IN_PRODUCTION,
    'must not be console in production unless SMS_CONSOLE_IN_PRODUCTION=true'
  ],
  [
    'SMS_BRAND',
    env => !/^[^\p{Cc}]{1,40}$/u.test(env.SMS_BRAND) ||
      Buffer.byteLength(env.SMS_BRAND) > 60 ||
      /\d{4}/.test(env.SMS_BRAND),
    'must have 1 to 40 characters and no four digits in a row'
  ],
  [
    'SMS_ANDROID_HASH',
    env => !/^[A-Za-z0-9+/]{11}$/.test(env.SMS_ANDROID_HASH),
    'must be the 11-character hash of the Android app'
  ],
  [
    'SMS_WEB_ORIGIN',
    env => env.SMS_WEB_ORIGIN !== undefined && !/^(?=.{1,60}$)[a-z0-9-]+(\.[a-z0-9-]+)*$/i.test(env.SMS_WEB_ORIGIN),
    'must be a host name such as app.example.com'
  ],
  [
    'SMS_ALLOWED_COUNTRIES',
    env => listOf(env.SMS_ALLOWED_COUNTRIES).length === 0 || !listOf(env.SMS_ALLOWED_COUNTRIES).every(isRegion),
    'must be a list of ISO 3166 country codes'
  ],
  [
    'SMS_WEB_ORIGIN',
    env => Buffer.byteLength(env.SMS_BRAND) + (env.SMS_WEB_ORIGIN?.length ?? 0) > 109,
    'must leave room for SMS_BRAND: together at most 109 bytes, or a text is longer than 140'
  ],
  neededBy('http', 'SMS_HTTP_URL'),
  [
    'SMS_HTTP_URL',
    env => env.SMS_HTTP_URL !== undefined && !isUrlWithQuery(env.SMS_HTTP_URL),
    'must be an http or https URL without credentials or fragment'
  ],
  notPlain('SMS_HTTP_URL'),
  neededBy('twilio', 'TWILIO_ACCOUNT_SID'),
  [
    'TWILIO_ACCOUNT_SID',
    env => env.TWILIO_ACCOUNT_SID !== undefined && !env.TWILIO_ACCOUNT_SID.startsWith('AC'),
    'must begin with AC'
  ],
  neededBy('twilio', 'TWILIO_AUTH_TOKEN'),
  neededBy('twilio', 'TWILIO_PHONE_NUMBER'),
  [
    'TWILIO_PHONE_NUMBER',
    env => env.TWILIO_PHONE_NUMBER !== undefined && !isPhone(env.TWILIO_PHONE_NUMBER, env),
    'must be a phone number'
  ],
  url('TWILIO_API_URL'),
  notPlain('TWILIO_API_URL'),
  [
    'MODERATION_WEBHOOK_URL',
    env => env.MODERATION_WEBHOOK_URL !== undefined && !isUrlWithQuery(env.MODERATION_WEBHOOK_URL),
    'must be an http or https URL without credentials or fragment'
  ],
  notPlain('MODERATION_WEBHOOK_URL'),
  [
    'MODERATION_WEBHOOK_SECRET',
    env => env.MODERATION_WEBHOOK_URL !== undefined && env.MODERATION_WEBHOOK_SECRET === undefined,
    'must be set with MODERATION_WEBHOOK_URL'
  ],
  [
    'MODERATION_WEBHOOK_SECRET',
    env => env.MODERATION_WEBHOOK_SECRET !== undefined && webhookKey(env.MODERATION_WEBHOOK_SECRET) === undefined,
    'must be whsec_ and 24 to 64 bytes in base64'
  ],

  ['S3_BUCKET', env => inProduction(env) && env.S3_BUCKET === undefined, 'must be set in production'],
  [
    'S3_BUCKET',
    env => env.S3_BUCKET !== undefined && !/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(env.S3_BUCKET),
    'must be a bucket name'
  ],
  ['S3_REGION', env => !/^[a-z0-9-]{1,32}$/.test(env.S3_REGION), 'must be a region such as us-east-1'],
  url('S3_ENDPOINT'),
  url('S3_PUBLIC_URL'),
  url('S3_PUBLIC_ENDPOINT'),

  [
    'RENDITION_SIZES',
    env => listOf(env.RENDITION_SIZES).length === 0 || !listOf(env.RENDITION_SIZES).every(isSize),
    'must be a list of sizes such as 64x64'
  ],
  [
    'LIBRARY_URL_RENDITION',
    env => env.LIBRARY_URL_RENDITION !== undefined && !listOf(env.RENDITION_SIZES).includes(env.LIBRARY_URL_RENDITION),
    'must be one of RENDITION_SIZES'
  ],
  ...SECRETS.map((name, i): Rule => [name, env => inProduction(env) && alreadyUsed(env, i), undefined]),

  [
    'ADMIN_NUMBERS',
    env => !listOf(env.ADMIN_NUMBERS).every(number => isPhone(number, env)),
    'must be a list of phone numbers'
  ]
]

/**
 * The checked and typed environment, trimmed except for TAKEN_WHOLE. A blank variable counts as not set. Throws a
 * ConfigError.
 */
export function readConfig (source: Record<string, string | undefined>): Env {
  const known = Object.keys(Env.properties)
  const data = Object.fromEntries(
    Object.entries(source).filter(([name, value]) => known.includes(name) && isSet(value)).map(([name, value]) =>
      [name, TAKEN_WHOLE.has(name) ? value : value?.trim()])
  )
  const problems = Object.entries(renamed).flatMap(([old, successor]) =>
    isSet(source[old]) ? [`${old} is called ${successor} now`] : [])
  const bad = new Set<string>()
  const env = parse(data, bad, problems)
  for (const [name, broken, rule] of rules) {
    const fault = !bad.has(name) && broken(env)
    if (fault === false || fault === undefined || fault === '') continue
    bad.add(name)
    problems.push(`${name} ${typeof fault === 'string' ? fault : rule}`)
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return env
}

const isSet = (value: string | undefined) => value !== undefined && value.trim() !== ''

/** A copy, because env-schema changes it. It is compiled once, because it is always the same object. */
const SCHEMA = structuredClone(Env)

/** Parses with the schema. Reports and leaves out bad variables, so that the rules can judge the rest. */
function parse (data: Record<string, string | undefined>, bad: Set<string>, problems: string[]): Env {
  try {
    return envSchema<Env>({ schema: SCHEMA, data, env: false })
  } catch (error) {
    const { errors } = error as {
      errors?: Array<{ instancePath: string, message: string, keyword: string, params: { allowedValues?: string[] } }>
    }
    if (!errors || errors.length === 0) throw error
    for (const { instancePath, message, params } of errors) {
      const name = instancePath.slice(1)
      bad.add(name)
      problems.push(`${name} ${message}${params.allowedValues ? `: ${params.allowedValues.join(', ')}` : ''}`)
    }
    return parse(Object.fromEntries(Object.entries(data).filter(([name]) => !bad.has(name))), bad, problems)
  }
}

/**
 * Proxies whose `X-Forwarded-*` is trusted: none, private networks (`true`), or those listed. Undefined when malformed.
 * A number of hops is malformed: it cannot tell a proxy from a client that poses as one.
 */
export function parseTrustProxy (text: string): false | string[] | undefined {
  if (/^(off|false|0)$/i.test(text)) return false
  if (/^true$/i.test(text)) return PRIVATE_NETWORKS
  const networks = listOf(text)
  return networks.length > 0 && networks.every(isNetwork) ? networks : undefined
}

function isNetwork (text: string): boolean {
  const [address = '', bits, ...rest] = text.split('/')
  const max = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1
  return PRIVATE_NETWORKS.includes(text) ||
    (rest.length === 0 &&
      max > 0 &&
      (bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) > 0 && Number(bits) <= max)))
}

const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** Seconds of a duration such as `30d`; undefined when malformed or zero. */
export function parseDuration (text: string): number | undefined {
  const [, amount, unit] = /^([1-9]\d{0,8})([smhd])$/.exec(text) ?? []
  return amount && unit ? Number(amount) * UNITS[unit]! : undefined
}

/** The same; 0 where there is no bound. */
const parseIdleTime = (text: string) => text === '0' ? 0 : parseDuration(text)

function isIsoDate (text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}(T[\d:.]+(Z|[+-]\d{2}:\d{2}))?$/.test(text) && !Number.isNaN(Date.parse(text))
}

/** The PEM blocks of JWT_PRIVATE_KEY, in order; `\n` may stand for a line break, as environment files need it. */
export function pemBlocks (text: string): string[] {
  return text.replaceAll('\\n', '\n').match(/-----BEGIN [A-Z ]+-----[\s\S]+?-----END [A-Z ]+-----/g) ?? []
}

/**
 * The algorithm that a PEM private key signs with (RFC 7518 §3.4, RFC 8037 §3.1); undefined for every other kind of key
 * or text.
 */
function pemAlgorithm (pem: string): 'ES256' | 'EdDSA' | undefined {
  try {
    const { asymmetricKeyType, asymmetricKeyDetails } = createPrivateKey(pem)
    if (asymmetricKeyType === 'ed25519') return 'EdDSA'
    return asymmetricKeyDetails?.namedCurve === 'prime256v1' ? 'ES256' : undefined
  } catch {
    return undefined
  }
}

function areKeysFor (text: string, algorithm: Env['JWT_ALGORITHM']): boolean {
  const [first, ...others] = pemBlocks(text).map(pemAlgorithm)
  const whole = text.match(/-----BEGIN/g)?.length === others.length + 1
  return whole && first !== undefined && !others.includes(undefined) && (algorithm === 'HS256' || algorithm === first)
}

/**
 * The environment with replacements for what is not set. Throws a ConfigError that names each service that is missing
 * all the same.
 */
export function completeConfig (env: Env, replacements: Partial<Env>): Config {
  const { MONGO_URI, S3_BUCKET, OTP_SECRET, ...rest } = { ...env, ...replacements }
  if (MONGO_URI !== undefined && S3_BUCKET !== undefined && OTP_SECRET !== undefined) {
    return { ...rest, MONGO_URI, S3_BUCKET, OTP_SECRET, ...parsedValues(env) }
  }
  const missing = Object.entries({ MONGO_URI, S3_BUCKET, OTP_SECRET }).filter(([, value]) => value === undefined)
  throw new ConfigError(missing.map(([name]) => `${name} must be set`))
}

/** Values whose text `readConfig` has checked. */
function parsedValues (
  env: Env
): Pick<Config, 'accessTokenSeconds' | 'sessionIdleSeconds' | 'drainSeconds' | 'adminNumbers'> {
  return {
    accessTokenSeconds: parseDuration(env.ACCESS_TOKEN_TTL)!,
    sessionIdleSeconds: parseIdleTime(env.SESSION_IDLE_TTL)!,
    drainSeconds: env.DRAIN_SECONDS ?? (inProduction(env) ? DRAIN_SECONDS : 0),
    adminNumbers: listOf(env.ADMIN_NUMBERS).map(number => normalizePhone(number, env.DEFAULT_REGION)!)
  }
}
