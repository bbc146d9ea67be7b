import { Type, type Static } from '@sinclair/typebox'

const Text = () => Type.Optional(Type.String())
const Integer = (value: number, minimum = 0, maximum = Number.MAX_SAFE_INTEGER) => Type.Integer({
  default: value,
  minimum,
  maximum
})
const OptionalInteger = (minimum = 0, maximum = Number.MAX_SAFE_INTEGER) => Type.Optional(Type.Integer({
  minimum,
  maximum
}))
const Flag = (value: boolean) => Type.Boolean({ default: value })
const OneOf = <const T extends string[]>(values: T, value: T[number]) => Type.Unsafe<T[number]>({
  type: 'string',
  enum: values,
  default: value
})

/**
 * The environment, by the names that an operator types. Rules that need more than one value or a parser are in
 * services/config.ts.
 */
export const Env = Type.Object({
  NODE_ENV: OneOf(['development', 'production', 'test'], 'development'),
  PORT: Integer(5000, 0, 65535),
  HOST: Text(),
  LOG_LEVEL: OneOf(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'], 'info'),
  TRUST_PROXY: Type.String({ default: 'off' }),
  DATA_DIR: Type.String({ default: '.data' }),
  PUBLIC_URL: Text(),
  CORS_ORIGINS: Text(),
  DOCS: Type.Optional(Type.Boolean()),
  CONSOLE: Type.Optional(Type.Boolean()),
  METRICS_TOKEN: Text(),
  DRAIN_SECONDS: OptionalInteger(0, 3600),
  MAX_CONNECTIONS: Integer(2000, 1),
  MAX_REQUESTS: Integer(500, 1),
  OTEL_EXPORTER_OTLP_ENDPOINT: Text(),
  OTEL_EXPORTER_OTLP_PROTOCOL: OneOf(['http/protobuf', 'http/json'], 'http/protobuf'),

  LIMIT_SMS_PER_ADDRESS: Integer(30),
  LIMIT_FAILURES_PER_ADDRESS: Integer(100),
  SMS_HOURLY_CAP: OptionalInteger(),
  SMS_DAILY_CAP: OptionalInteger(),
  FRAUD_MIN_SMS: Integer(30),
  FRAUD_MIN_VERIFIED: Type.Number({ default: 0.2, minimum: 0, maximum: 1 }),

  MONGO_URI: Text(),
  EMBEDDED_MONGO_PORT: OptionalInteger(1, 65535),
  EMBEDDED_S3_PORT: OptionalInteger(1, 65535),

  JWT_SECRET_KEY: Text(),
  JWT_ALGORITHM: OneOf(['HS256', 'ES256', 'EdDSA'], 'HS256'),
  JWT_PRIVATE_KEY: Text(),
  JWT_LEGACY_SECRET: Text(),
  ACCESS_TOKEN_TTL: Type.String({ default: '365d' }),
  SESSION_IDLE_TTL: Type.String({ default: '90d' }),

  OTP_SECRET: Text(),
  OTP_EXPIRY_SECONDS: Integer(300, 30, 600),
  OTP_TEST_NUMBERS: Text(),
  OTP_TEST_NUMBERS_UNTIL: Text(),
  DEFAULT_REGION: Type.String({ default: 'IN' }),
  SMS_PROVIDER: Type.String({ default: 'console' }),
  SMS_CONSOLE_IN_PRODUCTION: Flag(false),
  SMS_BRAND: Type.String({ default: 'Hookaba' }),
  SMS_ANDROID_HASH: Type.String({ default: 'FA+9qCX9VSu' }),
  SMS_WEB_ORIGIN: Text(),
  SMS_ALLOWED_COUNTRIES: Type.String({ default: 'IN' }),

  SMS_HTTP_URL: Text(),
  SMS_HTTP_TOKEN: Text(),
  TWILIO_CHANNEL: OneOf(['sms', 'whatsapp'], 'sms'),
  TWILIO_ACCOUNT_SID: Text(),
  TWILIO_AUTH_TOKEN: Text(),
  TWILIO_PHONE_NUMBER: Text(),
  TWILIO_API_URL: Text(),

  S3_BUCKET: Text(),
  S3_REGION: Type.String({ default: 'us-east-1' }),
  S3_ENDPOINT: Text(),
  S3_FORCE_PATH_STYLE: Type.Optional(Type.Boolean()),
  S3_PUBLIC_URL: Text(),
  S3_PUBLIC_ENDPOINT: Text(),
  AWS_ACCESS_KEY_ID: Text(),
  AWS_SECRET_ACCESS_KEY: Text(),
  AWS_SESSION_TOKEN: Text(),

  UPLOAD_MAX_BYTES: Integer(10_485_760, 1),
  UPLOAD_MAX_SECONDS: Integer(600, 1, 86_400),
  UPLOAD_QUOTA_BYTES: OptionalInteger(),
  UPLOAD_QUOTA_ITEMS: OptionalInteger(),
  SWEEP_INTERVAL_SECONDS: Integer(60, 0, 86_400),
  RENDITION_MAX_BYTES: Integer(98_304, 1),
  RENDITION_SIZES: Type.String({ default: '64x64' }),
  LIBRARY_URL_RENDITION: Text(),

  REPORTS_TO_HIDE: Integer(3),
  MODERATION_WEBHOOK_URL: Text(),
  MODERATION_WEBHOOK_SECRET: Text(),

  ADMIN_NUMBERS: Text(),
  USERS_REQUIRE_OWN_NUMBER: Flag(true)
})

export type Env = Static<typeof Env>

/**
 * An environment that names every service that this process needs, set by the operator or by the emulators.
 */
export type Config = Env & Required<Pick<Env, 'MONGO_URI' | 'S3_BUCKET' | 'OTP_SECRET'>> & {
  /** ACCESS_TOKEN_TTL in seconds. */
  accessTokenSeconds: number
  /** SESSION_IDLE_TTL in seconds; 0: a session may be unused for as long as it lives. */
  sessionIdleSeconds: number
  /** DRAIN_SECONDS, or its default. */
  drainSeconds: number
  /** ADMIN_NUMBERS in E.164. */
  adminNumbers: string[]
}
