import { ObjectId } from 'mongodb'
import t from 'tap'
import type { SessionDocument } from '../../schemas/documents.js'
import { accountOf, auditOf, freshPhone, insertAccount, requestContextOf } from '../helpers/accounts.js'
import { ok, refusal } from '../helpers/answers.js'
import { startServices } from '../helpers/backends.js'
import { findItem } from '../helpers/items.js'
import { LEGACY_SECRET, legacyToken } from '../helpers/jws.js'
import { startService } from '../helpers/service.js'
import { gif } from '../helpers/small-pictures.js'
import { idsOf } from '../helpers/library-pages.js'

const DAY = 24 * 3600
const admin = freshPhone()
const TEST_NUMBER = '+919999900000'
const notFound = { status: 404, body: { error: 'Library item not found' } }
const received = { status: 201, body: { message: 'Report received' } }

t.test('reports and reviews', async t => {
  const services = await startServices(t)
  const service = await startService(t, {
    services,
    env: { ADMIN_NUMBERS: admin, OTP_TEST_NUMBERS: `${TEST_NUMBER}:123456`, JWT_LEGACY_SECRET: LEGACY_SECRET }
  })
  const other = await startService(t, { services })
  const { call, app: { collections } } = service
  const owner = await service.signIn()
  const boss = await service.signIn(admin)
  const [first, second, third, fourth] = [
    await service.signIn(), await service.signIn(), await service.signIn(), await service.signIn()
  ]
  await service.app.sweeper.sweep() // counts the items
  service.clock.advance(DAY)
  other.clock.advance(DAY)

  const upload = async (title = ''): Promise<string> =>
    (await ok(service.upload(owner.token, gif, { fields: { user_id: 'meera', title } }))).body.id
  const report = (id: string, { token }: { token: string }, json: unknown = { reason: 'spam' }) =>
    call('POST', `/library/${id}/reports`, { token, json })
  const review = (id: string, decision: string, { token } = boss) =>
    call('POST', `/library/${id}/review`, { token, json: { decision } })
  const list = async ({ token }: { token: string }, query = '', instance = service) =>
    (await ok(instance.call('GET', `/library?per_page=100${query}`, { token }))).body
  const isListed = async (id: string, caller: { token: string }, instance = service) =>
    idsOf(await list(caller, '', instance)).includes(id)
  const queue = async (query = '') => (await ok(call('GET', `/library/reports${query}`, { token: boss.token }))).body
  const entryOf = async (id: string) => (await queue('?limit=100')).reports.find(({ item }: { item: { id: string } }) =>
    item.id === id)

  t.test('three accounts report an item: it vanishes for everybody on every instance, until an admin keeps it', async t => {
    const id = await upload('Rude cat')
    const before = await list(fourth)
    for (const reporter of [first, second]) t.match(await report(id, reporter), received)
    t.ok(await isListed(id, fourth), 'two reports do not hide it')
    t.match(await report(id, third, { reason: 'hate', comment: 'An insult' }), received)

    for (const instance of [service, other]) {
      t.notOk(await isListed(id, fourth, instance))
      t.match(await instance.call('GET', `/library/${id}`, { token: fourth.token }), notFound)
      const { total, total_exact: exact } = await list(fourth, '', instance)
      t.match({ total, exact }, { total: before.total - 1, exact: true })
      t.strictSame(idsOf(await list(fourth, '&q=rude', instance)), [])
      t.equal((await list(fourth, '&type=gif', instance)).total, before.total - 1)
      t.ok(await isListed(id, owner, instance), 'its owner sees it')
      t.match(await instance.call('GET', `/library/${id}`, { token: owner.token }), { body: { hidden: true } })
      t.ok(idsOf(await list(owner, '&mine=true', instance)).includes(id))
      t.equal((await list(owner, '', instance)).total, before.total, 'and counts it')
    }
    t.match((await list(boss)).items.find((item: { id: string }) => item.id === id), { hidden: true })
    t.equal((await list(boss)).total, before.total)
    t.match(await call('GET', `/library/${id}`, { token: boss.token }), { status: 200, body: { hidden: true } })
    for (const [method, json] of [['PATCH', { title: 'Mine' }], ['DELETE', undefined]] as const) {
      t.match(await call(method, `/library/${id}`, { token: fourth.token, json }), notFound, method)
    }
    t.match(await report(id, fourth), notFound)

    t.match(await review(id, 'keep'), { status: 200, body: { id, title: 'Rude cat' } })
    t.notOk('hidden' in (await ok(call('GET', `/library/${id}`, { token: owner.token }))).body)
    for (const instance of [service, other]) {
      t.ok(await isListed(id, fourth, instance), 'it is back')
      t.equal((await list(fourth, '', instance)).total, before.total)
    }
    t.notOk(await isListed(id, first), 'but not for those who reported it')
    t.equal(await entryOf(id), undefined)

    t.match(await report(id, fourth), received)
    t.match(await report(id, boss), received)
    t.match(await entryOf(id), { count: 2 }, 'later reports reach the queue')
    t.notOk((await findItem(service, id))!.hidden, 'and hide it no more')
  })

  t.test('a report is one for each account and item, also after a review', async t => {
    const id = await upload()
    for (let i = 0; i < 4; i++) t.match(await report(id, first, { reason: i === 0 ? 'spam' : 'other' }), received)
    t.match(await entryOf(id), { count: 1, reasons: { spam: 1 }, comments: [] })
    t.match(await review(id, 'keep'), { status: 200 })
    t.match(await report(id, first), received)
    t.equal(await entryOf(id), undefined)
    t.equal((await auditOf(service.app, first.phone)).filter(({ event, details }) =>
      event === 'library.reported' && details.id === id).length, 1)
  })

  t.test('reports of accounts that are younger than a day reach the queue, and hide nothing', async t => {
    const id = await upload()
    const young = [await service.signIn(), await service.signIn(), await service.signIn()]
    for (const account of young) t.match(await report(id, account), received)
    t.match(await entryOf(id), { count: 3 })
    t.ok(await isListed(id, fourth))
    for (const account of [first, second]) t.match(await report(id, account), received)
    t.ok(await isListed(id, fourth), 'two others are not enough')
    t.match(await report(id, third), received)
    t.notOk(await isListed(id, fourth))
  })

  t.test('reports of blocked accounts, of test numbers and by old tokens hide nothing', async t => {
    const id = await upload()
    const bad = await service.signIn()
    const tester = { token: await service.tokenFor(TEST_NUMBER) }
    const old = { token: legacyToken(freshPhone()) }
    await ok(call('GET', '/library', old))
    service.clock.advance(DAY)
    for (const account of [bad, tester, old]) t.match(await report(id, account), received)
    const badId = (await accountOf(service.app, bad.phone)).toHexString()
    await ok(call('PATCH', `/users/${badId}`, { token: boss.token, json: { blocked: true } }))
    for (const account of [first, second]) t.match(await report(id, account), received)
    t.match(await entryOf(id), { count: 5 })
    t.ok(await isListed(id, fourth))
    t.match(await report(id, third), received)
    t.notOk(await isListed(id, fourth))
  })

  t.test('what is wrong with a report is told in the order of the contract', async t => {
    const id = await upload()
    const unknown = new ObjectId().toHexString()
    t.match(await report('nonsense', first), { status: 400, body: { error: 'Invalid library item id' } })
    for (const [json, errors] of [
      [{}, { reason: ['Missing data for required field.'] }],
      [{ reason: 'boring' }, { reason: ['Must be one of: spam, nudity, hate, violence, copyright, other.'] }],
      [{ reason: null }, { reason: ['Not a valid string.'] }],
      [{ reason: 'spam', comment: 'x'.repeat(501) }, { comment: ['Length must be between 0 and 500.'] }],
      [{ reason: 'spam', comment: '\ud83d' }, { comment: ['Not a valid value.'] }]
    ] as const) {
      t.match(await report(unknown, first, json), refusal(errors as never), JSON.stringify(json))
    }
    t.match(await report(unknown, first), notFound)
    t.match(await report(id, owner), { status: 403, body: { error: 'Library item is your own' } })
    t.equal((await call('POST', `/library/${id}/reports`, { json: { reason: 'spam' } })).status, 401)
    t.match(await report(id, first, { reason: 'spam', comment: '👍'.repeat(500) }), received)
    t.match(await report(id, second, { reason: 'spam', comment: ' ' }), received)
    t.equal((await entryOf(id)).comments.length, 1, 'a blank comment is none')
  })

  t.test('an account reports 50 items in 24 hours, a repeat beside them, and the next one a day later', async t => {
    const reporter = await service.signIn()
    const ids: string[] = []
    for (let i = 0; i < 52; i++) ids.push(new ObjectId().toHexString())
    await collections.library.insertMany(ids.map(id => ({
      _id: new ObjectId(id),
      user_id: 'meera',
      created_at: service.clock.now
    })))
    const answers = await Promise.all(ids.map(id => report(id, reporter)))
    t.equal(answers.filter(({ status }) => status === 201).length, 50, 'also when they come at once')
    const refused = answers.filter(({ status }) => status === 429)
    t.equal(refused.length, 2)
    t.match(refused[0], { body: { error: 'Too many reports' } })
    const retryAfter = Number(refused[0]!.headers.get('retry-after'))
    t.ok(retryAfter > DAY - 60 && retryAfter <= DAY)
    const done = ids[answers.findIndex(({ status }) => status === 201)]!
    const left = ids[answers.findIndex(({ status }) => status === 429)]!
    t.match(await report(done, reporter), received, 'a repeat is not counted')
    t.equal((await collections.reports.countDocuments({ account: await accountOf(service.app, reporter.phone) })), 50)
    service.clock.advance(DAY)
    t.match(await report(left, reporter), received)
  })

  t.test('the queue has the most reported items first, with their reasons and newest comments, page by page', async t => {
    for (const entry of (await queue('?limit=100')).reports) await review(entry.item.id, 'keep')
    const ids = [await upload('a'), await upload('b'), await upload('c')]
    const reporters = [first, second, third, fourth]
    for (const [i, id] of ids.entries()) {
      for (const reporter of reporters.slice(0, i + 1)) {
        service.clock.advance(1)
        const comment = `${id} by ${reporters.indexOf(reporter)}`
        await report(id, reporter, { reason: i === 2 ? 'nudity' : 'spam', comment })
      }
    }
    const { reports, next_cursor: next } = await queue()
    t.equal(next, null)
    t.strictSame(reports.map(({ item, count }: { item: { id: string }, count: number }) => [item.id, count]),
      [[ids[2], 3], [ids[1], 2], [ids[0], 1]])
    t.match(reports[0], {
      item: { title: 'c', hidden: true },
      reasons: { nudity: 3 },
      comments: [{ text: `${ids[2]} by 2`, reason: 'nudity' }, { text: `${ids[2]} by 1` }, { text: `${ids[2]} by 0` }]
    })
    t.ok(reports[0].first_at < reports[0].last_at)
    const walked: string[] = []
    let cursor = ''
    do {
      const page = await queue(`?limit=1${cursor && `&cursor=${cursor}`}`)
      walked.push(page.reports[0].item.id)
      cursor = page.next_cursor
    } while (cursor)
    t.strictSame(walked, [ids[2], ids[1], ids[0]])
    for (const wrong of ['cursor=nonsense', 'limit=0', 'cursor=']) {
      t.equal((await call('GET', `/library/reports?${wrong}`, { token: boss.token })).status, 400, wrong)
    }
    await ok(call('DELETE', `/library/${ids[2]}`, { token: owner.token }))
    t.equal(await entryOf(ids[2]!), undefined, 'the reports of a deleted item go with it')
    t.equal(await collections.reports.countDocuments({ item: new ObjectId(ids[2]) }), 0)
  })

  t.test('an entry whose item is gone without its reports or their counts leaves the queue', async t => {
    for (const hasReports of [true, false]) {
      const id = await upload()
      await report(id, first)
      await collections.library.deleteOne({ _id: new ObjectId(id) })
      if (!hasReports) await collections.reports.deleteMany({ item: new ObjectId(id) })
      t.equal(await entryOf(id), undefined)
      t.equal(await collections.report_states.countDocuments({ _id: new ObjectId(id) }), 0)
      t.equal(await collections.reports.countDocuments({ item: new ObjectId(id) }), 0)
    }
  })

  t.test('an account that is deleted between its session check and its report is 401, and reports nothing', async t => {
    const id = await upload()
    const account = await insertAccount(service, { deleting: service.clock.now })
    const { report } = service.app.moderation
    const caller = { account, session: {} as SessionDocument }
    await t.rejects(report(id, { reason: 'spam' }, caller, requestContextOf(service.app)), { message: 'Invalid access token' })
    t.equal(await collections.reports.countDocuments({ account: account._id }), 0)
  })

  t.test('an admin hides, keeps and removes, and the owner\'s audit tells; others may not', async t => {
    const id = await upload()
    await report(id, first)
    t.match(await review(id, 'hide'), { status: 200, body: { id, hidden: true } })
    t.notOk(await isListed(id, fourth))
    t.equal(await entryOf(id), undefined)
    t.match(await review(id, 'hide'), { status: 200 }, 'again')
    t.match(await review(id, 'keep'), { status: 200 })
    t.ok(await isListed(id, fourth))
    t.match(await review(id, 'hide'), { status: 200 }, 'also what was kept')
    t.notOk(await isListed(id, fourth))
    t.equal((await review(id, 'remove')).status, 204)
    t.match(await review(id, 'remove'), notFound)
    t.match(await review(id, 'keep'), notFound)
    t.match(await review(id, 'hide'), notFound)
    const decisions = (await auditOf(service.app, owner.phone))
      .filter(({ details }) => details.id === id)
      .map(({ event, details }) => `${event} ${details.decision ?? ''}`.trim())
    t.strictSame(decisions.sort(), [
      'library.removed',
      'library.reviewed hide', 'library.reviewed hide', 'library.reviewed hide',
      'library.reviewed keep'
    ])
    const second = await upload()
    for (const caller of [owner, fourth]) {
      t.match(await review(second, 'remove', caller), { status: 403, body: { error: 'Only an admin may do that' } })
      t.match(await call('GET', '/library/reports', { token: caller.token }), { status: 403 })
    }
    t.match(await review(second, 'burn'), refusal({ decision: ['Must be one of: keep, hide, remove.'] }))
  })

  t.test('neither the owner\'s audit nor the export names who reported an item', async t => {
    const id = await upload()
    for (const reporter of [first, second, third]) await report(id, reporter)
    const rows = (await auditOf(service.app, owner.phone)).filter(({ details }) => details.id === id)
    t.match(rows, [{ event: 'library.hidden', network: 'unknown', request_id: '', details: { id, reason: 'reports' } }])
    const text = JSON.stringify((await ok(call('GET', '/users/me/export', { token: owner.token }))).body)
    for (const reporter of [first, second, third]) {
      t.notOk(text.includes((await accountOf(service.app, reporter.phone)).toHexString()))
    }
    const { body } = await ok(call('GET', '/users/me/export', { token: first.token }))
    t.match(body.reports.find(({ item_id: item }: { item_id: string }) => item === id), { reason: 'spam' })
  })

  t.test('a deleted account\'s reports stay, without it, and hide nothing any more', async t => {
    const id = await upload()
    const leaver = await service.signIn()
    service.clock.advance(DAY)
    t.match(await report(id, leaver, { reason: 'spam', comment: 'bye' }), received)
    const again = await service.signIn(leaver.phone)
    t.equal((await call('DELETE', '/users/me', { token: again.token })).status, 204)
    for (const reporter of [first, second]) t.match(await report(id, reporter), received)
    t.match(await entryOf(id), { count: 3, comments: [{ text: 'bye' }] })
    t.ok(await isListed(id, fourth))
    t.match(await collections.reports.findOne({ item: new ObjectId(id), comment: 'bye' }), { counts_for_hiding: false })
  })

  t.test('a lost race counts again: twenty reports at once are twenty', async t => {
    const id = await upload()
    const reporters = await Promise.all(Array.from({ length: 20 }, async () =>
      ({ token: await service.tokenFor(freshPhone()) })))
    const answers = await Promise.all(reporters.map((reporter, i) =>
      report(id, reporter, { reason: i % 2 ? 'spam' : 'hate' })))
    t.ok(answers.every(({ status }) => status === 201))
    t.match(await entryOf(id), { count: 20, reasons: { spam: 10, hate: 10 } })
  })

  t.test('the sweeper ends the own lists of an account without hidden items', async t => {
    for (const { _id } of await collections.library.find({ hidden: 'reports' }).toArray()) {
      await review(_id.toHexString(), 'keep')
    }
    t.ok((await collections.users.findOne({ number: owner.phone }))!.has_hidden)
    const id = await upload()
    await review(id, 'hide')
    service.clock.advance(3600)
    await service.app.sweeper.sweep()
    t.ok((await collections.users.findOne({ number: owner.phone }))!.has_hidden, 'one is hidden')
    await review(id, 'keep')
    service.clock.advance(3600)
    await service.app.sweeper.sweep()
    t.notOk((await collections.users.findOne({ number: owner.phone }))!.has_hidden)
  })

  t.test('the total has no hidden item, whichever way it is deleted', async t => {
    const before = (await list(fourth)).total
    const ids = [await upload(), await upload()]
    for (const id of ids) await review(id, 'hide')
    t.equal((await list(fourth)).total, before)
    await review(ids[0]!, 'remove')
    await ok(call('DELETE', `/library/${ids[1]}`, { token: owner.token }))
    t.equal((await list(fourth)).total, before)
    await service.app.library.checkTotal(true)
    t.equal((await list(fourth)).total, before)
    const shown = await collections.library.countDocuments({ hidden: null } as never)
    t.equal((await collections.library_state.findOne())!.total, shown)
  })
})

t.test('REPORTS_TO_HIDE=0: reports hide nothing', async t => {
  const service = await startService(t, { env: { REPORTS_TO_HIDE: '0' } })
  const owner = await service.signIn()
  const reporters = [await service.signIn(), await service.signIn(), await service.signIn()]
  service.clock.advance(DAY)
  const { body: { id } } = await ok(service.upload(owner.token, gif))
  for (const { token } of reporters) {
    t.match(await service.call('POST', `/library/${id}/reports`, { token, json: { reason: 'spam' } }), received)
  }
  t.notOk((await findItem(service, id))!.hidden)
})
