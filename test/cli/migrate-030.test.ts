import type { Db } from 'mongodb'
import t, { type Test } from 'tap'
import { migrate } from '../../services/migration/migration.js'
import { findAccount } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import type { Services } from '../helpers/backends.js'
import { LEGACY_SECRET, legacyToken } from '../helpers/jws.js'
import { databaseOf030, facts, run } from '../helpers/migrate-command.js'
import { database030, dump } from '../helpers/old-database.js'
import { startService } from '../helpers/service.js'
import { gif } from '../helpers/small-pictures.js'

const phone = (n: number) => `+9198000000${String(n).padStart(2, '0')}`

t.test('npm run migrate on a database of 0.3.0', async t => {
  t.test('a dry run reports the same, the run converts everything, and a second run changes nothing', async t => {
    const { services, db } = await databaseOf030(t)
    const before = await dump(db)
    const dry = await run(services.mongoUri, ['--dry-run'])
    t.match(dry, { code: 0, stderr: '' })
    t.same(await dump(db), before, 'a dry run writes nothing')
    const real = await run(services.mongoUri)
    t.match(real, { code: 0, stderr: '' })
    t.same(facts(real.lines), facts(dry.lines), 'the dry run reported all of it')
    const after = await dump(db)
    t.match(await run(services.mongoUri), { code: 0, stdout: 'Nothing to do.\n' })
    t.same(await dump(db), after)
    t.notMatch(
      JSON.stringify(after),
      /number_since|"moved|"session"|started_at":\{"\$date":"2026-11-28T13:30:(0[4-9]|1[0-1])[^}]*\},"created_at/
    )
    t.notOk('sessions' in after)
    for (const name of ['otps', 'idempotency', 'usage']) t.equal(await db.collection(name).countDocuments(), 0, name)
    t.equal(await db.collection('users').countDocuments({ schema: { $ne: 2 } }), 0)
  })

  t.test('accounts, names, admins, blocks, items and quotas are carried over; people sign in again', async t => {
    const { services, db } = await migratedDatabase(t)
    const service = await startService(t, { services, env: { UPLOAD_QUOTA_ITEMS: '2' } })
    const signIn = async (n: number) => (await service.signIn(phone(n))).token
    const mine = async (token: string) =>
      (await ok(service.call('GET', '/library?mine=true', { token }))).body.items.map(
        ({ user_id: label, owner_id: owner }: { user_id: string, owner_id: string }) => [label, owner]
      )
    const [boss, meera, asha, ravi, kiran, nobody, newcomer] = [
      await signIn(1), await signIn(2), await signIn(4), await signIn(8), await signIn(10), await signIn(5),
      await signIn(9)
    ]
    const idOf = (name: string) => database030.users!.rows.find(({ username }) => username === name)!._id.toHexString()
    for (const { token, name, admin = false } of [
      { token: boss, name: 'Boss', admin: true },
      { token: meera, name: 'Meera' },
      { token: asha, name: 'Asha', admin: true },
      { token: ravi, name: 'Ravi' },
      { token: kiran, name: 'Kiran' }
    ]) {
      t.match(
        await service.call('GET', '/users/me', { token }),
        { status: 200, body: { _id: idOf(name), username: name, admin } },
        name
      )
    }
    t.same(await mine(meera), [['meera', idOf('Meera')], ['meera', idOf('Meera')]])
    t.same(await mine(ravi), [['ravi', idOf('Ravi')]], 'after a number change')
    t.same(await mine(kiran), [['kiran', idOf('Kiran')]], 'after one that was cut short')
    t.same(await mine(newcomer), [])
    t.match(await mine(nobody), [['nobody yet', /^[0-9a-f]{24}$/]], 'an account without a name')
    t.equal((await service.call('GET', '/users/me', { token: nobody })).status, 404)
    t.match(await service.call('GET', '/library?user_id=deleted', { token: boss }), {
      status: 200,
      body: { total: 1, items: [{ owner_id: null }] }
    })
    await ok(service.call('POST', '/auth/request-otp', { json: { phone: phone(3) } }))
    t.equal(service.lastCode(phone(3)), '', 'a blocked phone stays blocked')
    t.match(await service.call('GET', '/library?user_id=mallory', { token: boss }), {
      status: 200,
      body: { items: [{ owner_id: idOf('Mallory') }] }
    })
    t.equal((await service.upload(meera, gif)).status, 413)
    t.match(
      await service.call('POST', '/users', { token: meera, json: { username: 'Meera', number: phone(2) } }),
      { status: 201, body: { user_id: idOf('Meera') } }
    )
    t.match(await service.app.sweeper.sweep(), { failed: 0 })
    t.equal(await db.collection('uploads').countDocuments(), 0)
  })

  t.test(
    'tokens of the replaced system are refused where some were revoked, and for a number without an account',
    async t => {
      const { services } = await migratedDatabase(t)
      const service = await startService(t, { services, env: { JWT_LEGACY_SECRET: LEGACY_SECRET } })
      for (const token of [
        legacyToken(phone(2)),
        legacyToken(phone(77)),
        legacyToken(phone(77), { iat: 0 }),
        legacyToken(phone(77), { iat: -1 })
      ]) {
        t.equal((await service.call('GET', '/auth/sessions', { token })).status, 401)
      }
      t.equal(await findAccount(service, { phone: phone(77) }), null)
    }
  )

  t.test('an item that a user of 0.3.0 has hidden or kept is as any other', async t => {
    const { services, db } = await databaseOf030(t)
    const library = db.collection('library')
    const [first, second] = await library.find({}, { projection: { _id: 1 } }).limit(2).toArray()
    await library.updateOne({ _id: first!._id }, { $set: { hidden: { a: 1 }, hidden_at: 'never' } })
    await library.updateOne({ _id: second!._id }, { $set: { kept: true } })
    t.equal((await run(services.mongoUri)).code, 0)
    const forged = ['hidden', 'hidden_at', 'kept'].map(name => ({ [name]: { $exists: true } }))
    t.equal(await library.countDocuments({ $or: forged }), 0)
  })

  t.test('items that belong to a phone number are converted also without a collection of sessions', async t => {
    const { services, db } = await databaseOf030(t)
    await db.dropCollection('sessions')
    t.equal((await run(services.mongoUri)).code, 0)
    t.equal(await db.collection('library').countDocuments({ owner: { $type: 'string' } }), 0)
    await startService(t, { services })
  })
})

/** A database of 0.3.0 after the migration. */
async function migratedDatabase (t: Test): Promise<{ services: Services, db: Db }> {
  const made = await databaseOf030(t)
  await migrate({ db: made.db, region: 'IN', dryRun: false, print: () => {} })
  return made
}
