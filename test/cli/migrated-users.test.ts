import { ObjectId } from 'mongodb'
import t from 'tap'
import { findAccount } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { LEGACY_SECRET, legacyToken } from '../helpers/jws.js'
import { connected, run } from '../helpers/migrate-command.js'
import { fillOldDatabase, migrated, oldId, oldLibrary, oldUsers } from '../helpers/old-database.js'
import { startService } from '../helpers/service.js'

t.test(
  'tokens of the replaced system still lead to their users on a migrated database',
  async t => {
    const services = await startServices(t)
    const client = await connected(t, services.mongoUri)
    await fillOldDatabase(client.db())
    t.equal((await run(services.mongoUri)).code, 0)
    const service = await startService(t, { services, env: { JWT_LEGACY_SECRET: LEGACY_SECRET } })
    const keepers = oldUsers.filter(({ _id }) => [1, 2, 3, 4, 5, 6, 11, 12, 13, 18, 19].some(n => oldId(n).equals(_id)))
    for (const { _id, username, number, created_on: createdOn } of keepers) {
      const token = legacyToken(number)
      const { number: phone, merged: others = [] } = migrated.find(([id]) => _id.equals(id))![1]
      const { status, body } = await service.call('GET', '/users/me', { token })
      t.match(
        { status, body },
        { status: 200, body: { _id: _id.toHexString(), number: phone, admin: false } },
        `the owner of ${_id}`
      )
      if (typeof createdOn !== 'number') t.equal(body.created_on, '2023-03-02T08:00:00.000Z')
      for (const { id, username: name } of others) {
        t.match(
          await service.call('POST', '/users', { token, json: { username: name.toUpperCase(), number: phone } }),
          { status: 201, body: { user_id: _id.toHexString() } },
          'the name of a merged row signs in'
        )
        t.match(
          await service.call('GET', `/users/${id}`, { token }),
          { status: 200, body: { _id: _id.toHexString(), username, number: phone } },
          'the id of a merged row answers the account'
        )
      }
      if (String(username ?? '').trim().length < 2) continue
      for (const notation of [phone, `0${phone.slice(3)}`, `0091 ${phone.slice(3, 8)}-${phone.slice(8)}`]) {
        t.match(
          await service.call('POST', '/users', { token, json: { username: String(username), number: notation } }),
          { status: 201, body: { user_id: _id.toHexString() } }
        )
      }
    }
    t.match(
      await service.call('GET', '/users/me', { token: legacyToken('98765 43212') }),
      { status: 200, body: { _id: oldId(3).toHexString() } },
      'by the number of a duplicate, the oldest'
    )

    const second = { token: legacyToken(oldUsers[10]!.number), json: { username: 'Meera the second' } }
    t.match(await service.call('PATCH', '/users/me', { ...second, json: { username: 'mEERA' } }), { status: 409 })
    t.match(
      await service.call('PATCH', '/users/me', second),
      { status: 200, body: { _id: oldId(11).toHexString(), ...second.json } },
      'renames, and has a unique name then'
    )
    t.match(await findAccount(service, { id: oldId(11).toHexString() }), { username_key: 'meera the second' })
    const nameless = {
      token: legacyToken(oldUsers[16]!.number),
      json: { username: 'Somebody', number: oldUsers[16]!.number }
    }
    t.equal((await service.call('GET', '/users/me', { token: nameless.token })).status, 404)
    t.match(
      await service.call('POST', '/users', nameless),
      { status: 201, body: { user_id: oldId(17).toHexString() } },
      'an old row with an empty name can be named'
    )

    const token = legacyToken('+919876543210')
    for (const n of oldUsers.keys()) {
      if (oldUsers[n]!._id instanceof ObjectId) {
        t.equal(
          (await service.call('GET', `/users/${oldUsers[n]!._id}`, { token })).status,
          oldUsers[n]!.username || n === 16 ? 200 : 404
        )
      }
    }
    const { body } = await ok(service.call('GET', '/library', { token }))
    t.match(body, {
      total: 5,
      items: [105, 104, 103, 102, 101].map(n => ({ id: oldId(n).toHexString(), url: oldLibrary[n - 101]!.url }))
    })
    t.match(body.items.at(-1), { type: 'gif', category: 'GIF', created_at: '2023-03-02T09:00:00.123Z' })
    const signedIn = await service.signIn('+919876543213')
    t.match(
      await service.call('GET', '/users/me', { token: signedIn.token }),
      { status: 200, body: { _id: oldId(4).toHexString() } },
      'and by a code'
    )
  }
)
