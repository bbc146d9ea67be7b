import fp from 'fastify-plugin'
import type { Config } from '../schemas/env.js'
import type { AppSettings } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyInstance {
    config: Config
  }
}

/** `app.config`: the environment, already checked by the caller of buildApp. */
export default fp<AppSettings>(async function env (app, { config }) {
  app.decorate('config', config)
}, { name: 'env' })
