import fp from 'fastify-plugin'
import type { Config } from '../schemas/env.js'
import type { AppOptions } from '../app.js'

declare module 'fastify' {
  interface FastifyInstance {
    config: Config
  }
}

/** `app.config`: the environment, already checked by whoever built the app. */
export default fp<AppOptions>(async function env (app, { config }) {
  app.decorate('config', config)
}, { name: 'env' })
