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
