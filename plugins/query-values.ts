import fp from 'fastify-plugin'

/**
 * Converts query parameters, given once and not as `name[…]`: an integer in its plain notation, a boolean as `true` or
 * `false`. Every other value stays as sent, and the schema refuses it. Ajv's `coerceTypes` is not used: it would
 * convert the members of JSON bodies too, and takes `1e3`, `0x10` and ` 5` for integers.
 */
export default fp(async function queryValues (app) {
  app.addHook('preValidation', ({ query, routeOptions }, _reply, done) => {
    const { properties } = (routeOptions.schema?.querystring ?? {}) as {
      properties?: Record<string, { type?: string }>
    }
    const values = query as Record<string, unknown>
    for (const [name, { type }] of Object.entries(properties ?? {})) {
      const value = values[name]
      if (Object.keys(values).some(key => key.startsWith(`${name}[`))) values[name] = [value]
      else if (type === 'integer' &&
        typeof value === 'string' &&
        /^(0|-?[1-9][0-9]*)$/.test(value)) values[name] = Number(value)
      else if (type === 'boolean' && (value === 'true' || value === 'false')) values[name] = value === 'true'
    }
    done()
  })
}, { name: 'query-values' })
