import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { parseDuration, parseTrustProxy, readConfig } from '../../services/config.js'
import { refusal } from '../refusal.js'

const strong = 'b7Kp2Wq9Zt4Xv6Ny1Rm8Lc3Hs5Jd0GfA'
const production = { NODE_ENV: 'production', MONGO_URI: 'mongodb://db/hookaba', S3_BUCKET: 'hookaba-media', OTP_SECRET: strong, JWT_SECRET_KEY: strong, SMS_CONSOLE_IN_PRODUCTION: 'true' }
const pem = (type: 'ec' | 'ed25519', namedCurve = 'prime256v1') => (type === 'ec' ? generateKeyPairSync('ec', { namedCurve }) : generateKeyPairSync('ed25519')).privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

t.test('readConfig → defaults for an empty environment, and nothing that was set to nothing', async t => {
  const config = readConfig({ PORT: '', MONGO_URI: '  ', PATH: '/bin', UNKNOWN: 'x' })
  t.match(config, { NODE_ENV: 'development', PORT: 5000, LOG_LEVEL: 'info', DATA_DIR: '.data', UPLOAD_MAX_BYTES: 10485760, OTP_EXPIRY_SECONDS: 300, SMS_PROVIDER: 'console', USERS_REQUIRE_OWN_NUMBER: true, S3_REGION: 'us-east-1' })
  t.equal(config.MONGO_URI, undefined)
  t.notOk('UNKNOWN' in config)
})

t.test('readConfig → every bad configuration is refused by its name, and no value is repeated', async t => {
  const bad: Array<[string, string, Record<string, string>?]> = [
    ['NODE_ENV', 'prod'], ['PORT', 'http'], ['PORT', '70000'], ['PORT', '-1'], ['LOG_LEVEL', 'loud'], ['TRUST_PROXY', '3'], ['TRUST_PROXY', 'nearby'], ['TRUST_PROXY', '10.0.0.0/99'], ['PUBLIC_URL', 'api.example.com'], ['PUBLIC_URL', 'https://user:pass@api.example.com'], ['PUBLIC_URL', 'https://api.example.com/?a=b'], ['SMS_HTTP_URL', 'http://user:pass@gateway.example.com'], ['S3_ENDPOINT', 'http://key:pass@s3.example.com'], ['CORS_ORIGINS', 'https://a.example.com/path'],
    ['DOCS', 'yes'], ['METRICS_TOKEN', 'short'], ['LIMIT_SMS_PER_ADDRESS', '-5'], ['SMS_DAILY_CAP', 'many'], ['FRAUD_MIN_VERIFIED', '1.5'],
    ['MONGO_URI', 'postgres://db/x'], ['MONGO_URI', 'mongodb:///hookaba'], ['EMBEDDED_MONGO_PORT', '0'],
    ['JWT_SECRET_KEY', 'jwt-secret'], ['JWT_SECRET_KEY', 'x'.repeat(40)], ['JWT_SECRET_KEY', 'change-me-change-me-change-me-change-me'], ['JWT_SECRET_KEY', 'your-256-bit-secret-your-secret-here-now'], ['JWT_SECRET_KEY', `tooshort,${strong}`],
    ['JWT_ALGORITHM', 'none'], ['JWT_PRIVATE_KEY', 'not a key', { JWT_ALGORITHM: 'ES256' }], ['JWT_PRIVATE_KEY', pem('ed25519'), { JWT_ALGORITHM: 'ES256' }], ['JWT_PRIVATE_KEY', pem('ec', 'secp384r1'), { JWT_ALGORITHM: 'ES256' }], ['JWT_PRIVATE_KEY', pem('ec'), { JWT_ALGORITHM: 'EdDSA' }],
    ['JWT_ACCEPT_LEGACY', 'maybe'], ['ACCESS_TOKEN_TTL', '30 days'], ['ACCESS_TOKEN_TTL', '0d'],
    ['OTP_SECRET', 'dev-secret'], ['OTP_SECRET', 'ab'.repeat(16)], ['OTP_EXPIRY_SECONDS', '5'], ['OTP_EXPIRY_SECONDS', '86400'], ['OTP_TEST_NUMBERS', '+919999900000'], ['OTP_TEST_NUMBERS', 'nobody:123456'], ['OTP_TEST_NUMBERS', '+919999900000:123456,099999 00000:654321'], ['OTP_TEST_NUMBERS', '+919999900000:123456', { ADMIN_NUMBERS: '+919876543210,9999900000' }], ['OTP_TEST_NUMBERS_UNTIL', 'tomorrow'], ['ACCESS_TOKEN_TTL', '3651d'], ['SWEEP_INTERVAL_SECONDS', '3000000'],
    ['DEFAULT_REGION', 'India'], ['SMS_PROVIDER', 'pigeon'], ['SMS_PROVIDER', ','], ['SMS_BRAND', 'Brand 12345'], ['SMS_BRAND', 'x'.repeat(80)], ['SMS_ANDROID_HASH', 'short'], ['SMS_WEB_ORIGIN', 'https://app.example.com'], ['SMS_ALLOWED_COUNTRIES', 'IN,Nowhere'],
    ['SMS_WEB_ORIGIN', `${'a'.repeat(55)}.com`, { SMS_BRAND: 'é'.repeat(30) }], ['SMS_HTTP_URL', 'ftp://gateway.example.com'], ['TWILIO_ACCOUNT_SID', 'SK0123'], ['TWILIO_PHONE_NUMBER', 'me'], ['TWILIO_CHANNEL', 'fax'], ['TWILIO_API_URL', 'twilio'],
    ['S3_BUCKET', 'No_Bucket'], ['S3_REGION', 'US East'], ['S3_ENDPOINT', 'localhost:9000'], ['S3_PUBLIC_URL', '/media'], ['S3_FORCE_PATH_STYLE', 'perhaps'],
    ['UPLOAD_MAX_BYTES', '10MB'], ['UPLOAD_MAX_BYTES', '0'], ['UPLOAD_MAX_SECONDS', '0'], ['RENDITION_SIZES', '64'], ['LIBRARY_URL_RENDITION', '128x128'], ['ADMIN_NUMBERS', 'root'], ['USERS_REQUIRE_OWN_NUMBER', '2']
  ]
  for (const [name, value, rest] of bad) {
    const message = refusal({ ...rest, [name]: value })
    t.match(message, new RegExp(`^Refusing to start: ${name} [^;]+\\.$`), `${name}=${value.slice(0, 30)}`)
    if (value.length > 4) t.notOk(message.includes(value), 'without the value')
  }
})

t.test('readConfig → a variable under the name of an earlier version is refused, and its successor is named', async t => {
  t.equal(refusal({ LIMIT_TEXTS_PER_ADDRESS: '7', FRAUD_MIN_TEXTS: '8' }), 'Refusing to start: LIMIT_TEXTS_PER_ADDRESS is called LIMIT_SMS_PER_ADDRESS now; FRAUD_MIN_TEXTS is called FRAUD_MIN_SMS now.')
  t.ok(readConfig({ LIMIT_TEXTS_PER_ADDRESS: ' ', FRAUD_MIN_TEXTS: '' }), 'set to nothing is not set')
})

t.test('A19: readConfig → production refuses every default, and names all that is wrong in one message', async t => {
  t.ok(readConfig(production))
  for (const name of ['MONGO_URI', 'S3_BUCKET', 'OTP_SECRET', 'JWT_SECRET_KEY'] as const) t.match(refusal({ ...production, [name]: '' }), new RegExp(`^Refusing to start: ${name} must be set in production\\.$`))
  t.match(refusal({ ...production, SMS_CONSOLE_IN_PRODUCTION: 'false' }), /^Refusing to start: SMS_PROVIDER must not be console in production/)
  t.match(refusal({ ...production, SMS_PROVIDER: 'mock', SMS_CONSOLE_IN_PRODUCTION: '' }), /SMS_PROVIDER must not be console/)
  t.ok(readConfig({ ...production, JWT_SECRET_KEY: '', JWT_ALGORITHM: 'EdDSA', JWT_PRIVATE_KEY: pem('ed25519').replaceAll('\n', '\\n') }))
  t.match(refusal({ ...production, JWT_ALGORITHM: 'ES256' }), /JWT_PRIVATE_KEY must be set/)
  const message = refusal({ NODE_ENV: 'production', PORT: 'x', UPLOAD_MAX_BYTES: '-1', SMS_PROVIDER: 'twilio,http' })
  for (const name of ['PORT', 'UPLOAD_MAX_BYTES', 'MONGO_URI', 'S3_BUCKET', 'OTP_SECRET', 'JWT_SECRET_KEY', 'TWILIO_ACCOUNT_SID', 'TWILIO_AUTH_TOKEN', 'TWILIO_PHONE_NUMBER', 'SMS_HTTP_URL']) t.match(message, `${name} `)
})

t.test('parseTrustProxy and parseDuration → what an operator writes', async t => {
  t.equal(parseTrustProxy('off'), false)
  t.same(parseTrustProxy('true'), ['loopback', 'linklocal', 'uniquelocal'])
  t.same(parseTrustProxy('10.0.0.0/8, ::1, loopback'), ['10.0.0.0/8', '::1', 'loopback'])
  t.equal(parseTrustProxy('1'), undefined)
  t.same(['90s', '15m', '2h', '30d', '1.5h', 'd'].map(parseDuration), [90, 900, 7200, 2592000, undefined, undefined])
})
