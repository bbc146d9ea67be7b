import t from 'tap'
import { create, freshKey, type Options, strayOf, underWay, upload } from '../helpers/idempotent-requests.js'
import { freshPhone } from '../helpers/accounts.js'
import { failureOf, ok } from '../helpers/answers.js'
import { startFaultySetup } from '../helpers/faulty-setup.js'
import { file, form } from '../helpers/multipart.js'
import { tcpProxy } from '../helpers/tcp-proxy.js'
import type { Reply } from '../helpers/service.js'
import { gifOf } from '../helpers/small-pictures.js'
import { hangUp, MIB, open, picture, user } from '../helpers/upload-requests.js'
import { eventually } from '../helpers/wait.js'

t.test('Idempotency-Key, when something goes wrong', async t => {
  const setup = await startFaultySetup(t)
  const slow = { storeSilenceMs: 20_000 } // the delays of this test must not end a request on a slow machine
  const service = await setup.start(slow)
  const other = await setup.start(slow)
  const phone = freshPhone()
  const token = await service.tokenFor(phone)
  const fresh = (): Options => ({ token, key: freshKey() })
  const once403 = {
    operation: 'PutObject',
    action: { do: 'answer', status: 403, code: 'AccessDenied' },
    times: 1
  } as const
  const hold = { operation: 'PutObject', action: { do: 'delay', ms: 60_000 }, times: 1 } as const
  /** Repeats a request until the service has seen that the database is back. */
  const notRunning = (work: () => Promise<Reply>) => eventually(async () => {
    const reply = await work()
    return reply.status !== 409 && reply.status !== 500 ? reply : undefined
  })

  t.test('A failure is forgotten', async t => {
    const options = fresh()
    const { library } = await setup.settled()
    setup.s3.fault(once403)
    t.equal(failureOf(await upload(service, options)), 'Failed to upload file to S3')
    setup.s3.clear()
    const anew = await upload(service, options)
    t.equal(anew.status, 201)
    t.equal(anew.headers.get('idempotency-replayed'), null)
    t.equal(strayOf(await upload(service, options), anew), undefined)
    t.equal((await setup.settled()).library, library + 1)
  })

  t.test('A request that is cut off is forgotten', async t => {
    const body = form([user, file(gifOf(MIB))])
    for (const come of [30, body.length >> 1, body.length - 1]) {
      const options = fresh()
      const { library } = await setup.settled()
      const request = open(service, token, { 'content-length': body.length, 'idempotency-key': options.key })
      await new Promise(resolve => request.write(body.subarray(0, come), resolve))
      await eventually(() => setup.client.db().collection('idempotency').findOne({ answer: { $exists: false } }))
      t.match(await upload(service, options), underWay)
      await hangUp(service, request)
      t.equal((await notRunning(() => upload(service, options))).status, 201)
      t.equal((await setup.settled()).library, library + 1)
    }
  })

  t.test('A request whose client leaves before its form is read is forgotten', async t => {
    const body = form([user, picture])
    for (const come of [30, body.length]) {
      const options = fresh()
      const { library } = await setup.settled()
      setup.mongo.throttle(0, 'up')
      const request = open(service, token, { 'content-length': body.length, 'idempotency-key': options.key })
      await new Promise(resolve => request.write(body.subarray(0, come), resolve))
      await hangUp(service, request)
      await setup.mongo.up()
      t.equal((await notRunning(() => upload(service, options))).status, 201)
      t.equal((await setup.settled()).library, library + 1)
    }
  })

  t.test('A request whose client sends all and leaves before it is saved is forgotten', async t => {
    const options = fresh()
    const { library } = await setup.settled()
    const { hit } = setup.s3.fault(hold)
    const request = open(service, token, { 'idempotency-key': options.key })
    request.end(form([user, picture]))
    await hit
    await hangUp(service, request)
    setup.s3.clear()
    t.equal((await notRunning(() => upload(service, options))).status, 201)
    t.equal((await setup.settled()).library, library + 1)
  })

  t.test('An upload whose answer is lost gets the same id on another try, and there is one item', async t => {
    const options = fresh()
    const { library } = await setup.settled()
    const wire = await tcpProxy({ port: Number(new URL(service.url).port) })
    t.teardown(wire.close)
    wire.cutAfter(0, 'down')
    const request = open({ url: `http://127.0.0.1:${wire.port}` }, token, { 'idempotency-key': options.key })
    const lost = new Promise(resolve => request.once('close', resolve))
    request.on('response', () => t.fail('nothing is heard'))
    request.end(form([user, picture]))
    await lost
    const again = await ok(notRunning(() => upload(other, options)))
    t.equal(again.headers.get('idempotency-replayed'), 'true')
    t.equal((await setup.settled()).library, library + 1)
    t.ok(await service.app.collections.library.findOne({
      user_id: 'meera',
      key: { $regex: again.body.url.split('/').at(-2) }
    }))
  })

  t.test('A client that leaves while its item is saved gets it on another try', async t => {
    const options = fresh()
    const { library } = await setup.settled()
    const { hit } = setup.s3.fault(hold)
    const request = open(service, token, { 'idempotency-key': options.key })
    request.end(form([user, picture]))
    await hit
    setup.mongo.throttle(0, 'up')
    const held = setup.s3.requests.length
    setup.s3.clear()
    await eventually(() => setup.s3.requests[held - 1]?.status === 200)
    await hangUp(service, request)
    await setup.mongo.up()
    const again = await notRunning(() => upload(service, options))
    t.equal(again.status, 201)
    t.equal((await setup.settled()).library, library + 1, 'one item, by either request')
  })

  t.test('A user whose 201 is lost gets the same id on another try, though the name has changed since', async t => {
    const number = freshPhone()
    const options = { token: await service.tokenFor(number), key: freshKey() }
    const json = JSON.stringify({ username: `u${number.slice(1)}`, number })
    const wire = await tcpProxy({ port: Number(new URL(service.url).port) })
    t.teardown(wire.close)
    wire.cutAfter(0, 'down')
    const headers = {
      authorization: `Bearer ${options.token}`,
      'content-type': 'application/json',
      'idempotency-key': options.key
    }
    await t.rejects(fetch(`http://127.0.0.1:${wire.port}/users`, { method: 'POST', headers, body: json }))
    const { _id } = await eventually(() => service.app.collections.users.findOne({ number }))
    await ok(service.call('PATCH', '/users/me', { token: options.token, json: { username: `v${number.slice(1)}` } }))
    const again = await notRunning(() => create(other, options, json))
    t.match(again, { status: 201, body: { user_id: _id.toHexString() } })
    t.equal(again.headers.get('idempotency-replayed'), 'true')
  })

  t.test(
    'A request that never ended holds its key until UPLOAD_MAX_SECONDS, and changes nothing afterwards',
    async t => {
      const options = fresh()
      const { library } = await setup.settled()
      const { hit } = setup.s3.fault(hold)
      const sleeping = upload(service, options)
      await hit
      for (const seconds of [0, service.config.UPLOAD_MAX_SECONDS - 1]) {
        other.clock.advance(seconds)
        t.match(await upload(other, options), underWay)
      }
      other.clock.advance(1)
      const next = await upload(other, options)
      t.equal(next.status, 201)
      t.equal(next.headers.get('idempotency-replayed'), null)
      setup.s3.clear()
      t.match(await sleeping, { status: 201 }, 'the sleeper ends as it would')
      t.equal(strayOf(await upload(service, options), next), undefined)
      t.equal((await setup.settled()).library, library + 2)

      const failing = fresh()
      const fault = setup.s3.fault({ ...hold, action: { do: 'silence' } })
      const doomed = upload(service, failing)
      await fault.hit
      other.clock.advance(service.config.UPLOAD_MAX_SECONDS)
      const taken = await upload(other, failing)
      setup.s3.clear()
      await ok(doomed)
      t.equal(strayOf(await upload(other, failing), taken), undefined, 'nor does a failure free it')
    }
  )

  t.test('A request is 500 when the database is away before it begins, and works afterwards', async t => {
    const options = fresh()
    const number = freshPhone()
    const createOptions = { token: await service.tokenFor(number), key: freshKey() }
    const json = { username: `u${number.slice(1)}`, number }
    await setup.mongo.down()
    t.equal(failureOf(await upload(service, options)), 'Failed to save library item')
    t.match(await create(service, createOptions, json), { status: 500, body: { error: 'User creation failed' } })
    await setup.mongo.up()
    t.equal((await notRunning(() => upload(service, options))).status, 201)
    t.equal((await notRunning(() => create(service, createOptions, json))).status, 201)
  })

  t.test('A request is 500 when the database goes away while it runs, and the key is free once it is back', async t => {
    const options = fresh()
    const { library } = await setup.settled()
    const { hit } = setup.s3.fault(hold)
    const answer = upload(service, options)
    await hit
    await setup.mongo.down()
    setup.s3.clear()
    t.equal(failureOf(await answer), 'Failed to save library item')
    await setup.mongo.up()
    t.equal((await notRunning(() => upload(service, options))).status, 201)
    t.equal((await setup.settled()).library, library + 1)
  })

  t.test('An answer that cannot be stored at once is sent, and stored later', async t => {
    const options = fresh()
    const { library } = await setup.settled()
    const rows = setup.client.db().collection('idempotency')
    const { hit } = setup.s3.fault(hold)
    const answer = upload(service, options)
    await hit
    await rows.deleteMany({ answer: { $exists: true } })
    const index = await rows.createIndex({ 'answer.status': 1 }, {
      unique: true,
      partialFilterExpression: { 'answer.status': { $gt: 0 } }
    })
    const { insertedId } = await rows.insertOne({ answer: { status: 201 } })
    setup.s3.clear()
    const first = await answer
    t.match(await upload(service, options), { status: 201, body: first.body }, 'its item is found by the key')
    t.equal(await rows.countDocuments({ answer: { $exists: true } }), 1, 'its own is not stored yet')
    await rows.deleteOne({ _id: insertedId })
    await rows.dropIndex(index)
    t.equal(first.status, 201)
    await eventually(async () => await rows.countDocuments({ answer: { $exists: true } }) === 1)
    t.equal(strayOf(await upload(service, options), first), undefined)
    t.equal((await setup.settled()).library, library + 1)
  })
})
