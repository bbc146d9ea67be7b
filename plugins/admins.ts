import fp from 'fastify-plugin'
import { maskedPhone } from '../services/audit.js'

/** Makes the accounts of ADMIN_NUMBERS admins at every start. Later accounts become admins when they are made. */
export default fp(async function admins (app) {
  for (const account of await app.roles.grantConfiguredAdmins()) {
    const details = { by: 'ADMIN_NUMBERS', admin: true }
    app.log.info({ event: 'user.rights_changed', phone: maskedPhone(account), ...details })
    app.metrics.events.inc({ event: 'user.rights_changed', reason: '' })
    app.audit.add({ event: 'user.rights_changed', subject: account, address: '', requestId: '', details })
  }
}, { name: 'admins', dependencies: ['roles', 'audit', 'metrics'] })
