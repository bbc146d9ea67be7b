import { PutObjectCommand } from '@aws-sdk/client-s3'
import { ObjectId, type Document } from 'mongodb'
import t, { type Test } from 'tap'
import type { LibraryDocument } from '../../schemas/documents.js'
import { accountOf, auditOf, freshPhone } from '../helpers/accounts.js'
import { failureOf, ok } from '../helpers/answers.js'
import { s3Client } from '../helpers/backends.js'
import { failCommands } from '../helpers/fail-commands.js'
import { startFaultySetup } from '../helpers/faulty-setup.js'
import { type Service, startService } from '../helpers/service.js'
import { gif, png } from '../helpers/small-pictures.js'
import { PATIENCE } from '../helpers/patience.js'
import { eventually } from '../helpers/wait.js'

const admin = freshPhone()

t.test('DELETE /library/{id}', async t => {
  const service = await startService(t, { env: { ADMIN_NUMBERS: admin } })
  const { call, app: { collections } } = service
  const { library, uploads } = collections
  const meera = await service.signIn()
  const stranger = await service.signIn()
  const boss = await service.signIn(admin)
  await ok(call('POST', '/users', { token: boss.token, json: { username: 'boss', number: admin } }))
  const remove = async (id: string, token = meera.token) => {
    const { status, text } = await call('DELETE', `/library/${id}`, { token })
    return { status, text }
  }
  const done = { status: 204, text: '' }
  const refused = (status: number, error: string) => ({ status, text: JSON.stringify({ error }) })
  const foreign = refused(403, 'Library item is not your own')
  const unknown = refused(404, 'Library item not found')
  const nothing = { objects: [], multipartUploads: [], uploads: 0, library: 0 }
  const filesOf = (key: string) => [key.replace('original.gif', '64x64.gif'), key]

  t.test('DELETE /library/{id} removes the owner\'s item and everything in its folder, and nothing else', async t => {
    const [mine, other] = [await uploaded(service, meera.token), await uploaded(service, meera.token)]
    const folder = mine.key.replace('original.gif', '')
    await put(t, service, `${folder}64x64.gif`)
    await put(t, service, `${folder}deeper/still.gif`)
    t.equal(
      (await call('DELETE', `/library/${mine.id}`, {
        token: meera.token,
        headers: { 'content-type': 'application/json' }
      })).status,
      204,
      'whatever type its absent body has'
    )
    t.match(await service.remains(), { objects: filesOf(other.key), library: 1, uploads: 0 })
    t.not((await fetch(mine.url)).status, 200)
    t.match(
      await call('GET', '/library', { token: meera.token }),
      { status: 200, body: { total: 1, items: [{ id: other.id }] } }
    )
    t.strictSame(await remove(mine.id), unknown, 'again')
    t.strictSame(await remove(other.id), done)
    t.strictSame(await noted(service, 'library.removed', meera.phone), [{ id: mine.id }, { id: other.id }])
  })

  t.test('Only the owner and an admin may delete an item, and a refusal changes nothing', async t => {
    const item = await uploaded(service, meera.token)
    const before = await library.findOne()
    t.strictSame(await remove(item.id, stranger.token), foreign)
    t.equal((await call('DELETE', `/library/${item.id}`)).status, 401)
    t.strictSame(await library.findOne(), before)
    t.match(await service.remains(), { objects: filesOf(item.key), uploads: 0 })
    t.strictSame(await noted(service, 'access.denied', stranger.phone), [{ reason: 'foreign item' }])

    t.strictSame(await remove(item.id, boss.token), done)
    t.strictSame(await service.remains(), nothing)
    t.strictSame(
      (await noted(service, 'library.removed', meera.phone)).at(-1),
      { id: item.id, by: (await accountOf(service.app, admin)).toHexString() },
      'the owner\'s audit tells'
    )
    t.ok(service.logs.some(line => line.includes('"library.removed"') && line.includes(item.id)))
  })

  t.test('DELETE /library/{id} answers 404 for an unknown id and 400 for an invalid one', async t => {
    t.strictSame(await remove('665f1c2ab7e4d90012ab34cd'), unknown)
    t.strictSame(await remove('665f1c2ab7e4d90012ab34cd', boss.token), unknown)
    for (const id of [
      '1',
      'x'.repeat(24),
      '665F1C2AB7E4D90012AB34CD',
      '665f1c2ab7e4d90012ab34cd0',
      '%00',
      'a'.repeat(1000)
    ]) {
      t.strictSame(await remove(id), refused(400, 'Invalid library item id'), id.slice(0, 30))
    }
    t.equal((await call('DELETE', '/library', { token: meera.token })).status, 405)
  })

  t.test('An item of the replaced system goes with its object when no other row names that', async t => {
    const { url } = service.app.mediaStore
    const old = (address: string) => ({
      _id: new ObjectId(),
      url: address,
      user_id: 'meera',
      created_at: service.clock.now
    })
    const [first, second, elsewhere, deeper] = [
      old(url('fox.gif')), old(url('fox.gif')), old('https://other-bucket.example.com/cat.gif'), old(url('a/dog.gif'))
    ]
    await library.insertMany([first, second, elsewhere, deeper])
    for (const key of ['fox.gif', 'fox.gif.bak', 'cat.gif', 'a/dog.gif']) await put(t, service, key)
    const objects = async () => (await service.remains()).objects
    t.strictSame(await remove(first._id.toHexString(), meera.token), foreign)
    t.strictSame(await remove(first._id.toHexString(), boss.token), done)
    t.strictSame(await objects(), ['a/dog.gif', 'cat.gif', 'fox.gif', 'fox.gif.bak'], 'another row names it')
    t.strictSame(await remove(second._id.toHexString(), boss.token), done)
    t.strictSame(await objects(), ['a/dog.gif', 'cat.gif', 'fox.gif.bak'])
    for (const { _id } of [elsewhere, deeper]) t.strictSame(await remove(_id.toHexString(), boss.token), done)
    t.match(
      await service.remains(),
      { objects: ['a/dog.gif', 'cat.gif', 'fox.gif.bak'], uploads: 0, library: 0 },
      'an object of another bucket, and one that is not at the root, are not its own'
    )
    for (const key of await objects()) await service.app.mediaStore.removeObject(key)
  })

  t.test('An owner whose row was forged in 0.3.0 deletes no object that is not the item\'s', async t => {
    const owner = await accountOf(service.app, meera.phone)
    const forged = [
      { key: 'backup.zip' }, { key: null, url: service.app.mediaStore.url('backup.zip') },
      { url: service.app.mediaStore.url('backup.zip') }, { key: 'library/backup.zip' }
    ].map(fields => ({ _id: new ObjectId(), user_id: 'meera', owner, created_at: service.clock.now, ...fields }))
    await library.insertMany(forged as unknown as LibraryDocument[])
    for (const key of ['backup.zip', 'library/backup.zip']) await put(t, service, key)
    for (const { _id } of forged) t.strictSame(await remove(_id.toHexString()), done)
    t.match(await service.remains(), { objects: ['backup.zip', 'library/backup.zip'], uploads: 0, library: 0 })
    for (const key of ['backup.zip', 'library/backup.zip']) await service.app.mediaStore.removeObject(key)
  })

  t.test('An item without an owner is for admins', async t => {
    const released = await uploaded(service, stranger.token)
    await library.updateOne({ _id: new ObjectId(released.id) }, { $unset: { owner: '' } })
    t.strictSame(await remove(released.id, stranger.token), foreign)
    t.strictSame(await remove(released.id, boss.token), done)
    t.strictSame(await service.remains(), nothing)
  })

  t.test('Two deletions at once answer 204, and 204 or 404, and nothing is left', async t => {
    for (let round = 0; round < 8; round++) {
      const { id } = await uploaded(service, meera.token)
      const answers = await Promise.all([remove(id), remove(id, boss.token), remove(id)])
      t.ok(answers.some(({ status }) => status === 204))
      t.strictSame(
        answers.filter(({ status }) => status !== 204).map(answer => JSON.stringify(answer)),
        answers.filter(({ status }) => status !== 204).map(() => JSON.stringify(unknown))
      )
    }
    service.clock.advance(61)
    await service.app.sweeper.sweep()
    t.strictSame(await service.remains(), nothing)
  })

  t.test('DELETE /library/{id} removes an item whose upload record still exists', async t => {
    const item = await uploaded(service, meera.token)
    await uploads.insertOne({
      _id: new ObjectId(item.id),
      key: item.key,
      owner: await accountOf(service.app, meera.phone),
      state: 'committing',
      started_at: service.clock.now
    })
    t.strictSame(await remove(item.id), done)
    t.strictSame(await service.remains(), nothing)
  })

  t.test(
    'The right belongs to the account, not to the next holder of its number or an account that has left',
    async t => {
      const from = freshPhone()
      const to = freshPhone()
      const leila = await service.signIn(from)
      await ok(call('POST', '/users', { token: leila.token, json: { username: 'leila', number: from } }))
      const items = [await uploaded(service, leila.token), await uploaded(service, leila.token)]
      await ok(call('POST', '/users/me/number', { token: leila.token, json: { number: to } }))
      const {
        body: { access_token: token }
      } = await ok(call('POST', '/users/me/number/verify', {
        token: leila.token,
        json: { number: to, otp: service.lastCode(to) }
      }))
      service.clock.advance(300)
      const next = await service.signIn(from)
      t.strictSame(await remove(items[0]!.id, next.token), foreign)
      t.strictSame(await remove(items[0]!.id, token), done)
      const { token: recent } = await service.signIn(to)
      t.equal((await call('DELETE', '/users/me', { token: recent })).status, 204)
      service.clock.advance(700)
      const back = await service.signIn(to)
      t.strictSame(await remove(items[1]!.id, back.token), foreign)
      t.strictSame(await remove(items[1]!.id, boss.token), done)
      t.strictSame(await service.remains(), nothing)
    }
  )
})

t.test('DELETE /library/{id} while something fails', async t => {
  const setup = await startFaultySetup(t)
  const admin = freshPhone()
  const { storeSilenceMs } = PATIENCE
  const service = await setup.start({ storeSilenceMs, env: { ADMIN_NUMBERS: admin } })
  const impatient = await setup.start({ now: () => service.clock.now })
  for (const { app: { sweeper } } of [service, impatient]) await eventually(() => sweeper.sweep())
  const { token } = await service.signIn(admin)
  const remove = (id: string) => service.call('DELETE', `/library/${id}`, { token })
  const failing = (command: string, skip = 0) => failCommands(setup.services.mongoUri, {
    commands: [command],
    appName: setup.appName,
    errorCode: 8,
    skip
  })
  const sweep = async () => {
    service.clock.advance(61)
    return service.app.sweeper.sweep()
  }

  for (const [operation, action] of [
    ['ListMultipartUploads', { do: 'answer', status: 500, code: 'InternalError' }],
    ['ListObjectsV2', { do: 'silence' }],
    ['DeleteObject', { do: 'answer', status: 403, code: 'AccessDenied' }],
    ['DeleteObject', { do: 'reset', after: 0 }],
    ['DeleteObject', { do: 'lose' }]
  ] as const) {
    t.test(`An item is gone though the store fails at ${operation} (${action.do}); its objects follow`, async t => {
      const { id } = await uploaded(service, token)
      const { hit } = setup.s3.fault({ operation, action })
      const asked = action.do === 'silence' ? impatient : service
      t.equal((await asked.call('DELETE', `/library/${id}`, { token })).status, 204)
      await hit
      t.match(await setup.left(), { library: 0, uploads: 1 })
      t.equal((await remove(id)).status, 404)
      setup.s3.clear()
      await service.app.sweeper.sweep()
      t.match(await setup.left(), { uploads: 1 }, 'a fresh one is left to the process that works on it')
      t.match(await sweep(), { uploads: 1, failed: 0 })
      t.strictSame(await setup.left(), setup.empty)
    })
  }

  t.test('The object of an item of the replaced system follows too, though the store fails at it', async t => {
    const row = {
      _id: new ObjectId(),
      url: service.app.mediaStore.url('old.gif'),
      user_id: 'meera',
      created_at: service.clock.now
    }
    await service.app.collections.library.insertOne(row)
    await put(t, service, 'old.gif')
    const { hit } = setup.s3.fault({ operation: 'DeleteObject', action: { do: 'answer', status: 403, code: 'AccessDenied' } })
    t.equal((await remove(row._id.toHexString())).status, 204)
    await hit
    t.match(await service.remains(), { objects: ['old.gif'], library: 0 })
    t.match(await service.app.collections.uploads.findOne({ _id: row._id }), { state: 'removing', key: 'old.gif' })
    setup.s3.clear()
    t.match(await sweep(), { uploads: 1, failed: 0 })
    t.strictSame(await setup.left(), setup.empty)
  })

  t.test('An item without objects is gone though its reports cannot be deleted; the queue deletes them', async t => {
    const { library, reports, report_states: states } = service.app.collections
    const row = {
      _id: new ObjectId(),
      key: 'forged/original.gif',
      owner: new ObjectId(),
      user_id: 'meera',
      created_at: service.clock.now
    }
    await library.insertOne(row)
    const id = row._id.toHexString()
    await ok(service.call('POST', `/library/${id}/reports`, { token, json: { reason: 'spam' } }))
    service.logs.length = 0
    const heal = await failing('delete')
    t.equal((await remove(id)).status, 204)
    await heal()
    t.ok(service.logs.some(line => line.includes('could not be deleted')))
    t.equal((await remove(id)).status, 404)
    await ok(service.call('GET', '/library/reports', { token }))
    t.equal(await reports.countDocuments({ item: row._id }), 0)
    t.equal(await states.countDocuments({ _id: row._id }), 0)
  })

  t.test('A database that fails at the note is a 500, and all is as it was', async t => {
    const { id } = await uploaded(service, token)
    const heal = await failing('update')
    t.equal(failureOf(await remove(id)), 'Internal server error')
    await heal()
    t.strictSame(await setup.left(), { objects: 1, multipartUploads: 0, uploads: 0, library: 1 })
    t.equal((await remove(id)).status, 204)
    t.strictSame(await setup.left(), setup.empty)
  })

  t.test('A database that fails at the item is a 500; another try does it, or a sweep', async t => {
    for (const next of [remove, sweep]) {
      const { id } = await uploaded(service, token)
      const heal = await failing('findAndModify')
      t.equal(failureOf(await remove(id)), 'Internal server error')
      await heal()
      t.strictSame(await setup.left(), { objects: 1, multipartUploads: 0, uploads: 1, library: 1 })
      await next(id)
      t.strictSame(await setup.left(), setup.empty)
    }
  })

  t.test('A database that fails after the item is a 204, and the note goes with a sweep', async t => {
    const { id } = await uploaded(service, token)
    const heal = await failing('delete')
    t.equal((await remove(id)).status, 204)
    await heal()
    t.strictSame(await setup.left(), { ...setup.empty, uploads: 1 })
    await sweep()
    t.strictSame(await setup.left(), setup.empty)
  })

  t.test('A database that is away is a 500, and a deletion works again afterwards', async t => {
    const { id } = await uploaded(service, token)
    await setup.mongo.down()
    t.equal((await remove(id)).status, 500)
    await setup.mongo.up()
    await service.app.collections.library.findOne().catch(() => {})
    t.equal((await remove(id)).status, 204)
    t.strictSame(await setup.left(), setup.empty)
  })
})

/** The details of a phone's audit rows for this event, newest first. */
const noted = async ({ app }: Service, event: string, phone: string) =>
  (await auditOf(app, phone)).filter(entry => entry.event === event).map(({ details }) => details)

async function uploaded (service: Service, token: string): Promise<{ id: string, url: string, key: string }> {
  const { body: { id, url } } = await ok(service.upload(token, gif))
  const row = await service.app.collections.library.findOne({ _id: new ObjectId(id as string) }) as Document
  return { id, url, key: row.key }
}

async function put (t: Test, { services }: Service, Key: string): Promise<void> {
  const client = s3Client(services)
  t.teardown(() => client.destroy())
  await client.send(new PutObjectCommand({ Bucket: services.s3.bucket, Key, Body: png }))
}
