import { createHash } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  UploadPartCommand,
  type ListMultipartUploadsCommandOutput
} from '@aws-sdk/client-s3'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import t from 'tap'
import { Bucket, failure, md5, MIB, modes, start, until } from './s3-helper.js'

t.test('multipart uploads', async t => {
  const { client, blobs } = await start(t, modes['checksums when required'])
  const begin = async (Key: string, extra: object = {}) => (await client.send(new CreateMultipartUploadCommand({
    Bucket,
    Key,
    ...extra
  }))).UploadId
  const part = async (Key: string, UploadId: string | undefined, PartNumber: number, Body: Uint8Array | string) => {
    const { ETag } = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))
    return { ETag, PartNumber }
  }
  const complete = async (
    Key: string,
    UploadId: string | undefined,
    Parts: { ETag: string | undefined, PartNumber: number }[]
  ) =>
    await client.send(new CompleteMultipartUploadCommand({
      Bucket,
      Key,
      UploadId,
      MultipartUpload: { Parts }
    }))
  const five = Buffer.alloc(5 * MIB, 'five')

  t.test('parts may be replaced, left out or sent out of order, and the upload can be completed twice', async t => {
    const UploadId = await begin('mp', { ContentType: 'image/png' })
    const last = await part('mp', UploadId, 10_000, 'the end')
    await part('mp', UploadId, 3, 'left out')
    await part('mp', UploadId, 1, 'replaced')
    const first = await part('mp', UploadId, 1, five)
    await t.rejects(client.send(new HeadObjectCommand({ Bucket, Key: 'mp' })), failure('NotFound', 404))
    const done = await complete('mp', UploadId, [first, last])
    const joined = createHash('md5').update(Buffer.from(md5(five) + md5('the end'), 'hex')).digest('hex')
    t.equal(done.ETag, `"${joined}-2"`)
    t.equal((await complete('mp', UploadId, [first, last])).ETag, done.ETag, 'again')
    t.match(await client.send(new HeadObjectCommand({ Bucket, Key: 'mp' })), {
      ContentLength: 5 * MIB + 7,
      ContentType: 'image/png'
    })
    await t.rejects(
      client.send(new AbortMultipartUploadCommand({ Bucket, Key: 'mp', UploadId })),
      failure('NoSuchUpload', 404)
    )
    await client.send(new DeleteObjectCommand({ Bucket, Key: 'mp' }))
    await t.rejects(complete('mp', UploadId, [first, last]), failure('NoSuchUpload', 404))
    await until(() => blobs() === 0)
  })

  t.test('refusals leave the upload as it is', async t => {
    const UploadId = await begin('bad')
    const [one, two] = [await part('bad', UploadId, 1, 'too small'), await part('bad', UploadId, 2, 'end')]
    await t.rejects(complete('bad', UploadId, [one, two]), failure('EntityTooSmall', 400))
    await t.rejects(complete('bad', UploadId, [two, one]), failure('InvalidPartOrder', 400))
    await t.rejects(complete('bad', UploadId, [one, one]), failure('InvalidPartOrder', 400))
    await t.rejects(complete('bad', UploadId, [{ ...one, ETag: two.ETag }]), failure('InvalidPart', 400))
    await t.rejects(complete('bad', UploadId, [{ ...one, PartNumber: 3 }]), failure('InvalidPart', 400))
    await t.rejects(complete('bad', UploadId, []), failure('MalformedXML', 400))
    await t.rejects(complete('other', UploadId, [one]), failure('NoSuchUpload', 404))
    await t.rejects(part('bad', UploadId, 0, 'x'), failure('InvalidArgument', 400))
    await t.rejects(part('bad', UploadId, 10_001, 'x'), failure('InvalidArgument', 400))
    await t.rejects(part('bad', 'nonsense', 1, 'x'), failure('NoSuchUpload', 404))
    t.equal(
      (await client.send(new AbortMultipartUploadCommand({ Bucket, Key: 'bad', UploadId }))).$metadata.httpStatusCode,
      204
    )
    await t.rejects(part('bad', UploadId, 1, 'x'), failure('NoSuchUpload', 404))
    await until(() => blobs() === 0)
  })

  t.test('open uploads are listed by key and age, in pages', async t => {
    const opened = new Map<string, string | undefined>()
    const names = ['list/a', 'list/a', 'list/b', 'list/dir/1', 'list/dir/2', 'list/é']
    for (const [index, Key] of names.entries()) opened.set(`${index}`, await begin(Key))
    const seen: (string | undefined)[] = []
    let [KeyMarker, UploadIdMarker]: (string | undefined)[] = []
    do {
      const page: ListMultipartUploadsCommandOutput = await client.send(new ListMultipartUploadsCommand({
        Bucket,
        Prefix: 'list/',
        MaxUploads: 1,
        KeyMarker,
        UploadIdMarker
      }))
      seen.push(...(page.Uploads ?? []).map(upload => upload.UploadId));
      [KeyMarker, UploadIdMarker] = page.IsTruncated ? [page.NextKeyMarker, page.NextUploadIdMarker] : []
    } while (KeyMarker !== undefined)
    t.same(new Set(seen), new Set(opened.values()))
    t.equal(seen.length, names.length)
    const rest = await client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'list/', KeyMarker: 'list/a' }))
    t.same(rest.Uploads?.map(({ Key }) => Key), names.slice(2), 'a marker without an id')
  })
})

t.test('presigned POST', async t => {
  const { client, endpoint, blobs } = await start(t)
  type Options = Parameters<typeof createPresignedPost>[1]
  const post = async (
    options: Partial<Options>,
    change: (fields: Record<string, string>) => void = () => {},
    file: string | null = 'content'
  ) => {
    const { url, fields } = await createPresignedPost(client, {
      Bucket,
      Key: 'incoming/one',
      Conditions: [['content-length-range', 2, 10]],
      ...options
    })
    change(fields)
    const form = new FormData()
    for (const [name, value] of Object.entries(fields)) form.append(name, value)
    if (file !== null) form.append('file', new Blob([file]), 'name.png; name="key')
    const response = await fetch(url, { method: 'POST', body: form, redirect: 'manual' })
    const text = await response.text()
    return {
      status: response.status,
      code: /<Code>(\w+)/.exec(text)?.[1],
      message: /<Message>([^<]*)/.exec(text)?.[1],
      text,
      headers: response.headers
    }
  }
  const done = await post({})
  t.match([done.status, done.text, done.headers.get('etag')], [204, '', `"${md5('content')}"`])
  t.equal((await fetch(`${endpoint}/${Bucket}/incoming/one`)).status, 403)
  t.equal(
    await (await client.send(new GetObjectCommand({ Bucket, Key: 'incoming/one' }))).Body!.transformToString(),
    'content'
  )
  t.equal((await post({ Key: 'library/é', Fields: { 'Content-Type': 'image/png' } })).status, 204)
  const stored = await fetch(`${endpoint}/${Bucket}/library/%C3%A9`)
  t.equal(stored.headers.get('content-type'), 'image/png')
  for (const Fields of [
    { success_action_status: '201' },
    { success_action_redirect: 'http://app.test/' },
    { acl: 'private' },
    { 'x-amz-meta-who': 'me' }
  ] as Record<string, string>[]) {
    t.match(await post({ Fields }), { status: 501, code: 'NotImplemented' }, JSON.stringify(Fields))
  }
  t.match(await post({ Key: 'library/$' + '{filename}' }), { status: 501, code: 'NotImplemented' })

  await until(() => blobs() === 2) // one blob for each key: the earlier blob is removed a moment later
  t.match(await post({}, () => {}, 'x'), { status: 400, code: 'EntityTooSmall' })
  t.match(await post({}, () => {}, 'x'.repeat(11)), { status: 400, code: 'EntityTooLarge' })
  t.match(await post({}, () => {}, null), { status: 400, code: 'InvalidArgument', message: /exactly one file/ })
  t.match(await post({}, fields => { fields.key = 'incoming/two' }), {
    status: 403,
    code: 'AccessDenied',
    message: /Policy Condition failed: \[.*eq.*\$key/
  })
  t.match(await post({}, fields => { fields['x-amz-meta-extra'] = '1' }), {
    status: 403,
    message: /Extra input fields: x-amz-meta-extra/
  })
  t.match(await post({ Conditions: [{ 'Content-Type': 'image/png' }] }), { status: 403 }, 'a condition wants its field')
  t.match(await post({ Conditions: [['starts-with', '$Content-Type', 'image/']] }), { status: 501 })
  t.match(await post({ Conditions: [{ bucket: 'another' }] }), { status: 403, message: /\$bucket/ })
  t.match(await post({ Conditions: [{} as { bucket: string }] }), { status: 400, code: 'InvalidPolicyDocument' })
  t.match(await post({ Expires: -1 }), { status: 403, message: /Policy expired/ })
  t.match(await post({}, fields => { fields.Policy = Buffer.from('{}').toString('base64') }), {
    status: 403,
    code: 'SignatureDoesNotMatch'
  })
  t.match(await post({}, fields => { fields['X-Amz-Signature'] = '0'.repeat(64) }), {
    status: 403,
    code: 'SignatureDoesNotMatch'
  })
  t.match(await post({}, fields => { delete fields.Policy }), { status: 403, code: 'AccessDenied' })
  t.match(await post({}, fields => { fields.AWSAccessKeyId = 'AKTEST' }), { status: 403, code: 'AccessDenied' })
  t.match(await post({}, fields => { delete fields.key }), {
    status: 400,
    code: 'InvalidArgument',
    message: /field named &apos;key|field named 'key/
  })
  await until(() => blobs() === 2)

  const raw = await fetch(`${endpoint}/${Bucket}`, {
    method: 'POST',
    body: 'x',
    headers: { 'content-type': 'text/plain' }
  })
  t.equal(raw.status, 412)
})
