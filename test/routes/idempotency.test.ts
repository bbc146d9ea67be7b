import { once } from 'node:events'
import http from 'node:http'
import t from 'tap'
import { create, freshKey, type Options, reused, strayOf, underWay, upload, uploadBytes } from '../helpers/idempotent-requests.js'
import { freshPhone } from '../helpers/accounts.js'
import { ok } from '../helpers/answers.js'
import { BOUNDARY, field, file, form, FORM_TYPE, type Part } from '../helpers/multipart.js'
import { type Reply, startService } from '../helpers/service.js'
import { gif, gifOf } from '../helpers/small-pictures.js'
import { scale } from '../helpers/test-length.js'
import { hangUp, MIB, open, picture, send, tooLarge, type Answer, user } from '../helpers/upload-requests.js'

const DAY_SECONDS = 24 * 3600
const invalid: Answer = { status: 400, body: { error: 'Invalid multipart body' } }
const service = await startService(t, { env: { UPLOAD_MAX_BYTES: String(MIB) } })

t.test('POST /users with an Idempotency-Key', async t => {
  const signUp = async () => {
    const number = freshPhone()
    return { number, username: `u${number.slice(1)}`, key: freshKey(), token: await service.tokenFor(number) }
  }

  t.test('A repeat of POST /users gets the same 201, though the request could not succeed any more', async t => {
    const { number, username, ...options } = await signUp()
    const first = await create(service, options, { username, number })
    t.equal(first.status, 201)
    await ok(service.call('PATCH', '/users/me', { token: options.token, json: { username: `${username}x` } }))
    t.equal(strayOf(await create(service, options, { username, number }), first), undefined)
    t.equal(
      strayOf(await create(service, options, `\n{ "number" : "${number}",\t"username":"${username}" }`), first),
      undefined,
      'the order of members and white space do not matter'
    )
    t.match(
      await service.call('POST', '/users', { token: options.token, json: { username, number } }),
      { status: 409 },
      'without a key it is tried'
    )
    t.equal(await service.app.collections.users.countDocuments({ number }), 1)
  })

  t.test('POST /users answers 422 for another body, and the first answer stays', async t => {
    const { number, username, ...options } = await signUp()
    const first = await create(service, options, { username, number, more: [{ a: 1, b: [2, 3] }] })
    for (const other of [
      { username, number },
      { username: username.toUpperCase(), number, more: [{ a: 1, b: [2, 3] }] },
      { username, number, more: [{ a: 1, b: [3, 2] }] },
      { username, number, more: [{ a: 1, b: 2, c: 3 }] },
      { username, number, more: [{ a: 1, b: ['2', 3] }] },
      { username, number, more: [{ a: 1 }, { b: [2, 3] }] },
      { username, number, more: ['{2', 'a', 1, 'b', [2, 3]] }
    ]) t.match(await create(service, options, other), reused, JSON.stringify(other))
    t.equal(
      strayOf(await create(service, options, { more: [{ b: [2, 3], a: 1 }], number, username }), first),
      undefined
    )
  })

  t.test('A refusal is repeated, though its reason is gone', async t => {
    const taken = await signUp()
    const other = await signUp()
    await ok(create(service, taken, { username: taken.username, number: taken.number }))
    const refusals = [
      { body: { username: taken.username, number: other.number }, status: 409 },
      { body: { username: other.username, number: taken.number }, status: 403 },
      { body: { username: other.username }, status: 400 },
      { body: { username: '', number: other.number }, status: 400 }
    ]
    const answers: Array<{ options: Options, body: object, first: Reply }> = []
    for (const { body, status } of refusals) {
      const options = { ...other, key: freshKey() }
      const first = await create(service, options, body)
      t.equal(first.status, status)
      answers.push({ options, body, first })
    }
    await ok(service.call('DELETE', '/users/me', { token: taken.token }))
    for (const { options, body, first } of answers) {
      t.equal(strayOf(await create(service, options, body), first), undefined)
      t.match(await create(service, options, { ...body, number: freshPhone() }), reused)
    }
    t.match(await create(service, other, refusals[0]!.body), { status: 201 }, 'with another key it is tried')
  })

  t.test('Invalid JSON uses up no key, and bodies of any depth are told apart', async t => {
    const { number, username, ...options } = await signUp()
    t.match(await create(service, options, '{"username"'), {
      status: 400,
      body: { errors: { _schema: ['Invalid input.'] } }
    })
    const deep = (leaf: string) =>
      `{"username":"${username}","number":"${number}","more":${'['.repeat(8000)}${leaf}${']'.repeat(8000)}}`
    const first = await create(service, options, deep(''))
    t.equal(first.status, 201)
    t.equal(strayOf(await create(service, options, deep('')), first), undefined)
    t.match(await create(service, options, deep('1')), reused)
  })

  t.test('Another caller or another route with the same key makes a request of its own', async t => {
    const [one, two] = [await signUp(), await signUp()]
    const first = await create(service, one, { username: one.username, number: one.number })
    const second = await create(service, { ...two, key: one.key }, { username: two.username, number: two.number })
    const third = await upload(service, one)
    t.strictSame(
      [first, second, third].map(({ status, headers }) => [status, headers.get('idempotency-replayed')]),
      Array(3).fill([201, null])
    )
    t.not(first.body.user_id, second.body.user_id)
  })

  t.test('After 24 hours the key makes a request of its own, whether the row is still there or not', async t => {
    const { number, username, ...options } = await signUp()
    const first = await create(service, options, { username, number })
    await ok(service.call('PATCH', '/users/me', { token: options.token, json: { username: `${username}x` } }))
    service.clock.advance(DAY_SECONDS - 1)
    t.equal(strayOf(await create(service, options, { username, number }), first), undefined)
    service.clock.advance(1)
    const anew = await create(service, options, { username, number })
    t.match(anew, { status: 409, body: { error: 'Phone number already in use' } })
    t.equal(strayOf(await create(service, options, { username, number }), anew), undefined)
  })

  t.test('One of 20 requests at once does the work, every other gets its answer or 409', async t => {
    for (let round = 0; round < scale({ short: 2, long: 50 }); round++) {
      const { number, username, ...options } = await signUp()
      const answers = await Promise.all(Array.from({ length: 20 }, () =>
        create(service, options, { username, number })))
      const done = answers.filter(({ status }) => status === 201)
      t.equal(done.filter(({ headers }) => headers.get('idempotency-replayed') === null).length, 1, 'one')
      t.equal(new Set(done.map(({ body }) => body.user_id)).size, 1)
      for (const answer of answers.filter(({ status }) => status !== 201)) t.match(answer, underWay)
    }
  })

  t.test('An invalid key is 400, and nothing is done', async t => {
    const { number, username, token } = await signUp()
    const body = JSON.stringify({ username, number })
    const refused = { status: 400, body: { error: 'Invalid Idempotency-Key' } }
    const tried: Array<string | string[]> = ['', 'x'.repeat(256), 'two words', 'caf\u00e9', 'a\tb', ['one', 'two']]
    for (const key of tried) {
      const headers = { authorization: `Bearer ${token}`, 'idempotency-key': key }
      for (const [path, contentType, bytes] of [
        ['/users', 'application/json', body],
        ['/library/upload', FORM_TYPE, form([user, picture])]
      ] as const) {
        const request = http.request(service.url + path, {
          method: 'POST',
          headers: { ...headers, 'content-type': contentType }
        })
        request.end(bytes)
        const [response] = await once(request, 'response') as [http.IncomingMessage]
        t.strictSame(
          { status: response.statusCode, body: JSON.parse(Buffer.concat(await response.toArray()).toString()) },
          refused,
          JSON.stringify(key)
        )
      }
    }
    t.match(
      await service.call('POST', '/users', { json: { username, number }, headers: { 'idempotency-key': '' } }),
      { status: 401 },
      'without a token nothing is told'
    )
    t.equal(await service.app.collections.users.countDocuments({ number, username: { $exists: true } }), 0)
    for (const key of ['!', '~'.repeat(255), '"8e03978e-40d5-43dd-bc93-6894a57f9324"']) {
      t.match(await create(service, { token, key }, { username, number }), { status: 201 }, key)
    }
  })

  t.test('The row of a key holds neither the key nor the number', async t => {
    const { number, username, ...options } = await signUp()
    await ok(create(service, { ...options, key: 'a-key-to-look-for' }, { username, number }))
    const rows = JSON.stringify(await service.app.collections.idempotency.find().toArray())
    t.match(rows, /"status":201/)
    t.notMatch(rows, /a-key-to-look-for/)
    t.notOk(rows.includes(number.slice(1)))
  })
})

t.test('POST /library/upload with an Idempotency-Key', async t => {
  const token = await service.tokenFor(freshPhone())
  const fresh = (): Options => ({ token, key: freshKey() })
  const count = async () => {
    const { library, uploads, objects } = await service.remains()
    const folders = new Set(objects.map(key => key.slice(0, key.lastIndexOf('/')))).size
    return { library, uploads, folders }
  }
  const stored = gifOf(300_000)
  const title = field('title', 'Dancing fox')
  const longTitle = field('title', 'x'.repeat(256))
  const plain = (name: string) => `multipart/form-data; boundary=${name}`

  t.test('A repeat of an upload gets the same 201, and there is one item', async t => {
    const options = fresh()
    const before = await count()
    const first = await upload(service, options, [user, file(stored), title])
    t.equal(first.status, 201)
    t.equal(strayOf(await upload(service, options, [user, file(stored), title]), first), undefined)
    const elsewhere = form([user, file(stored), title], { boundary: 'another' })
    t.equal(
      strayOf(await uploadBytes(service, options, elsewhere, plain('another')), first),
      undefined,
      'the boundary does not matter'
    )
    t.equal(
      strayOf(await upload(service, options, [user, file(stored, { type: 'application/octet-stream' }), title]), first),
      undefined,
      'nor does the type of the part'
    )
    const slowly = await send(
      service,
      token,
      [...form([user, file(stored), title])].reduce<Buffer[]>(
        (chunks, _, i, all) => i % 7919 === 0 ? [...chunks, Buffer.from(all.slice(i, i + 7919))] : chunks,
        []
      ),
      { headers: { 'idempotency-key': options.key } }
    )
    t.match(slowly, { status: 201, body: first.body, headers: { 'idempotency-replayed': 'true' } }, 'nor how it comes')
    t.strictSame(await count(), { library: before.library + 1, uploads: 0, folders: before.folders + 1 })
    t.match(
      await upload(service, fresh(), [user, file(stored), title]),
      { status: 201 },
      'with another key it is an item of its own'
    )
  })

  t.test('An upload of another form is 422, and nothing is stored', async t => {
    const options = fresh()
    const first = await upload(service, options, [user, file(stored), title])
    const before = await count()
    const changed = Buffer.from(stored)
    changed[200_000]! ^= 1
    const others: Array<[name: string, parts: Part[]]> = [
      ['one bit of the file', [user, file(changed), title]],
      ['a shorter file', [user, file(stored.subarray(0, -1)), title]],
      ['a longer file', [user, file(gifOf(stored.length + 1)), title]],
      ['another file name', [user, file(stored, { filename: 'wolf.gif' }), title]],
      ['another value', [field('user_id', 'meerb'), file(stored), title]],
      ['another name', [user, file(stored), field('category', 'Dancing fox')]],
      ['a field less', [user, file(stored)]],
      ['a field more', [user, file(stored), title, field('category', 'Foxes')]],
      ['another order', [title, file(stored), user]],
      ['no file', [user, title]],
      ['a file that is too large', [user, file(gifOf(MIB + 1)), title]],
      ['a form that is too long to be read', [user, file(gifOf(4 * MIB)), title]]
    ]
    for (const [name, parts] of others) t.match(await upload(service, options, parts), reused, name)
    t.match(
      await uploadBytes(service, options, form([user, file(stored), title], { end: '' })),
      invalid,
      'a malformed form is refused first'
    )
    t.match(await uploadBytes(service, options, Buffer.from('{}'), 'application/json'), { status: 415 })
    t.equal(strayOf(await upload(service, options, [user, file(stored), title]), first), undefined)
    t.strictSame(await count(), before)
  })

  t.test('A refusal of an upload is repeated; another form is 422', async t => {
    const before = await count()
    const empty = field('user_id', '')
    const text = file('no picture at all')
    const cases = [
      {
        name: 'user_id before the file',
        parts: [empty, picture],
        expected: { status: 400, body: { error: 'Missing user_id' } },
        other: [user, picture]
      },
      {
        name: 'user_id before a large file',
        parts: [empty, file(stored)],
        expected: { status: 400, body: { error: 'Missing user_id' } },
        other: [user, file(stored)]
      },
      {
        name: 'user_id after the file',
        parts: [picture, empty],
        expected: { status: 400, body: { error: 'Missing user_id' } },
        other: [picture, user]
      },
      {
        name: 'no user_id',
        parts: [picture],
        expected: { status: 400, body: { error: 'Missing user_id' } },
        other: [picture, user]
      },
      {
        name: 'no file',
        parts: [user, title],
        expected: { status: 400, body: { error: 'No file part' } },
        other: [user, title, picture]
      },
      {
        name: 'no file name',
        parts: [user, file(gif, { filename: '' })],
        expected: { status: 400, body: { error: 'No selected file' } },
        other: [user, picture]
      },
      {
        name: 'a field',
        parts: [longTitle, user, picture],
        expected: { status: 400, body: { errors: { title: ['Length must be between 1 and 255.'] } } },
        other: [title, user, picture]
      },
      {
        name: 'a small file that is no picture',
        parts: [user, text],
        expected: { status: 400, body: { error: 'Unsupported file type' } },
        other: [user, file('no picture at all.')]
      },
      {
        name: 'a small file that is no picture, and a field',
        parts: [text, user],
        expected: { status: 400, body: { error: 'Unsupported file type' } },
        other: [text, field('user_id', 'meerb')]
      },
      {
        name: 'a large file that is no picture',
        parts: [user, file(Buffer.alloc(stored.length)), title],
        expected: { status: 400, body: { error: 'Unsupported file type' } },
        other: [user, file(Buffer.alloc(stored.length)), user]
      },
      {
        name: 'a file of a byte too many',
        parts: [user, file(gifOf(MIB + 1))],
        expected: tooLarge(MIB),
        other: [user, file(gifOf(MIB))]
      },
      {
        name: 'a file of far too many',
        parts: [user, file(gifOf(5 * MIB))],
        expected: tooLarge(MIB),
        other: [user, file(gifOf(MIB))]
      }
    ]
    for (const { name, parts, expected, other } of cases) {
      const options = fresh()
      const first = await upload(service, options, parts)
      t.match(first, expected, name)
      t.equal(strayOf(await upload(service, options, parts), first), undefined, name)
      t.match(await upload(service, options, other), reused, `${name}: another`)
      t.equal(
        strayOf(await uploadBytes(service, options, form(parts, { boundary: 'another' }), plain('another')), first),
        undefined,
        `${name}: another boundary`
      )
    }
    t.strictSame(await count(), before)
  })

  t.test('A refusal at the start of a file holds for every form that begins the same', async t => {
    const options = fresh()
    const early = [longTitle, user, file(gifOf(MIB))]
    const first = await upload(service, options, early)
    t.equal(first.status, 400)
    t.equal(strayOf(await upload(service, options, [...early, field('category', 'x')]), first), undefined)
    t.match(await upload(service, options, [longTitle, user]), reused, 'one that ends before it is another')
  })

  t.test('A malformed form, and one too long whose file is not, use up no key', async t => {
    for (const broken of [
      form([user, picture], { end: '' }),
      form([user, picture]).subarray(0, 100),
      form([user, picture], { end: `\r\n--${BOUNDARY}--\r\n${'x'.repeat(MIB)}` }),
      form([user, picture], { preamble: 'x'.repeat(4 * MIB) })
    ]) {
      const options = fresh()
      t.match(await uploadBytes(service, options, broken), { status: broken.length > 3 * MIB ? 413 : 400 })
      t.match(await upload(service, options), { status: 201 })
    }
  })

  t.test('20 uploads at once make one item, every other request gets its answer or 409', async t => {
    for (let round = 0; round < scale({ short: 1, long: 20 }); round++) {
      const options = fresh()
      const { library, folders } = await count()
      const answers = await Promise.all(Array.from({ length: 20 }, () =>
        upload(service, options, [user, file(stored)])))
      const done = answers.filter(({ status }) => status === 201)
      t.equal(done.filter(({ headers }) => headers.get('idempotency-replayed') === null).length, 1, 'one')
      t.equal(new Set(done.map(({ body }) => body.id)).size, 1)
      for (const answer of answers.filter(({ status }) => status !== 201)) t.match(answer, underWay)
      t.match(await upload(service, options, [user, file(stored)]), { status: 201, body: { id: done[0]!.body.id } })
      t.strictSame(await count(), { library: library + 1, uploads: 0, folders: folders + 1 })
    }
  })

  t.test('Another instance replays an upload too, and a client that leaves while it is read does no harm', async t => {
    const options = fresh()
    const first = await upload(service, options, [user, file(stored)])
    const other = await startService(t, { services: service.services, now: () => service.clock.now })
    const leaving = open(other, token, { 'idempotency-key': options.key, 'content-length': 400_000 })
    await new Promise(resolve => leaving.write(form([user, file(stored)], { end: '' }), resolve))
    await hangUp(other, leaving)
    t.equal(strayOf(await upload(other, options, [user, file(stored)]), first), undefined)
  })
})
