import fp from 'fastify-plugin'
import { createSignIn } from '../services/login/sign-in.js'
import type { createSessions } from '../services/sessions/sessions.js'

type Opened = NonNullable<Awaited<ReturnType<ReturnType<typeof createSessions>['open']>>>

declare module 'fastify' {
  interface FastifyInstance {
    signIn: ReturnType<typeof createSignIn<Opened>>
  }
}

/** `app.signIn`: exchanges a code for a session. */
export default fp(async function signIn (app) {
  const { config, login, sessions, testNumbers, now } = app
  app.decorate('signIn', createSignIn({
    login,
    open: sessions.open,
    testNumbers,
    region: config.DEFAULT_REGION,
    now
  }))
}, { name: 'sign-in', dependencies: ['env', 'clock', 'login', 'sessions', 'test-numbers'] })
