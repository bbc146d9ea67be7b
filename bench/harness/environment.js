/** The environment of the service and its contenders: stores that are not measured, and a log of warnings only. */
export const environment = ({ mongoUri, endpoint }) => ({
  NODE_ENV: 'test',
  LOG_LEVEL: 'warn',
  MONGO_URI: mongoUri,
  S3_ENDPOINT: endpoint,
  S3_BUCKET: 'bench',
  S3_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'bench',
  AWS_SECRET_ACCESS_KEY: 'bench',
  JWT_SECRET_KEY: 'wS1zUu3hW6vX0yQ9kD2fB7nM4pL8rT5c',
  OTP_SECRET: 'Hq7Vn2Zx9Lk4Jf1Gs8Da3Pe6Rt0Yw5Ub'
})

/**
 * The environment of `npm start` in production, behind a proxy on this machine, with its log on. The limits are so high
 * that everything is counted and nothing is refused. A test number signs in with a known code.
 */
export const production = stores => ({
  ...environment(stores),
  NODE_ENV: 'production',
  LOG_LEVEL: 'info',
  HOST: '127.0.0.1',
  DRAIN_SECONDS: '0', // ends at once
  TRUST_PROXY: 'loopback',
  SMS_CONSOLE_IN_PRODUCTION: 'true',
  OTP_TEST_NUMBERS: TEST_NUMBERS.map(number => `${number}:${TEST_CODE}`).join(','),
  LIMIT_SMS_PER_ADDRESS: '1000000',
  LIMIT_FAILURES_PER_ADDRESS: '1000000',
  SMS_HOURLY_CAP: '10000000',
  SMS_DAILY_CAP: '10000000',
  FRAUD_MIN_VERIFIED: '0'
})

export const TEST_CODE = '246813'
export const TEST_NUMBERS = Array.from({ length: 20 }, (_, i) => `+9199999000${String(i).padStart(2, '0')}`)
