/**
 * The child process of `forked-service.ts`. It tells its parent where it listens and, when asked, the most memory it
 * ever held.
 */
import { buildApp } from '../../app.js'
import { completeConfig, readConfig } from '../../services/config.js'
import { PATIENCE } from './patience.js'

const app = await buildApp({
  config: completeConfig(readConfig(process.env), {}),
  sendSms: async () => {},
  ...PATIENCE,
  images: process.env.IMAGES !== 'false'
})
const url = await app.listen({ port: 0, host: '127.0.0.1' })
process.on('message', () => process.send!(process.resourceUsage().maxRSS * 1024))
process.on('disconnect', () => process.exit())
const caller = (await app.sessions.open('+919876543210', {
  address: '127.0.0.1',
  userAgent: 'test',
  log: app.log,
  record () {}
}))!
process.send!({ url, token: app.issueToken(caller).token })
