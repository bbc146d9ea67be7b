import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteBucketPolicyCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketAclCommand,
  GetBucketLocationCommand,
  GetBucketPolicyCommand,
  GetBucketVersioningCommand,
  GetObjectAttributesCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectVersionsCommand,
  ListMultipartUploadsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  paginateListObjectsV2,
  PutBucketPolicyCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
  type ListMultipartUploadsCommandOutput,
  type S3ClientConfig
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import { createPresignedPost } from '@aws-sdk/s3-presigned-post'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { startS3 } from '../server.js'

const MIB = 1024 * 1024
const credentials = { accessKeyId: 'AKTEST', secretAccessKey: 'a secret/of+this test' }
const Bucket = 'hookaba'
const ODD_KEYS = [
  'a b+c%d%20/é日本🎉',
  'x//y',
  './dot',
  'a/../b',
  '../up',
  "q'()*!~&=?#;:@,$",
  '<xml>&"\r\n\t',
  'tail/',
  '/',
  '\u{10FFFF}\uE000',
  'k'.repeat(1024)
]
const modes: Record<string, Partial<S3ClientConfig>> = {
  'default settings': {},
  'checksums when required': {
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    forcePathStyle: true
  }
}

async function start (t: Test, extra: Partial<S3ClientConfig> = {}) {
  const path = t.testdir()
  const server = await startS3({ path, credentials })
  const client = new S3Client({ endpoint: server.endpoint, region: 'us-east-1', credentials, maxAttempts: 1, ...extra })
  t.teardown(async () => {
    client.destroy()
    await server.close()
  })
  return { ...server, client, blobs: () => readdirSync(join(path, 'blobs')).length }
}

/** Old files are removed after the answer. If a file stays, the test times out. */
async function until (holds: () => boolean): Promise<void> {
  while (!holds()) await setImmediate()
}

const failure = (name: string, httpStatusCode: number) => ({ name, $metadata: { httpStatusCode } })
const statusOf = async (answer: Promise<unknown>) => await answer.then(() => 200, ({ $metadata }) =>
  $metadata.httpStatusCode)
const md5 = (bytes: Uint8Array | string) => createHash('md5').update(bytes).digest('hex')

for (const [mode, extra] of Object.entries(modes)) {
  t.test(mode, async t => {
    const { client, endpoint, blobs } = await start(t, extra)
    const put = async (Key: string, Body: string | Uint8Array = Key) => await client.send(new PutObjectCommand({
      Bucket,
      Key,
      Body
    }))
    const read = async (Key: string) => await (await client.send(new GetObjectCommand({
      Bucket,
      Key
    }))).Body?.transformToString()

    t.test('an object comes back with its headers, under every key', async t => {
      for (const Key of ODD_KEYS) {
        const { ETag } = await client.send(new PutObjectCommand({
          Bucket,
          Key,
          Body: `bytes of ${Key}`,
          ContentType: 'text/x-odd',
          CacheControl: 'max-age=7',
          ContentDisposition: 'inline',
          ContentEncoding: 'identity'
        }))
        t.equal(ETag, `"${md5(`bytes of ${Key}`)}"`)
        const got = await client.send(new GetObjectCommand({ Bucket, Key }))
        t.match(got, {
          ContentType: 'text/x-odd',
          CacheControl: 'max-age=7',
          ContentDisposition: 'inline',
          ContentEncoding: 'identity',
          ETag,
          AcceptRanges: 'bytes'
        })
        t.equal(await got.Body?.transformToString(), `bytes of ${Key}`)
      }
      const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket }))
      t.same(
        Contents.map(({ Key }) => Key),
        [...ODD_KEYS].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
      )
      const { Deleted = [] } = await client.send(new DeleteObjectsCommand({
        Bucket,
        Delete: { Objects: ODD_KEYS.map(Key => ({ Key })) }
      }))
      t.same(Deleted.map(({ Key }) => Key), ODD_KEYS)
      await until(() => blobs() === 0)
    })

    t.test('a stream of known length is stored, except in the coding that carries a checksum after it', async t => {
      const bytes = Buffer.alloc(300_000, 'stream')
      const sent = client.send(new PutObjectCommand({
        Bucket,
        Key: 'stream',
        Body: Readable.from([bytes.subarray(0, 100_000), bytes.subarray(100_000)]),
        ContentLength: bytes.length,
        ContentEncoding: 'gzip'
      }))
      if (mode === 'default settings') {
        await t.rejects(sent, failure('NotImplemented', 501))
        return
      }
      await sent
      const got = await client.send(new GetObjectCommand({ Bucket, Key: 'stream' }))
      t.match(got, { ContentEncoding: 'gzip', ContentLength: 300_000 })
      t.ok(bytes.equals(await got.Body?.transformToByteArray() ?? Buffer.alloc(0)))
    })

    t.test('lib-storage uploads a stream of unknown length in parts', async t => {
      const bytes = Buffer.concat(Array.from({ length: 110 }, (_, i) => Buffer.alloc(100_000, i)))
      const upload = new Upload({
        client,
        params: {
          Bucket,
          Key: 'big',
          Body: Readable.from([bytes.subarray(0, 7_000_000), bytes.subarray(7_000_000)]),
          ContentType: 'image/gif'
        }
      })
      const { ETag } = await upload.done()
      const parts = [0, 5, 10].map(at => createHash('md5').update(bytes.subarray(at * MIB, (at + 5) * MIB)).digest())
      t.equal(ETag, `"${md5(Buffer.concat(parts))}-3"`)
      const got = await client.send(new GetObjectCommand({ Bucket, Key: 'big' }))
      t.match(got, { ContentType: 'image/gif', ContentLength: bytes.length })
      t.ok(bytes.equals(await got.Body?.transformToByteArray() ?? Buffer.alloc(0)))
      const across = await client.send(new GetObjectCommand({
        Bucket,
        Key: 'big',
        Range: `bytes=${5 * MIB - 3}-${5 * MIB + 2}`
      }))
      t.ok(
        bytes.subarray(5 * MIB - 3, 5 * MIB + 3).equals(await across.Body?.transformToByteArray() ?? Buffer.alloc(0)),
        'a range across parts'
      )
    })

    t.test('conditions and ranges', async t => {
      await put('cond', '0123456789')
      const ETag = `"${md5('0123456789')}"`
      const get = async (input: object) => await client.send(new GetObjectCommand({ Bucket, Key: 'cond', ...input }))
      const text = async (input: object) => {
        const { Body, ContentRange, $metadata } = await get(input)
        return [$metadata.httpStatusCode, await Body?.transformToString(), ContentRange]
      }
      t.same(await text({ Range: 'bytes=2-4' }), [206, '234', 'bytes 2-4/10'])
      t.same(await text({ Range: 'bytes=7-' }), [206, '789', 'bytes 7-9/10'])
      t.same(await text({ Range: 'bytes=-2' }), [206, '89', 'bytes 8-9/10'])
      t.same(await text({ Range: 'bytes=-99' }), [206, '0123456789', 'bytes 0-9/10'])
      t.same(await text({ Range: 'bytes=9-99' }), [206, '9', 'bytes 9-9/10'])
      t.same(await text({ Range: 'bytes=4-2' }), [200, '0123456789', undefined])
      t.same(await text({ Range: 'bytes=0-1,3-4' }), [200, '0123456789', undefined])
      await t.rejects(get({ Range: 'bytes=10-' }), failure('InvalidRange', 416))
      await t.rejects(get({ Range: 'bytes=-0' }), failure('InvalidRange', 416))
      t.equal(await statusOf(get({ IfNoneMatch: ETag })), 304)
      t.equal(await statusOf(get({ IfModifiedSince: new Date(Date.now() + 60_000) })), 304)
    })

    t.test('refusals', async t => {
      await t.rejects(client.send(new GetObjectCommand({ Bucket, Key: 'missing' })), failure('NoSuchKey', 404))
      await t.rejects(client.send(new HeadObjectCommand({ Bucket, Key: 'missing' })), failure('NotFound', 404))
      await t.rejects(
        client.send(new PutObjectCommand({ Bucket: 'no-such-bucket', Key: 'x', Body: 'x' })),
        failure('NoSuchBucket', 404)
      )
      await t.rejects(put('k'.repeat(1025)), failure('KeyTooLongError', 400))
      await t.rejects(
        client.send(new PutObjectCommand({ Bucket, Key: 'x', Body: 'x', ChecksumCRC32: 'AAAAAA==' })),
        failure('BadDigest', 400)
      )
      await t.rejects(read('x'), failure('NoSuchKey', 404), 'nothing was stored')
      const stranger = new S3Client({
        endpoint,
        region: 'us-east-1',
        credentials: { ...credentials, secretAccessKey: 'wrong' }
      })
      await t.rejects(stranger.send(new ListObjectsV2Command({ Bucket })), failure('SignatureDoesNotMatch', 403))
      const unknown = new S3Client({
        endpoint,
        region: 'us-east-1',
        credentials: { ...credentials, accessKeyId: 'WRONG' }
      })
      await t.rejects(unknown.send(new ListObjectsV2Command({ Bucket })), failure('InvalidAccessKeyId', 403))
      const abroad = new S3Client({ endpoint, region: 'eu-north-1', credentials })
      await t.rejects(abroad.send(new ListObjectsV2Command({ Bucket })), failure('AuthorizationHeaderMalformed', 400))
      for (const other of [stranger, unknown, abroad]) other.destroy()
    })

    t.test('buckets', async t => {
      const Other = 'another-bucket-1'
      await client.send(new CreateBucketCommand({ Bucket: Other }))
      await client.send(new CreateBucketCommand({ Bucket: Other }))
      t.equal((await client.send(new HeadBucketCommand({ Bucket: Other }))).BucketRegion, 'us-east-1')
      await t.rejects(client.send(new HeadBucketCommand({ Bucket: 'missing' })), failure('NotFound', 404))
      for (const name of ['Bad_Name', 'foo.-bar', 'foo-.bar', 'foo..bar', '1.2.3.4']) {
        await t.rejects(client.send(new CreateBucketCommand({ Bucket: name })), failure('InvalidBucketName', 400), name)
      }
      await client.send(new PutObjectCommand({ Bucket: Other, Key: 'full', Body: 'x' }))
      await t.rejects(client.send(new DeleteBucketCommand({ Bucket: Other })), failure('BucketNotEmpty', 409))
      await client.send(new DeleteObjectCommand({ Bucket: Other, Key: 'full' }))
      await client.send(new DeleteObjectCommand({ Bucket: Other, Key: 'full' }))
      await client.send(new CreateMultipartUploadCommand({ Bucket: Other, Key: 'open' }))
      await client.send(new DeleteBucketCommand({ Bucket: Other }))
      await t.rejects(client.send(new DeleteBucketCommand({ Bucket: Other })), failure('NoSuchBucket', 404))
    })
  })
}

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

t.test('listings agree with a model, page by page', async t => {
  const { client } = await start(t)
  const alphabet = ['a', 'b', '/', '-', 'é', '\uFFFD', '🎉']
  const key = fc.array(fc.constantFrom(...alphabet), { minLength: 1, maxLength: 4 }).map(list => list.join(''))
  const bytewise = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
  const [keys = []] = fc.sample(fc.uniqueArray(key, { minLength: 60, maxLength: 60 }), { numRuns: 1, seed: 42 })
  await Promise.all(keys.map(async Key => await client.send(new PutObjectCommand({ Bucket, Key, Body: Key }))))
  const query = fc.record({
    Prefix: fc.constantFrom('', 'a', 'a/', 'é', 'zz'),
    pageSize: fc.integer({ min: 1, max: 7 })
  })
  await fc.assert(fc.asyncProperty(query, async ({ Prefix, pageSize }) => {
    const seen: (string | undefined)[] = []
    for await (const page of paginateListObjectsV2({ client, pageSize }, { Bucket, Prefix })) {
      seen.push(...(page.Contents ?? []).map(({ Key }) => Key))
    }
    t.same(seen, keys.filter(key => key.startsWith(Prefix)).sort(bytewise), { Prefix, pageSize })
  }), { numRuns: 40, seed: 7 })
  t.match(await client.send(new ListObjectsV2Command({ Bucket, MaxKeys: 0 })), { KeyCount: 0, IsTruncated: false })
  await t.rejects(
    client.send(new ListObjectsV2Command({ Bucket, ContinuationToken: '!' })),
    failure('InvalidArgument', 400)
  )
  await t.rejects(client.send(new ListObjectsV2Command({ Bucket, MaxKeys: -1 })), failure('InvalidArgument', 400))
})

t.test('what is not served is answered NotImplemented, and changes nothing', async t => {
  const { client, endpoint } = await start(t)
  const Key = 'x'
  const UploadId = 'u'
  const CopySource = `${Bucket}/x`
  await client.send(new PutObjectCommand({ Bucket, Key, Body: 'first' }))
  const put = (extra: object) => new PutObjectCommand({ Bucket, Key, Body: 'second', ...extra })
  const ask = async (sent: Promise<unknown>, name: string) => {
    await t.rejects(sent, failure('NotImplemented', 501), name)
  }
  await ask(client.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource })), 'CopyObject')
  await ask(
    client.send(new UploadPartCopyCommand({ Bucket, Key, UploadId, PartNumber: 1, CopySource })),
    'UploadPartCopy'
  )
  await ask(
    client.send(new GetObjectAttributesCommand({ Bucket, Key, ObjectAttributes: ['ETag'] })),
    'GetObjectAttributes'
  )
  await ask(client.send(new ListPartsCommand({ Bucket, Key, UploadId })), 'ListParts')
  await ask(client.send(new ListObjectsCommand({ Bucket })), 'ListObjects')
  await ask(client.send(new ListObjectVersionsCommand({ Bucket })), 'ListObjectVersions')
  await ask(client.send(new GetBucketLocationCommand({ Bucket })), 'GetBucketLocation')
  await ask(client.send(new GetBucketVersioningCommand({ Bucket })), 'GetBucketVersioning')
  await ask(client.send(new GetBucketPolicyCommand({ Bucket })), 'GetBucketPolicy')
  await ask(client.send(new DeleteBucketPolicyCommand({ Bucket })), 'DeleteBucketPolicy')
  await ask(client.send(new GetBucketAclCommand({ Bucket })), 'GetBucketAcl')
  await ask(client.send(new GetObjectTaggingCommand({ Bucket, Key })), 'GetObjectTagging')
  await ask(client.send(new ListObjectsV2Command({ Bucket, Delimiter: '/' })), 'a delimiter')
  await ask(client.send(new GetObjectCommand({ Bucket, Key, PartNumber: 1 })), 'a part of an object')
  await ask(client.send(new GetObjectCommand({ Bucket, Key, IfMatch: '"x"' })), 'a condition on the version')
  await ask(client.send(new GetObjectCommand({ Bucket, Key, ResponseContentType: 'x/y' })), 'another content type')
  await ask(client.send(new DeleteObjectCommand({ Bucket, Key, VersionId: 'null' })), 'a version')
  await ask(client.send(new DeleteObjectCommand({ Bucket, Key, IfMatch: '"x"' })), 'a conditional delete')
  await ask(
    client.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key, ETag: 'x' }] } })),
    'conditional deletes'
  )
  for (const extra of [
    { Metadata: { a: 'b' } },
    { Tagging: 'a=b' },
    { ACL: 'public-read' },
    { StorageClass: 'GLACIER' },
    { ServerSideEncryption: 'aws:kms' },
    { IfNoneMatch: '*' },
    { IfMatch: '"x"' },
    { ContentMD5: 'x' },
    { ChecksumAlgorithm: 'SHA256' },
    { ChecksumAlgorithm: 'CRC64NVME' }
  ]) {
    await ask(client.send(put(extra)), JSON.stringify(extra))
  }
  const presigned = await fetch(`${endpoint}/${Bucket}/${Key}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=0`)
  t.equal(presigned.status, 501)
  t.equal(presigned.headers.get('content-type'), 'application/xml')
  t.match(await presigned.text(), /^<\?xml .*\?>\n<Error><Code>NotImplemented<\/Code>.*<Query>X-Amz-Algorithm, /)
  t.match(await client.send(new ListObjectsV2Command({ Bucket })), { KeyCount: 1, Contents: [{ Key, Size: 5 }] })
})

t.test('anonymous callers read what the policy allows, and nothing else', async t => {
  const { client, endpoint } = await start(t)
  const ask = async (method: string, path: string, headers: Record<string, string> = {}) => {
    const response = await fetch(`${endpoint}/${Bucket}${path}`, {
      method,
      headers,
      ...(method === 'PUT' || method === 'POST' ? { body: 'x' } : {})
    })
    return [response.status, /<Code>(\w+)/.exec(await response.text())?.[1]]
  }
  for (const Key of ['library/shown', 'incoming/hidden']) {
    await client.send(new PutObjectCommand({ Bucket, Key, Body: 'public' }))
  }
  t.same(await ask('GET', '/library/shown'), [200, undefined])
  t.same(await ask('HEAD', '/library/shown'), [200, undefined])
  t.same(await ask('GET', '/library/missing'), [403, 'AccessDenied'], 'it does not tell which keys exist')
  t.same(await ask('GET', '?list-type=2'), [403, 'AccessDenied'])
  t.same(await ask('GET', '?uploads'), [403, 'AccessDenied'])
  t.same(await ask('PUT', '/library/new'), [403, 'AccessDenied'])
  t.same(await ask('DELETE', '/library/shown'), [403, 'AccessDenied'])
  t.same(await ask('POST', '/library/shown?uploads'), [403, 'AccessDenied'])
  t.same(await ask('GET', '/library/shown?response-content-type=text/html'), [501, 'NotImplemented'])
  t.same(await ask('GET', '/library/shown?acl'), [501, 'NotImplemented'])
  t.equal((await fetch(`${endpoint}/nowhere-at-all/x`)).status, 404)

  const policy = (Resource: string, extra: object = {}) => JSON.stringify({
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Principal: { AWS: ['*'] }, Action: ['s3:GetObject'], Resource, ...extra }]
  })
  await client.send(new PutBucketPolicyCommand({ Bucket, Policy: policy(`arn:aws:s3:::${Bucket}/library/*`) }))
  t.same(await ask('GET', '/library/shown'), [200, undefined])
  t.same(await ask('GET', '/incoming/hidden'), [403, 'AccessDenied'])
  await t.rejects(client.send(new PutBucketPolicyCommand({ Bucket, Policy: '{' })), failure('MalformedPolicy', 400))
  await t.rejects(
    client.send(new PutBucketPolicyCommand({ Bucket, Policy: policy('arn:aws:s3:::elsewhere/*') })),
    failure('MalformedPolicy', 400)
  )
  await t.rejects(
    client.send(new PutBucketPolicyCommand({ Bucket, Policy: policy(`arn:aws:s3:::${Bucket}/*`, { Condition: {} }) })),
    failure('NotImplemented', 501)
  )
  for (const extra of [{ Effect: 'Deny' }, { Action: 's3:*' }, { Principal: { AWS: ['arn:aws:iam::1:root'] } }]) {
    await t.rejects(
      client.send(new PutBucketPolicyCommand({ Bucket, Policy: policy(`arn:aws:s3:::${Bucket}/*`, extra) })),
      failure('NotImplemented', 501),
      JSON.stringify(extra)
    )
  }
  await client.send(new PutBucketPolicyCommand({ Bucket, Policy: policy(`arn:aws:s3:::${Bucket}/l.brary/*`) }))
  t.same(await ask('GET', '/library/shown'), [403, 'AccessDenied'])
  const { headers } = await fetch(`${endpoint}/${Bucket}/other`, { headers: { origin: 'http://app.test' } })
  t.equal(headers.get('access-control-allow-origin'), null)
  await client.send(new PutBucketPolicyCommand({ Bucket, Policy: policy(`arn:aws:s3:::${Bucket}/l?brary/*`) }))
  const shown = await fetch(`${endpoint}/${Bucket}/library/shown`, { headers: { origin: 'http://app.test' } })
  t.match([shown.status, shown.headers.get('access-control-allow-origin')], [200, '*'])
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
