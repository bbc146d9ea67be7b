import { randomUUID } from 'node:crypto'
import { buffer } from 'node:stream/consumers'
import { CreateMultipartUploadCommand, PutObjectCommand, UploadPartCommand, type S3Client } from '@aws-sdk/client-s3'
import { ObjectId } from 'mongodb'
import t, { type Test } from 'tap'
import type { UploadDocument } from '../schemas/documents.js'
import { createLease } from '../services/lease.js'
import { sha256 } from './helpers/bytes.js'
import { gif, png } from './helpers/small-pictures.js'
import { eventually } from './helpers/wait.js'
import { s3Client, startServices } from './helpers/backends.js'
import { staleAfterSeconds, startService, type Reply, type Service } from './helpers/service.js'
import { findAccount, insertAccount, userRow } from './helpers/accounts.js'
import { ok } from './helpers/answers.js'
import { findItem } from './helpers/items.js'
import { ALL, KILLS, RENDITIONS, type Left } from './helpers/killed-uploads.js'
import type { S3Fault } from './helpers/s3-proxy.js'
import { seededRandom } from './helpers/seeded-random.js'
import { createStage } from './helpers/stage.js'
import { scale } from './helpers/test-length.js'
import { startFaultySetup } from './helpers/faulty-setup.js'
import { PATIENCE } from './helpers/patience.js'

const ORDERS = scale({ short: 4, long: 40 })
/** Every third kill has sweeps of its own; in the long run each has. All meet in one sweep besides. */
const KILL_STEP = scale({ short: 3, long: 1 })

t.setTimeout(1_200_000)
/** What the sweeper adds to the longest time of an upload. */
const MARGIN_SECONDS = 60

/** The owner of all that `leave` leaves. */
const OWNER = new ObjectId()
const OWNER_NUMBER = '+919800000001'

const services = await startServices(t)
const service = await startService(t, { services })
const abandonedSeconds = staleAfterSeconds(service.config)

t.test('a sweep after a kill', async t => {
  const { clock, app: { sweeper } } = service
  const bucket = await opened(t, service)
  const { phone, token } = await service.signIn()
  const bystander = (await ok(service.upload(token, gif))).body.id
  const still = await everything(service)

  for (const { when, left, kept } of KILLS.filter((_, n) => n % KILL_STEP === 0)) {
    t.test(
      `an upload killed ${when} is ${kept ? 'settled, and its item kept,' : 'gone'} after one sweep, not before its time`,
      async t => {
        const { _id, key } = await leave(bucket, service, left)
        const before = await everything(service)
        if (left.state && left.state !== 'sweeping') {
          clock.advance(left.state === 'removing' ? MARGIN_SECONDS - 1 : abandonedSeconds - 2)
          t.strictSame(await sweeper.sweep(), { uploads: 0, multipart_uploads: 0, staged: 0, accounts: 0, failed: 0 })
          t.strictSame(await everything(service), before, 'while the upload may still run')
          clock.advance(abandonedSeconds)
        }
        t.match(await sweeper.sweep(), { failed: 0 })
        const after = await everything(service)
        const items = [bystander, ...(kept ? [_id.toHexString()] : [])]
        t.strictSame(after.library.map(id => id).sort(), items.sort())
        t.strictSame(
          after.objects,
          kept ? [...still.objects, ...ALL.map(name => key.replace('original.gif', name))].sort() : still.objects
        )
        t.match(after, { multipartUploads: [], uploads: [] })
        t.strictSame(
          await sweeper.sweep(),
          { uploads: 0, multipart_uploads: 0, staged: 0, accounts: 0, failed: 0 },
          'a second sweep finds nothing'
        )
        if (kept) {
          await removeItem(service, _id)
        }
        t.strictSame(await everything(service), still)
      }
    )
  }

  t.test('one sweep clears the remains of many kills', async t => {
    const kept: Array<{ _id: ObjectId, key: string }> = []
    for (const kill of KILLS) {
      const made = await leave(bucket, service, kill.left)
      if (kill.kept) kept.push(made)
    }
    clock.advance(2 * abandonedSeconds) // a form lives before the upload that completes it
    t.match(await sweeper.sweep(), {
      uploads: KILLS.filter(({ left }) => left.state).length,
      multipart_uploads: 1,
      staged: 1,
      failed: 0
    })
    const objects = kept.flatMap(({ key }) => ALL.map(name => key.replace('original.gif', name)))
    t.strictSame(await everything(service), {
      objects: [...still.objects, ...objects].sort(),
      multipartUploads: [],
      uploads: [],
      library: [bystander, ...kept.map(({ _id }) => _id.toHexString())]
    })
    for (const { _id } of kept) await removeItem(service, _id)
    t.strictSame(await everything(service), still)
    const { text: metrics } = await ok(service.call('GET', '/metrics'))
    t.match(metrics, /hookaba_swept_total\{kind="uploads"\} [1-9]/)
    t.match(metrics, /hookaba_swept_total\{kind="failed"\} 0/)
    t.ok(service.logs.some(line => line.includes('"sweep.finished"')))
  })

  t.test('an item whose account is gone, or is being deleted, has no owner', async t => {
    const leaving = await insertAccount(service, { deleting: clock.now })
    for (const owner of [leaving._id, new ObjectId()]) {
      const { _id, key } = await leave(bucket, service, {
        state: 'committing',
        item: { renditions: RENDITIONS, owner },
        objects: ALL,
        row: { owner }
      })
      clock.advance(abandonedSeconds)
      t.match(await sweeper.sweep(), { failed: 0 })
      const item = await findItem(service, _id.toHexString())
      t.match(item, { user_id: 'deleted' })
      t.notOk('owner' in item!)
      await service.app.collections.library.deleteOne({ _id })
      await service.app.mediaStore.remove(key.replace('original.gif', ''))
    }
    t.equal(await findAccount(service, { id: leaving._id.toHexString() }), null, 'and the row of the account goes')
  })

  t.test('a row that names no folder of an item takes nothing with it, and stops no other row', async t => {
    for (const key of [
      'library/original.gif', 'original.gif', 'library//original.gif', 'incoming/a/b', 'library/a/b/original.gif'
    ]) {
      await leave(bucket, service, { state: 'open', row: { key } })
    }
    await leave(bucket, service, { state: 'open', objects: ALL })
    clock.advance(abandonedSeconds)
    t.match(await sweeper.sweep(), { uploads: 1, failed: 5 })
    const { uploads, ...rest } = await everything(service)
    t.match({ ...rest, uploads: [] }, still)
    t.equal(service.logs.filter(line => line.includes('"sweep.failed"')).length, 5)
    await service.app.collections.uploads.deleteMany({})
    await ok(service.call('DELETE', `/library/${bystander}`, { token: await service.tokenFor(phone) }))
  })
})

t.test('the lease of a sweep', async t => {
  const { db } = service.app.mongo
  const { leases } = service.app.collections
  const leaseOf = (holder: string, name = 'something') => createLease({ leases, name, holder, seconds: 60 })
  const databaseTime = async () => (await db!.command({ hello: 1 })).localTime as Date
  const [one, two] = [leaseOf('$one'), leaseOf('two')]

  t.test('the lease has one holder at a time, until it is given up', async t => {
    t.equal(await one.hold(), true)
    t.equal(await two.hold(), false)
    t.equal(await one.hold(), true, 'renewed')
    await two.release()
    t.equal(await two.hold(), false, 'by its holder')
    await one.release()
    t.equal(await two.hold(), true)
    t.equal(await one.hold(), false, 'the old holder notices')
    await two.release()
    t.equal(await leases.countDocuments({ _id: 'something' }), 0)
  })

  t.test('the lease runs by the database\'s clock; a holder that dies loses it, and notices when it comes back', async t => {
    const before = await databaseTime()
    await one.hold()
    const after = await databaseTime()
    const { until } = (await leases.findOne({ _id: 'something' }))!
    t.ok(until.getTime() >= before.getTime() + 60_000 && until.getTime() <= after.getTime() + 60_000)
    await leases.updateOne({ _id: 'something' }, { $set: { until: new Date(before.getTime() - 1) } })
    t.equal(await two.hold(), true)
    t.equal(await one.hold(), false)
  })

  t.test('the lease is taken by one of many at once', async t => {
    for (let round = 0; round < 5; round++) {
      const answers = await Promise.all(Array.from({ length: 10 }, (_, i) =>
        leaseOf(`holder ${i}`, `race ${round}`).hold()))
      t.equal(answers.filter(held => held).length, 1)
    }
  })
})

t.test('a sweep among others', async t => {
  const setup = await startFaultySetup(t)
  const one = await setup.start({ storeSilenceMs: PATIENCE.storeSilenceMs })
  const two = await setup.start({ now: () => one.clock.now })
  const bucket = await opened(t, one)
  for (const { app: { sweeper } } of [one, two]) await eventually(() => sweeper.sweep())
  const leases = setup.client.db().collection<{ _id: string, holder: string }>('leases')
  const swept = (uploads: number) => ({ uploads, failed: 0 })
  const fill = async (count: number) => {
    for (let i = 0; i < count; i++) await leave(bucket, one, { state: 'open', objects: i < 4 ? ['original.gif'] : [] })
    one.clock.advance(staleAfterSeconds(one.config))
  }

  t.test('of two sweeps at once one does it all, beyond one batch too', async t => {
    await fill(102)
    const rounds = await Promise.all([one.app.sweeper.sweep(), two.app.sweeper.sweep()])
    t.strictSame(rounds.map(round => round?.uploads).sort(), [102, undefined])
    t.strictSame(await setup.left(), setup.empty)
  })

  t.test('a sweep that loses the lease stops after the present step', async t => {
    await fill(4)
    const { hit } = setup.s3.fault({ operation: 'ListMultipartUploads', action: { do: 'delay', ms: 60_000 }, times: 1 })
    const round = one.app.sweeper.sweep()
    await hit
    await leases.updateOne({ _id: 'sweep' }, { $set: { holder: 'somebody else', until: new Date('2200-01-01') } })
    setup.s3.clear()
    t.match(await round, swept(1))
    t.equal(await two.app.sweeper.sweep(), undefined)
    t.match(await setup.left(), { uploads: 3, objects: 3 })
    await leases.deleteMany({})
    t.match(await two.app.sweeper.sweep(), swept(3))
    t.strictSame(await setup.left(), setup.empty)
  })

  t.test('two sweeps at the same row do no harm, as when one was thought dead', async t => {
    await fill(1)
    const { hit } = setup.s3.fault({ operation: 'DeleteObject', action: { do: 'delay', ms: 60_000 }, times: 1 })
    const slow = one.app.sweeper.sweep()
    await hit
    await leases.deleteMany({})
    t.match(await two.app.sweeper.sweep(), swept(1))
    setup.s3.clear()
    t.match(await slow, swept(0))
    t.strictSame(await setup.left(), setup.empty)
  })

  t.test('an object that another process deletes at the same time is no failure', async t => {
    await fill(1)
    // the Versity S3 gateway answers like this to one of two simultaneous deletions
    setup.s3.fault({
      operation: 'DeleteObject',
      action: { do: 'answer', status: 404, code: 'NoSuchKey' },
      times: 1
    })
    t.match(await one.app.sweeper.sweep(), swept(1))
    t.match(await setup.left(), { uploads: 0, objects: 1 }, 'the other one has still to delete it')
    await one.app.mediaStore.remove('library/')
  })

  const refusal = { do: 'answer', status: 403, code: 'AccessDenied' } as const
  for (const [name, fault] of Object.entries({
    'refuses one deletion': { operation: 'DeleteObject', action: refusal, times: 1 },
    'does not answer one deletion': { operation: 'DeleteObject', action: { do: 'silence' }, times: 1 },
    'breaks off one listing': { operation: 'ListObjectsV2', action: { do: 'broken' }, times: 1 }
  } satisfies Record<string, S3Fault>)) {
    t.test(`when the store ${name}, the other rows are swept, and that one by the next sweep`, async t => {
      await fill(4)
      setup.s3.fault(fault)
      const { app: { sweeper } } = fault.action.do === 'silence' ? two : one
      t.match(await sweeper.sweep(), { uploads: 3, failed: 1 })
      t.match(await setup.left(), { uploads: 1, objects: 1 })
      t.match(await one.app.sweeper.sweep(), swept(1))
      t.strictSame(await setup.left(), setup.empty)
    })
  }

  t.test('a sweep while the store is down forgets nothing', async t => {
    await fill(2)
    await setup.s3Wire.down()
    t.match(await one.app.sweeper.sweep(), { uploads: 0, failed: 4 })
    await setup.s3Wire.up()
    t.match(await one.app.sweeper.sweep(), swept(2))
    t.strictSame(await setup.left(), setup.empty)
  })

  t.test('when the database goes away in the middle the sweep ends, and another does the rest', async t => {
    await fill(4)
    const { hit } = setup.s3.fault({ operation: 'DeleteObject', action: { do: 'delay', ms: 60_000 }, times: 1 })
    const round = one.app.sweeper.sweep()
    await hit
    await setup.mongo.down()
    setup.s3.clear()
    t.match(await round, { uploads: 0 })
    t.equal(await setup.client.db().collection('uploads').countDocuments(), 4)
    await setup.mongo.up()
    await eventually(async () => (await one.app.sweeper.sweep().catch(() => undefined))?.failed === 0)
    t.strictSame(await setup.left(), setup.empty)
  })

  t.test('a process that stops does not wait for a store that says nothing', async t => {
    await fill(3)
    const { hit } = setup.s3.fault({ operation: 'DeleteObject', action: { do: 'silence' }, times: 1 })
    const patient = await setup.start({ storeSilenceMs: 600_000, now: () => one.clock.now })
    await hit
    const deletions = () => setup.s3.requests.filter(({ operation }) => operation === 'DeleteObject').length
    const before = deletions()
    await patient.app.close()
    const lines = (text: string) => patient.logs.filter(line => line.includes(text)).length
    await eventually(() => lines('"sweep.finished"') === 1, 'the end of the sweep')
    t.equal(deletions(), before, 'nor tries again')
    t.equal(lines('A step of the sweep failed'), 1, 'nor begins another step')
    setup.s3.clear()
    t.match(await setup.left(), { uploads: 3 }, 'nothing was begun after')
    await leases.deleteMany({})
    t.match(await one.app.sweeper.sweep(), swept(3))
  })

  t.test('a service sweeps at its start, and from time to time', async t => {
    await fill(2)
    await setup.start({ now: () => one.clock.now, env: { SWEEP_INTERVAL_SECONDS: '1' } })
    const swept = async () => (await setup.left()).uploads === 0
    await eventually(swept, 'the sweep at the start')
    await fill(2)
    await eventually(swept, 'the sweep after a second')
    t.strictSame(await setup.left(), setup.empty)
  })
})

t.test(
  'a sweep that races uploads and removals deletes nothing that is alive and leaves nothing that is not',
  async t => {
    const env = { SWEEP_INTERVAL_SECONDS: '0' }
    const other = await startService(t, { services, env, now: () => service.clock.now })
    const stage = createStage()
    for (const { collections, mediaStore } of [service.app, other.app]) {
      for (const collection of [collections.uploads, collections.library]) {
        stage.direct(collection, ['insertOne', 'updateOne', 'deleteOne', 'findOne', 'findOneAndUpdate'])
      }
      stage.direct(mediaStore, ['put', 'putBytes', 'abort', 'removeObject'])
    }
    await eventually(() => other.app.sweeper.sweep())
    const { token } = await service.signIn()
    const outcomes = { kept: 0, refused: 0, removed: 0 }

    for (let seed = 1; seed <= ORDERS; seed++) {
      const random = seededRandom(seed)
      const existing = (await ok(service.upload(token, gif))).body.id
      const uploads: Reply[] = []
      const upload = async () => { uploads.push(await service.upload(token, gif)) }
      const sweep = async () => {
        for (let round = 0; round < 4; round++) {
          await stage.turn()
          if (random() < 0.4) service.clock.advance(abandonedSeconds)
          await other.app.sweeper.sweep()
        }
      }
      const removeOne = async () => {
        await stage.turn()
        const id = uploads.find(({ status }) => status === 201)?.body.id ?? existing
        const { status } = await service.call('DELETE', `/library/${id}`, { token })
        if (status === 204) removed.push(id)
      }
      const removed: string[] = []
      await stage.play([upload, upload, sweep, removeOne], random)

      service.clock.advance(2 * abandonedSeconds)
      await eventually(() => other.app.sweeper.sweep())
      const ids = [existing, ...uploads.flatMap(({ status, body }) => status === 201 ? [body.id] : [])].filter(id =>
        !removed.includes(id))
      const items = await service.app.collections.library.find().toArray()
      t.strictSame(
        items.map(({ _id }) => _id.toHexString()).sort(),
        ids.sort(),
        `seed ${seed}: what was acknowledged and not removed, and nothing else`
      )
      t.strictSame(
        await service.remains(),
        {
          objects: items
            .flatMap(({ key, renditions = [] }) =>
              [key!, ...renditions.map(({ size }) => key!.replace('original.gif', `${size}.gif`))])
            .sort(),
          multipartUploads: [],
          uploads: 0,
          library: items.length
        },
        `seed ${seed}: each with its objects, and no others`
      )
      for (const { key, sha256 } of items) t.equal(await digestOf(service, key!), sha256, `seed ${seed}`)
      t.ok(uploads.every(({ status }) => [201, 500].includes(status)))
      outcomes.kept += ids.length
      outcomes.refused += uploads.filter(({ status }) => status === 500).length
      outcomes.removed += removed.length
      for (const id of ids) await ok(service.call('DELETE', `/library/${id}`, { token }))
    }
    t.ok(
      outcomes.kept > ORDERS / 2 && outcomes.refused > ORDERS / 4 && outcomes.removed > ORDERS / 4,
      `${ORDERS} orders: ${JSON.stringify(outcomes)}`
    )
  }
)

interface Opened { client: S3Client, Bucket: string }

/** The bucket of a service, whose database gets the owner of all that `leave` leaves. */
async function opened (t: Test, { app, services }: Service): Promise<Opened> {
  await app.collections.users.insertOne({
    ...userRow({ number: OWNER_NUMBER, username: 'owner', username_key: 'owner' }),
    _id: OWNER
  })
  const client = s3Client(services)
  t.teardown(() => client.destroy())
  return { client, Bucket: services.s3.bucket }
}

async function leave (
  { client, Bucket }: Opened,
  { app, clock }: Service,
  { state, row, item, objects = [], parts, staged }: Left
): Promise<{ _id: ObjectId, key: string }> {
  const _id = new ObjectId()
  const folder = `library/${randomUUID()}/`
  const key = `${folder}original.gif`
  const stagingKey = `incoming/${randomUUID()}`
  for (const name of objects) {
    await client.send(new PutObjectCommand({ Bucket, Key: folder + name, Body: name === 'original.gif' ? gif : png }))
  }
  if (parts) {
    const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key: key }))
    await client.send(new UploadPartCommand({ Bucket, Key: key, UploadId, PartNumber: 1, Body: gif }))
  }
  if (staged === 'posted') await client.send(new PutObjectCommand({ Bucket, Key: stagingKey, Body: gif }))
  const staging = {
    key: stagingKey,
    content_type: 'image/gif',
    size: gif.length,
    expires_at: new Date(clock.now.getTime() + 600_000),
    fields: { user_id: 'meera' }
  }
  const upload: UploadDocument = {
    _id,
    key: state === 'staged' ? '' : key,
    owner: OWNER,
    state: state ?? 'open',
    started_at: clock.now,
    ...(staged && { staging }),
    ...row
  }
  if (state) await app.collections.uploads.insertOne(upload, { ignoreUndefined: true })
  if (item) {
    await app.collections.library.insertOne({
      _id,
      key,
      owner: OWNER,
      user_id: 'meera',
      type: 'gif',
      category: 'GIF',
      size: gif.length,
      created_at: clock.now,
      ...(typeof item === 'object' && item)
    })
  }
  return { _id, key }
}

/** Removes an item of the owner of all that `leave` leaves. */
async function removeItem (service: Service, id: ObjectId): Promise<void> {
  await ok(service.call('DELETE', `/library/${id.toHexString()}`, { token: await service.tokenFor(OWNER_NUMBER) }))
}

async function everything (service: Service) {
  const { objects, multipartUploads } = await service.remains()
  const { uploads, library } = service.app.collections
  return {
    objects,
    multipartUploads,
    uploads: await uploads.find().toArray(),
    library: (await library.find().toArray()).map(({ _id }) => _id.toHexString())
  }
}

async function digestOf ({ app }: Service, key: string): Promise<string> {
  return sha256(await buffer((await app.mediaStore.get(key))!.body))
}
