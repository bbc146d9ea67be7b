/**
 * The service itself, from dist/, configured by the environment. IMAGES=off leaves pictures undecoded. One user is
 * signed in.
 */
import { buildApp } from '../../dist/app.js'
import { completeConfig, readConfig } from '../../dist/services/config.js'
import { growHeapGenerously } from '../../dist/services/heap.js'
import { serveParent } from '../harness/child.js'

growHeapGenerously() // as server.ts does
const app = await buildApp({
  config: completeConfig(readConfig(process.env), {}),
  images: process.env.IMAGES !== 'off',
  storeSilenceMs: 60_000
})
const url = await app.listen({ port: 0, host: '127.0.0.1' })
const caller = await app.sessions.open('+919876543210', {
  address: '127.0.0.1',
  userAgent: 'bench',
  log: app.log,
  record () {}
})
serveParent({ url, token: app.issueToken(caller).token })
