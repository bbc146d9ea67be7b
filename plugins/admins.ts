import fp from 'fastify-plugin'
import { maskPhone } from '../services/phone.js'

/** The users of ADMIN_NUMBERS are admins, at every start; those who come later, when they come. */
export default fp(async function admins (app) {
  for (const phone of await app.standing.appoint()) {
    const details = { by: 'ADMIN_NUMBERS', admin: true }
    app.log.info({ event: 'admin.changed', phone: maskPhone(phone), ...details })
    app.metrics.events.inc({ event: 'admin.changed', reason: '' })
    app.audit.add({ event: 'admin.changed', phone, address: '', requestId: '', details })
  }
}, { name: 'admins', dependencies: ['standing', 'audit', 'metrics'] })
