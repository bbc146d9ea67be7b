import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import {
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
  ListObjectsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  paginateListObjectsV2,
  PutBucketPolicyCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCopyCommand
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import fc from 'fast-check'
import t from 'tap'
import { Bucket, credentials, failure, md5, MIB, modes, start, statusOf, until } from './s3-helper.js'

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
  const preflight = (key: string) => fetch(`${endpoint}/${Bucket}/${key}`, {
    method: 'OPTIONS',
    headers: {
      origin: 'http://app.test',
      'access-control-request-method': 'GET',
      'access-control-request-headers': 'range'
    }
  })
  t.match(Object.fromEntries((await preflight('library/shown')).headers), {
    'access-control-allow-origin': '*',
    'access-control-allow-methods': 'GET, HEAD',
    'access-control-allow-headers': 'range'
  })
  t.equal((await preflight('other')).status, 403)
})
