import fp from 'fastify-plugin'

/** Makes the accounts of ADMIN_NUMBERS admins at every start. Later accounts become admins when they are made. */
export default fp(async function admins (app) {
  for (const account of await app.roles.grantConfiguredAdmins()) {
    app.recordEvent('user.rights_changed', account, { by: 'ADMIN_NUMBERS', admin: true })
  }
}, { name: 'admins', dependencies: ['roles', 'audit'] })
