import { ObjectId } from 'mongodb'
import t from 'tap'
import { createItemEdit } from '../../services/library/edit-item.js'
import type { Caller } from '../../services/ports.js'
import { auditOf, freshPhone, requestContextOf } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { findItem, itemRow } from '../helpers/items.js'
import { startService } from '../helpers/service.js'
import { gif, png } from '../helpers/small-pictures.js'

const admin = freshPhone()

t.test('PATCH /library/{id}', async t => {
  const services = await startServices(t)
  const [service, other] = [
    await startService(t, { services, env: { ADMIN_NUMBERS: admin } }),
    await startService(t, { services })
  ]
  const { call } = service
  const meera = await service.signIn()
  const stranger = await service.signIn()
  const boss = await service.signIn(admin)
  const upload = async (file = gif, fields = {}): Promise<string> =>
    (await ok(service.upload(meera.token, file, { fields: { user_id: 'meera', ...fields } }))).body.id
  const edit = (id: string, json: unknown, token = meera.token) => call('PATCH', `/library/${id}`, { token, json })
  const found = async (q: string) => (await ok(other.call('GET', `/library?q=${q}`, { token: meera.token }))).body.items

  t.test('the owner changes the title and the category, and lists and searches of every instance show it', async t => {
    const id = await upload(gif, { title: 'Sleeping cat', category: 'Cats' })
    const { status, body } = await edit(id, { title: 'Dancing fox' })
    t.equal(status, 200)
    t.match(body, { id, title: 'Dancing fox', category: 'Cats', type: 'gif' })
    t.strictSame((await ok(other.call('GET', `/library/${id}`, { token: meera.token }))).body, body)
    t.match(await found('fox'), [{ id }])
    t.strictSame(await found('cat'), [])
    t.match(await edit(id, { category: 'Foxes' }), { status: 200, body: { title: 'Dancing fox', category: 'Foxes' } })
    t.match((await ok(call('GET', '/library?category=Foxes', { token: stranger.token }))).body, { total: 1 })
  })

  t.test('without a text the title goes, and the category is that of the type again', async t => {
    for (const [file, type] of [[gif, 'GIF'], [png, 'Images']] as const) {
      for (const nothing of [null, '', ' \t']) {
        const id = await upload(file, { title: 'Sleeping cat', category: 'Cats' })
        const { status, body } = await edit(id, { title: nothing, category: nothing })
        t.equal(status, 200)
        t.equal(body.category, type)
        t.notOk('title' in body)
        t.notOk('words' in (await findItem(service, id))!)
      }
    }
  })

  t.test('a body without either member changes nothing', async t => {
    const id = await upload(gif, { title: 'Sleeping cat' })
    const before = await findItem(service, id)
    for (const json of [{}, { owner: new ObjectId().toHexString(), key: 'x', hidden: true }]) {
      t.match(await edit(id, json), { status: 200, body: { title: 'Sleeping cat', owner_id: String } })
    }
    t.strictSame(await findItem(service, id), before)
  })

  t.test('only the owner and an admin may change an item, and the owner\'s audit tells', async t => {
    const id = await upload()
    t.match(await edit(id, { title: 'Mine' }, stranger.token), {
      status: 403,
      body: { error: 'Library item is not your own' }
    })
    t.equal((await call('PATCH', `/library/${id}`, { json: { title: 'Mine' } })).status, 401)
    t.notOk((await findItem(service, id))!.title)
    t.match(await edit(id, { title: 'Ours' }, boss.token), { status: 200, body: { title: 'Ours' } })
    const row = (await auditOf(service.app, meera.phone)).find(({ details }) => details?.id === id)
    t.match(row, { event: 'library.edited', details: { by: /^[0-9a-f]{24}$/ } })
  })

  t.test('an item that changes hands between read and write is not changed by its former owner', async t => {
    const { library } = service.app.collections
    const _id = new ObjectId(await upload())
    const owner = (await library.findOne({ _id }))!.owner!
    const { editItem } = createItemEdit({
      library: new Proxy(library, {
        get: (target, name) => name !== 'findOne'
          ? Reflect.get(target, name)
          : async (filter: object) => {
            const row = await target.findOne(filter)
            await target.updateOne({ _id }, { $set: { owner: new ObjectId() } })
            return row
          }
      }),
      isAdmin: () => false,
      toItem: service.app.library.toItem
    })
    const caller = { account: { _id: owner } } as Caller
    await t.rejects(editItem(_id.toHexString(), { title: 'Mine' }, caller, requestContextOf(service.app)), {
      message: 'Library item is not your own'
    })
    t.notOk((await library.findOne({ _id }))!.title)
  })

  t.test('an admin changes an item of the replaced system, which has no type', async t => {
    const row = itemRow(0, { key: undefined, url: 'https://old.example/a.gif', type: undefined, category: undefined })
    await service.app.collections.library.insertOne(row)
    const id = row._id.toHexString()
    t.equal((await edit(id, { title: 'Old' })).status, 403)
    t.match(await edit(id, { title: 'Old', category: '' }, boss.token), {
      status: 200,
      body: { title: 'Old', category: 'GIF', type: 'gif', owner_id: null }
    })
  })

  t.test('wrong input is refused', async t => {
    const id = await upload()
    const long = 'x'.repeat(256)
    for (const [json, errors] of [
      [{ title: 5 }, { title: ['Not a valid string.'] }],
      [{ category: ['Cats'] }, { category: ['Not a valid string.'] }],
      [{ title: long, category: long }, {
        title: ['Length must be between 0 and 255.'],
        category: ['Length must be between 0 and 255.']
      }],
      [{ title: '\ud800', category: 'Cats' }, { title: ['Not a valid value.'] }],
      [[], { _schema: ['Invalid input.'] }]
    ] as const) {
      const { status, body } = await edit(id, json)
      t.equal(status, 400)
      t.strictSame(body, { errors })
    }
    t.match(await edit('0'.repeat(24), { title: 'x' }), { status: 404, body: { error: 'Library item not found' } })
    t.match(await edit('xyz', { title: 'x' }), { status: 400, body: { error: 'Invalid library item id' } })
  })
})
