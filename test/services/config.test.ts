import { generateKeyPairSync, randomBytes } from 'node:crypto'
import t from 'tap'
import { parseDuration, parseTrustProxy, readConfig } from '../../services/config.js'
import { refusal } from '../helpers/config-refusal.js'

const strong = 'b7Kp2Wq9Zt4Xv6Ny1Rm8Lc3Hs5Jd0GfA'
const production = {
  NODE_ENV: 'production',
  MONGO_URI: 'mongodb://db/hookaba',
  S3_BUCKET: 'hookaba-media',
  OTP_SECRET: strong,
  JWT_SECRET_KEY: 'q1Zt4Xv6Ny1Rm8Lc3Hs5Jd0GfAb7Kp2W',
  SMS_CONSOLE_IN_PRODUCTION: 'true'
}
const pem = (type: 'ec' | 'ed25519', namedCurve = 'prime256v1') => (type === 'ec'
  ? generateKeyPairSync('ec', { namedCurve })
  : generateKeyPairSync('ed25519')).privateKey
  .export({ type: 'pkcs8', format: 'pem' })
  .toString()

t.test('readConfig gives defaults for an empty environment, and takes empty values as unset', async t => {
  const config = readConfig({ PORT: '', MONGO_URI: '  ', PATH: '/bin', UNKNOWN: 'x' })
  t.match(config, {
    NODE_ENV: 'development',
    PORT: 5000,
    LOG_LEVEL: 'info',
    DATA_DIR: '.data',
    UPLOAD_MAX_BYTES: 10485760,
    OTP_EXPIRY_SECONDS: 300,
    SMS_PROVIDER: 'console',
    USERS_REQUIRE_OWN_NUMBER: true,
    S3_REGION: 'us-east-1'
  })
  t.equal(config.MONGO_URI, undefined)
  t.notOk('UNKNOWN' in config)
})

t.test('readConfig refuses every bad configuration by its name, and repeats no value', async t => {
  const bad: Record<string, string[]> = {
    NODE_ENV: ['prod'],
    PORT: ['http', '70000', '-1'],
    LOG_LEVEL: ['loud'],
    TRUST_PROXY: ['3', 'nearby', '10.0.0.0/99'],
    PUBLIC_URL: ['api.example.com', 'https://user:pass@api.example.com', 'https://api.example.com/?a=b'],
    REPORTS_TO_HIDE: ['-1', 'three', '1.5'],
    MODERATION_WEBHOOK_SECRET: [
      'secret',
      'whsec_short',
      `whsec_${'A'.repeat(200)}`,
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw MfKQ9r8GKYo=',
      'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo='
    ],
    SMS_HTTP_URL: ['http://user:pass@gateway.example.com', 'ftp://gateway.example.com'],
    S3_ENDPOINT: ['http://key:pass@s3.example.com', 'localhost:9000'],
    CORS_ORIGINS: ['https://a.example.com/path'],
    DOCS: ['yes'],
    METRICS_TOKEN: ['short'],
    LIMIT_SMS_PER_ADDRESS: ['-5'],
    SMS_DAILY_CAP: ['many'],
    FRAUD_MIN_VERIFIED: ['1.5'],
    MONGO_URI: ['postgres://db/x', 'mongodb:///hookaba'],
    EMBEDDED_MONGO_PORT: ['0'],
    JWT_SECRET_KEY: [
      'jwt-secret',
      'x'.repeat(40),
      'change-me-change-me-change-me-change-me',
      'your-256-bit-secret-your-secret-here-now',
      `tooshort,${strong}`
    ],
    JWT_ALGORITHM: ['none'],
    JWT_ACCEPT_LEGACY: ['maybe'],
    ACCESS_TOKEN_TTL: ['30 days', '0d', '3651d'],
    OTP_SECRET: ['dev-secret', 'ab'.repeat(16)],
    OTP_EXPIRY_SECONDS: ['5', '86400'],
    OTP_TEST_NUMBERS: ['+919999900000', 'nobody:123456', '+919999900000:123456,099999 00000:654321'],
    OTP_TEST_NUMBERS_UNTIL: ['tomorrow'],
    SWEEP_INTERVAL_SECONDS: ['3000000'],
    DEFAULT_REGION: ['India'],
    SMS_PROVIDER: ['pigeon', ','],
    SMS_BRAND: ['Brand 12345', 'x'.repeat(80)],
    SMS_ANDROID_HASH: ['short'],
    SMS_WEB_ORIGIN: ['https://app.example.com'],
    SMS_ALLOWED_COUNTRIES: ['IN,Nowhere'],
    TWILIO_ACCOUNT_SID: ['SK0123'],
    TWILIO_PHONE_NUMBER: ['me'],
    TWILIO_CHANNEL: ['fax'],
    TWILIO_API_URL: ['twilio'],
    S3_BUCKET: ['No_Bucket'],
    S3_REGION: ['US East'],
    S3_PUBLIC_URL: ['/media'],
    S3_FORCE_PATH_STYLE: ['perhaps'],
    UPLOAD_MAX_BYTES: ['10MB', '0'],
    UPLOAD_MAX_SECONDS: ['0'],
    RENDITION_SIZES: ['64'],
    LIBRARY_URL_RENDITION: ['128x128'],
    ADMIN_NUMBERS: ['root'],
    USERS_REQUIRE_OWN_NUMBER: ['2']
  }
  const badBeside: Array<{ name: string, value: string, rest: Record<string, string> }> = [
    { name: 'JWT_PRIVATE_KEY', value: 'not a key', rest: { JWT_ALGORITHM: 'ES256' } },
    { name: 'JWT_PRIVATE_KEY', value: pem('ed25519'), rest: { JWT_ALGORITHM: 'ES256' } },
    { name: 'JWT_PRIVATE_KEY', value: pem('ec', 'secp384r1'), rest: { JWT_ALGORITHM: 'ES256' } },
    { name: 'JWT_PRIVATE_KEY', value: pem('ec'), rest: { JWT_ALGORITHM: 'EdDSA' } },
    { name: 'OTP_TEST_NUMBERS', value: '+919999900000:123456', rest: { ADMIN_NUMBERS: '+919876543210,9999900000' } },
    { name: 'SMS_WEB_ORIGIN', value: `${'a'.repeat(55)}.com`, rest: { SMS_BRAND: 'é'.repeat(30) } }
  ]
  for (const value of ['http://user:pass@hooks.example.com', 'ftp://hooks.example.com', 'hooks.example.com']) {
    const MODERATION_WEBHOOK_SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo='
    badBeside.push({ name: 'MODERATION_WEBHOOK_URL', value, rest: { MODERATION_WEBHOOK_SECRET } })
  }
  const cases = [
    ...Object.entries(bad).flatMap(([name, values]) => values.map(value => ({ name, value, rest: {} }))),
    ...badBeside
  ]
  for (const { name, value, rest } of cases) {
    const message = refusal({ ...rest, [name]: value })
    t.match(message, new RegExp(`^Refusing to start: ${name} [^;]+\\.$`), `${name}=${value.slice(0, 30)}`)
    if (value.length > 4) t.notOk(message.includes(value), 'without the value')
  }
})

t.test(
  'readConfig refuses a variable under the name of an earlier version, and names its successor',
  async t => {
    t.equal(
      refusal({ LIMIT_TEXTS_PER_ADDRESS: '7', FRAUD_MIN_TEXTS: '8' }),
      'Refusing to start: LIMIT_TEXTS_PER_ADDRESS is called LIMIT_SMS_PER_ADDRESS now; FRAUD_MIN_TEXTS is called FRAUD_MIN_SMS now.'
    )
    t.ok(readConfig({ LIMIT_TEXTS_PER_ADDRESS: ' ', FRAUD_MIN_TEXTS: '' }), 'set to nothing is not set')
  }
)

t.test('readConfig in production refuses every default, and names all faults in one message', async t => {
  t.ok(readConfig(production))
  for (const name of ['MONGO_URI', 'S3_BUCKET', 'OTP_SECRET', 'JWT_SECRET_KEY'] as const) {
    t.match(
      refusal({ ...production, [name]: '' }),
      new RegExp(`^Refusing to start: ${name} must be set in production\\.$`)
    )
  }
  t.match(
    refusal({ ...production, SMS_CONSOLE_IN_PRODUCTION: 'false' }),
    /^Refusing to start: SMS_PROVIDER must not be console in production/
  )
  t.match(
    refusal({ ...production, SMS_PROVIDER: 'mock', SMS_CONSOLE_IN_PRODUCTION: '' }),
    /SMS_PROVIDER must not be console/
  )
  t.ok(readConfig({
    ...production,
    JWT_SECRET_KEY: '',
    JWT_ALGORITHM: 'EdDSA',
    JWT_PRIVATE_KEY: pem('ed25519').replaceAll('\n', '\\n')
  }))
  t.match(refusal({ ...production, JWT_ALGORITHM: 'ES256' }), /JWT_PRIVATE_KEY must be set/)
  const message = refusal({ NODE_ENV: 'production', PORT: 'x', UPLOAD_MAX_BYTES: '-1', SMS_PROVIDER: 'twilio,http' })
  for (const name of [
    'PORT', 'UPLOAD_MAX_BYTES', 'MONGO_URI', 'S3_BUCKET', 'OTP_SECRET', 'JWT_SECRET_KEY', 'TWILIO_ACCOUNT_SID',
    'TWILIO_AUTH_TOKEN', 'TWILIO_PHONE_NUMBER', 'SMS_HTTP_URL'
  ]) {
    t.match(message, `${name} `)
  }
})

t.test('parseTrustProxy and parseDuration read what an operator writes', async t => {
  t.equal(parseTrustProxy('off'), false)
  t.same(parseTrustProxy('true'), ['loopback', 'linklocal', 'uniquelocal'])
  t.same(parseTrustProxy('10.0.0.0/8, ::1, loopback'), ['10.0.0.0/8', '::1', 'loopback'])
  t.equal(parseTrustProxy('1'), undefined)
  t.same(['90s', '15m', '2h', '30d', '1.5h', 'd'].map(parseDuration), [90, 900, 7200, 2592000, undefined, undefined])
})

t.test('readConfig: white space around a value counts for nothing, but inside a PEM block it stays', async t => {
  const key = pem('ed25519')
  const spaced = (value: string) => `\uFEFF\t ${value} \r\n`
  const config = readConfig({
    ...Object.fromEntries(Object.entries(production).map(([name, value]) => [name, spaced(value)])),
    PORT: '8080\n',
    JWT_ALGORITHM: ' EdDSA',
    JWT_PRIVATE_KEY: spaced(key),
    DOCS: 'true\n',
    FRAUD_MIN_VERIFIED: ' 0.5\n',
    SMS_ALLOWED_COUNTRIES: ' IN , NP\n',
    METRICS_TOKEN: spaced('b7Kp2Wq9Zt4Xv6Ny'),
    TRUST_PROXY: 'true\n',
    ADMIN_NUMBERS: '\n',
    UPLOAD_QUOTA_ITEMS: ' '
  })
  t.match(config, {
    ...production,
    SMS_CONSOLE_IN_PRODUCTION: true,
    PORT: 8080,
    JWT_ALGORITHM: 'EdDSA',
    DOCS: true,
    FRAUD_MIN_VERIFIED: 0.5,
    SMS_ALLOWED_COUNTRIES: 'IN , NP',
    METRICS_TOKEN: 'b7Kp2Wq9Zt4Xv6Ny',
    TRUST_PROXY: 'true'
  })
  t.equal(config.JWT_PRIVATE_KEY, key.trim())
  t.match([config.ADMIN_NUMBERS, config.UPLOAD_QUOTA_ITEMS], [undefined, undefined])
  t.ok(readConfig({ ...production, JWT_ALGORITHM: 'EdDSA', JWT_PRIVATE_KEY: ` ${key.replaceAll('\n', '\\n')} ` }))
})

t.test('readConfig: a malformed MONGO_URI is refused with its reason, and no part of it is repeated', async t => {
  for (const [uri, reason] of [
    ['postgres://db/x', 'must begin with mongodb:// or'],
    ['mongodb://', 'must begin with mongodb:// or mongodb+srv:// and name a host'],
    ['mongodb://user:hid@den@db/x', 'must have % codes'],
    ['mongodb://user:hid/den@db/x', 'must have % codes'],
    ['mongodb://user:hid?den@db/x', 'must have % codes'],
    ['mongodb://user:hidden@db:port/x', 'must name its hosts as'],
    ['mongodb://user:hidden@db:70000/x', 'must name its hosts as'],
    ['mongodb+srv://user:hidden@db.example.com:27017/x', 'must name one host and no port'],
    ['mongodb://user:hidden@db/a b', 'must name a database'],
    ['mongodb://user:hidden@db/x?hiddenOption=1', 'has an option'],
    ['mongodb://user:hidden@db/x?maxPoolSize=hidden', 'has an option'],
    ['mongodb://user:hid%zzden@db/x', 'has an option']
  ]) {
    const message = refusal({ MONGO_URI: uri! })
    t.ok(message.startsWith(`Refusing to start: MONGO_URI ${reason}`), `${uri}: ${message}`)
    t.notMatch(message, /hid|den|70000|db\./)
  }
  for (const uri of [
    'mongodb://db',
    'mongodb://a:1,b:2/x?replicaSet=rs0',
    'mongodb://us%40er:p%2Fw@[::1]:27017/?authSource=admin',
    'mongodb+srv://user:p@db.example.com/x?retryWrites=true&w=majority'
  ]) {
    t.equal(refusal({ MONGO_URI: uri }), 'accepted', uri)
  }
})

t.test('readConfig: a network of all addresses is not trusted as a proxy', async t => {
  for (const text of ['0.0.0.0/0', '::/0', '10.0.0.0/8, 0.0.0.0/0']) {
    t.match(refusal({ TRUST_PROXY: text }), /^Refusing to start: TRUST_PROXY must not trust every address/)
  }
})

t.test(
  'readConfig in production refuses a guessable token, one secret for two purposes, and a gateway without TLS',
  async t => {
    for (const token of [
      'aaaaaaaaaaaaaaaa', 'abababababababab', '0123456789abcdef', '1234567890123456', 'metrics-token-12',
      'prometheus-token', 'change-me-change-me'
    ]) {
      t.match(
        refusal({ ...production, METRICS_TOKEN: token }),
        /^Refusing to start: METRICS_TOKEN must be random in production[^;]*$/,
        token
      )
      t.equal(refusal({ METRICS_TOKEN: token }), 'accepted', 'on a laptop')
    }
    for (const token of ['b7Kp2Wq9Zt4Xv6Ny', '9f86d081884c7d659a2feaa0c55ad015', 'metrics-token-of-the-scraper']) {
      t.equal(refusal({ ...production, METRICS_TOKEN: token }), 'accepted')
    }
    t.match(refusal({ ...production, OTP_SECRET: '01234567890123456789012345678901' }), /OTP_SECRET must have/)

    const others = { JWT_SECRET_KEY: 'q1Zt4Xv6Ny1Rm8Lc3Hs5Jd0GfAb7Kp2W' }
    t.equal(refusal({ ...production, ...others }), 'accepted')
    for (const env of [{ JWT_SECRET_KEY: strong }, { JWT_SECRET_KEY: `${others.JWT_SECRET_KEY}, ${strong}` }]) {
      t.match(refusal({ ...production, ...env }), /OTP_SECRET must not be the same as JWT_SECRET_KEY/)
    }
    for (const name of ['METRICS_TOKEN', 'SMS_HTTP_TOKEN', 'TWILIO_AUTH_TOKEN', 'AWS_SECRET_ACCESS_KEY']) {
      const message = refusal({ ...production, ...others, [name]: strong })
      t.match(message, new RegExp(`^Refusing to start: ${name} must not be the same as OTP_SECRET\\.$`))
      t.notOk(message.includes(strong))
      t.equal(refusal({ OTP_SECRET: strong, [name]: strong }), 'accepted', 'on a laptop')
    }

    t.match(
      refusal({ MODERATION_WEBHOOK_URL: 'https://hooks.example.com' }),
      /MODERATION_WEBHOOK_SECRET must be set with MODERATION_WEBHOOK_URL/
    )
    const MODERATION_WEBHOOK_SECRET = `whsec_${randomBytes(32).toString('base64')}`
    for (const name of ['SMS_HTTP_URL', 'TWILIO_API_URL', 'MODERATION_WEBHOOK_URL']) {
      const others = { JWT_SECRET_KEY: 'q1Zt4Xv6Ny1Rm8Lc3Hs5Jd0GfAb7Kp2W', MODERATION_WEBHOOK_SECRET }
      for (const url of [
        'http://gateway.example.com/send', 'HTTP://10.0.0.5/send', 'http://127.0.0.1.example.com',
        'http://localhost.example.com'
      ]) {
        t.match(
          refusal({ ...production, ...others, [name]: url }),
          new RegExp(`^Refusing to start: ${name} must be an https URL in production`),
          url
        )
      }
      for (const url of [
        'https://gateway.example.com/send', 'http://127.0.0.1:9000/send', 'http://localhost/send', 'http://[::1]:9000'
      ]) {
        t.equal(refusal({ ...production, ...others, [name]: url }), 'accepted', url)
      }
      t.equal(refusal({ ...others, [name]: 'http://gateway.example.com/send' }), 'accepted', 'on a laptop')
    }
  }
)
