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
  ListBucketsCommand,
  ListObjectVersionsCommand,
  type ListObjectVersionsCommandOutput,
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
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
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

    t.test('an object comes back with all its metadata, under every key', async t => {
      for (const Key of ODD_KEYS) {
        const { ETag } = await client.send(new PutObjectCommand({
          Bucket,
          Key,
          Body: `bytes of ${Key}`,
          ContentType: 'text/x-odd',
          CacheControl: 'max-age=7',
          ContentDisposition: 'inline',
          ContentEncoding: 'identity',
          Metadata: { one: 'two  three' }
        }))
        t.equal(ETag, `"${md5(`bytes of ${Key}`)}"`)
        const got = await client.send(new GetObjectCommand({ Bucket, Key }))
        t.match(got, {
          ContentType: 'text/x-odd',
          CacheControl: 'max-age=7',
          ContentDisposition: 'inline',
          ContentEncoding: 'identity',
          Metadata: { one: 'two  three' },
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

    t.test('streams of known length are stored without the coding of their transfer', async t => {
      const bytes = Buffer.alloc(300_000, 'stream')
      for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const) {
        await client.send(new PutObjectCommand({
          Bucket,
          Key: 'stream',
          Body: Readable.from([bytes.subarray(0, 100_000), bytes.subarray(100_000)]),
          ContentLength: bytes.length,
          ContentEncoding: 'gzip',
          ChecksumAlgorithm
        }))
        const got = await client.send(new GetObjectCommand({ Bucket, Key: 'stream', ChecksumMode: 'ENABLED' }))
        t.match(got, {
          ContentEncoding: 'gzip',
          ContentLength: 300_000,
          ChecksumType: 'FULL_OBJECT',
          [`Checksum${ChecksumAlgorithm}`]: String
        })
        t.ok(
          bytes.equals(await got.Body?.transformToByteArray() ?? Buffer.alloc(0)),
          'the client has verified the checksum'
        )
      }
      await client.send(new PutObjectCommand({
        Bucket,
        Key: 'stream',
        Body: Readable.from([bytes]),
        ContentLength: bytes.length
      }))
      t.equal((await client.send(new HeadObjectCommand({ Bucket, Key: 'stream' }))).ContentEncoding, undefined)
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
      const part = await client.send(new HeadObjectCommand({ Bucket, Key: 'big', PartNumber: 3 }))
      t.match(part, { ContentLength: bytes.length - 10 * MIB, PartsCount: 3 })
      t.match(
        await client.send(new GetObjectAttributesCommand({
          Bucket,
          Key: 'big',
          ObjectAttributes: ['ETag', 'ObjectSize', 'ObjectParts']
        })),
        { ObjectSize: bytes.length, ObjectParts: { TotalPartsCount: 3 } }
      )
    })

    t.test('presigned requests', async t => {
      const Key = 'signed é+ &'
      const putUrl = await getSignedUrl(
        client,
        new PutObjectCommand({ Bucket, Key, ContentType: 'text/plain', Metadata: { who: 'me' } })
      )
      t.equal(
        (await fetch(putUrl, { method: 'PUT', body: 'presigned', headers: { 'content-type': 'text/plain' } })).status,
        200
      )
      const got = await fetch(await getSignedUrl(
        client,
        new GetObjectCommand({
          Bucket,
          Key,
          ResponseContentType: 'text/x-y',
          ResponseContentDisposition: 'attachment; filename="é.txt"'
        })
      ))
      t.equal(await got.text(), 'presigned')
      t.match(Object.fromEntries(got.headers), { 'content-type': 'text/x-y', 'x-amz-meta-who': 'me' })
      const headUrl = await getSignedUrl(client, new HeadObjectCommand({ Bucket, Key }))
      t.equal((await fetch(headUrl, { method: 'HEAD' })).headers.get('content-length'), '9')
      t.equal((await fetch(headUrl)).status, 403, 'another method than the signed one')
      t.equal((await fetch(putUrl.replace('X-Amz-Expires=900', 'X-Amz-Expires=901'), { method: 'PUT' })).status, 403)
      t.equal(
        (await fetch(await getSignedUrl(client, new DeleteObjectCommand({ Bucket, Key })), {
          method: 'DELETE'
        })).status,
        204
      )
      t.equal((await fetch(headUrl, { method: 'HEAD' })).status, 404)
    })

    t.test('copies, of metadata too or with new ones', async t => {
      await client.send(new PutObjectCommand({ Bucket, Key: 'from é+', Body: 'copied', Metadata: { a: '1' } }))
      const CopySource = `${Bucket}/from%20%C3%A9%2B`
      await client.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource }))
      t.match(await client.send(new HeadObjectCommand({ Bucket, Key: 'to' })), {
        Metadata: { a: '1' },
        ContentLength: 6
      })
      await client.send(new CopyObjectCommand({
        Bucket,
        Key: 'to',
        CopySource: `${Bucket}/to`,
        MetadataDirective: 'REPLACE',
        Metadata: { b: '2' }
      }))
      t.match(await client.send(new HeadObjectCommand({ Bucket, Key: 'to' })), { Metadata: { a: undefined, b: '2' } })
      t.equal(await read('to'), 'copied')
      await t.rejects(
        client.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `${Bucket}/to` })),
        failure('InvalidRequest', 400)
      )
      await t.rejects(
        client.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource: `${Bucket}/missing` })),
        failure('NoSuchKey', 404)
      )
      await t.rejects(
        client.send(new CopyObjectCommand({ Bucket, Key: 'to', CopySource, CopySourceIfMatch: '"no"' })),
        failure('PreconditionFailed', 412)
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
      t.equal((await get({ IfMatch: ETag })).$metadata.httpStatusCode, 200)
      await t.rejects(get({ IfMatch: '"other"' }), failure('PreconditionFailed', 412))
      t.equal(await statusOf(get({ IfNoneMatch: ETag })), 304)
      t.equal(await statusOf(get({ IfModifiedSince: new Date(Date.now() + 60_000) })), 304)
      await t.rejects(get({ IfUnmodifiedSince: new Date(0) }), failure('PreconditionFailed', 412))
      t.equal(
        (await get({ IfMatch: ETag, IfUnmodifiedSince: new Date(0) })).$metadata.httpStatusCode,
        200,
        'If-Match wins'
      )
      await t.rejects(
        client.send(new PutObjectCommand({ Bucket, Key: 'cond', Body: 'x', IfNoneMatch: '*' })),
        failure('PreconditionFailed', 412)
      )
      await t.rejects(
        client.send(new PutObjectCommand({ Bucket, Key: 'cond', Body: 'x', IfMatch: '"other"' })),
        failure('PreconditionFailed', 412)
      )
      await t.rejects(
        client.send(new PutObjectCommand({ Bucket, Key: 'none', Body: 'x', IfMatch: ETag })),
        failure('NoSuchKey', 404)
      )
      const racers = await Promise.allSettled(Array.from({ length: 8 }, async (_, i) =>
        await client.send(new PutObjectCommand({ Bucket, Key: 'race', Body: `racer ${i}`, IfNoneMatch: '*' }))))
      t.equal(racers.filter(({ status }) => status === 'fulfilled').length, 1, 'one of many is first')
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
        client.send(new PutObjectCommand({ Bucket, Key: 'x', Body: 'x', ContentMD5: md5('y') })),
        failure('InvalidDigest', 400)
      )
      await t.rejects(
        client.send(new PutObjectCommand({
          Bucket,
          Key: 'x',
          Body: 'x',
          ContentMD5: Buffer.from(md5('y'), 'hex').toString('base64')
        })),
        failure('BadDigest', 400)
      )
      await t.rejects(
        client.send(new PutObjectCommand({
          Bucket,
          Key: 'x',
          Body: 'x',
          ChecksumSHA256: createHash('sha256').update('y').digest('base64')
        })),
        failure('BadDigest', 400)
      )
      await t.rejects(
        client.send(new PutObjectCommand({ Bucket, Key: 'x', Body: 'x', Metadata: { long: 'x'.repeat(2100) } })),
        failure('MetadataTooLarge', 400)
      )
      await t.rejects(
        client.send(new PutObjectCommand({ Bucket, Key: 'x', Body: 'x', ACL: 'public-read' })),
        failure('AccessControlListNotSupported', 400)
      )
      await t.rejects(
        client.send(new PutObjectCommand({ Bucket, Key: 'x', Body: 'x', Tagging: 'a=b' })),
        failure('NotImplemented', 501)
      )
      await t.rejects(read('x'), failure('NoSuchKey', 404), 'nothing of these was stored')
      await t.rejects(client.send(new GetObjectTaggingCommand({ Bucket, Key: 'cond' })), failure('NotImplemented', 501))
      await t.rejects(client.send(new GetBucketAclCommand({ Bucket })), failure('NotImplemented', 501))
      t.equal((await client.send(new GetBucketVersioningCommand({ Bucket }))).Status, undefined)
      const stranger = new S3Client({
        endpoint,
        region: 'us-east-1',
        credentials: { ...credentials, secretAccessKey: 'wrong' }
      })
      await t.rejects(stranger.send(new ListBucketsCommand({})), failure('SignatureDoesNotMatch', 403))
      const unknown = new S3Client({
        endpoint,
        region: 'us-east-1',
        credentials: { ...credentials, accessKeyId: 'WRONG' }
      })
      await t.rejects(unknown.send(new ListBucketsCommand({})), failure('InvalidAccessKeyId', 403))
      const abroad = new S3Client({ endpoint, region: 'eu-north-1', credentials })
      await t.rejects(abroad.send(new ListObjectsV2Command({ Bucket })), failure('AuthorizationHeaderMalformed', 400))
      for (const other of [stranger, unknown, abroad]) other.destroy()
    })

    t.test('buckets', async t => {
      const Other = 'another-bucket-1'
      await client.send(new CreateBucketCommand({ Bucket: Other }))
      await client.send(new CreateBucketCommand({ Bucket: Other }))
      t.same((await client.send(new ListBucketsCommand({}))).Buckets?.map(({ Name }) => Name), [Other, Bucket])
      const page = await client.send(new ListBucketsCommand({ MaxBuckets: 1 }))
      t.match(page, { Buckets: [{ Name: Other }], ContinuationToken: String })
      const rest = await client.send(new ListBucketsCommand({
        MaxBuckets: 1,
        ContinuationToken: page.ContinuationToken
      }))
      t.same([rest.Buckets?.map(({ Name }) => Name), rest.ContinuationToken], [[Bucket], undefined])
      t.same((await client.send(new ListBucketsCommand({ BucketRegion: 'eu-west-1' }))).Buckets, [])
      await t.rejects(client.send(new ListBucketsCommand({ MaxBuckets: 10_001 })), failure('InvalidArgument', 400))
      t.equal((await client.send(new HeadBucketCommand({ Bucket: Other }))).BucketRegion, 'us-east-1')
      t.equal((await client.send(new GetBucketLocationCommand({ Bucket: Other }))).LocationConstraint, undefined)
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
    Parts: { ETag: string | undefined, PartNumber: number }[],
    extra: object = {}
  ) =>
    await client.send(new CompleteMultipartUploadCommand({
      Bucket,
      Key,
      UploadId,
      MultipartUpload: { Parts },
      ...extra
    }))
  const five = Buffer.alloc(5 * MIB, 'five')

  t.test('parts may be replaced, left out or sent out of order, and the upload can be completed twice', async t => {
    const UploadId = await begin('mp', { ContentType: 'image/png', Metadata: { a: 'b' } })
    const last = await part('mp', UploadId, 10_000, 'the end')
    await part('mp', UploadId, 3, 'left out')
    await part('mp', UploadId, 1, 'replaced')
    const first = await part('mp', UploadId, 1, five)
    await t.rejects(client.send(new HeadObjectCommand({ Bucket, Key: 'mp' })), failure('NotFound', 404))
    const listed = await client.send(new ListPartsCommand({ Bucket, Key: 'mp', UploadId, MaxParts: 2 }))
    t.match(listed, {
      IsTruncated: true,
      NextPartNumberMarker: '3',
      Parts: [{ PartNumber: 1, Size: 5 * MIB, ETag: first.ETag }, { PartNumber: 3 }]
    })
    t.match(
      (await client.send(new ListPartsCommand({
        Bucket,
        Key: 'mp',
        UploadId,
        PartNumberMarker: listed.NextPartNumberMarker
      }))).Parts,
      [{ PartNumber: 10_000 }]
    )
    const done = await complete('mp', UploadId, [first, last])
    const joined = createHash('md5').update(Buffer.from(md5(five) + md5('the end'), 'hex')).digest('hex')
    t.equal(done.ETag, `"${joined}-2"`)
    t.equal((await complete('mp', UploadId, [first, last])).ETag, done.ETag, 'again')
    t.match(await client.send(new HeadObjectCommand({ Bucket, Key: 'mp' })), {
      ContentLength: 5 * MIB + 7,
      ContentType: 'image/png',
      Metadata: { a: 'b' }
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
    await t.rejects(complete('bad', UploadId, [one], { MpuObjectSize: 1 }), failure('InvalidRequest', 400))
    await t.rejects(complete('other', UploadId, [one]), failure('NoSuchUpload', 404))
    await t.rejects(part('bad', UploadId, 0, 'x'), failure('InvalidArgument', 400))
    await t.rejects(part('bad', UploadId, 10_001, 'x'), failure('InvalidArgument', 400))
    await t.rejects(part('bad', 'nonsense', 1, 'x'), failure('NoSuchUpload', 404))
    await client.send(new PutObjectCommand({ Bucket, Key: 'bad', Body: 'there first' }))
    await t.rejects(complete('bad', UploadId, [one], { IfNoneMatch: '*' }), failure('PreconditionFailed', 412))
    t.equal((await client.send(new ListPartsCommand({ Bucket, Key: 'bad', UploadId }))).Parts?.length, 2)
    t.equal(
      (await client.send(new AbortMultipartUploadCommand({ Bucket, Key: 'bad', UploadId }))).$metadata.httpStatusCode,
      204
    )
    await t.rejects(part('bad', UploadId, 1, 'x'), failure('NoSuchUpload', 404))
    await client.send(new DeleteObjectCommand({ Bucket, Key: 'bad' }))
    await until(() => blobs() === 0)
  })

  t.test('checksums of parts and of the whole', async t => {
    const UploadId = await begin('sums', { ChecksumAlgorithm: 'CRC32', ChecksumType: 'FULL_OBJECT' })
    const Parts = [await part('sums', UploadId, 1, five), await part('sums', UploadId, 2, 'x')]
    await t.rejects(
      complete('sums', UploadId, Parts, { ChecksumCRC32: 'AAAAAA==', ChecksumType: 'FULL_OBJECT' }),
      failure('BadDigest', 400)
    )
    const whole = await client.send(new PutObjectCommand({
      Bucket,
      Key: 'whole',
      Body: Buffer.concat([five, Buffer.from('x')]),
      ChecksumAlgorithm: 'CRC32'
    }))
    t.match(await complete('sums', UploadId, Parts), {
      ChecksumCRC32: whole.ChecksumCRC32,
      ChecksumType: 'FULL_OBJECT'
    })
    const composite = await begin('sums', { ChecksumAlgorithm: 'SHA256' })
    const one = await part('sums', composite, 1, 'x')
    await t.rejects(complete('sums', composite, [one]), failure('InvalidRequest', 400), 'each part wants its checksum')
    const sum = createHash('sha256').update('x').digest()
    const done = await complete('sums', composite, [{ ...one, ChecksumSHA256: sum.toString('base64') } as typeof one])
    t.equal(done.ChecksumSHA256, `${createHash('sha256').update(sum).digest('base64')}-1`)
    t.match(await client.send(new GetObjectCommand({ Bucket, Key: 'sums', PartNumber: 1, ChecksumMode: 'ENABLED' })), {
      ChecksumSHA256: sum.toString('base64'),
      ChecksumType: 'COMPOSITE',
      PartsCount: 1
    })
    t.match(
      await client.send(new GetObjectCommand({ Bucket, Key: 'sums', Range: 'bytes=0-0', ChecksumMode: 'ENABLED' })),
      { ChecksumSHA256: undefined }
    )
    const attributes = async (extra = {}) => (await client.send(new GetObjectAttributesCommand({
      Bucket,
      Key: 'sums',
      ObjectAttributes: ['ObjectParts'],
      ...extra
    }))).ObjectParts
    t.match(await attributes(), {
      TotalPartsCount: 1,
      IsTruncated: false,
      MaxParts: 1000,
      Parts: [{ PartNumber: 1, Size: 1, ChecksumSHA256: sum.toString('base64') }]
    })
    t.match(await attributes({ MaxParts: 0 }), { TotalPartsCount: 1, IsTruncated: true, Parts: undefined })
    t.match(await attributes({ PartNumberMarker: '1' }), { TotalPartsCount: 1, IsTruncated: false, Parts: undefined })
  })

  t.test('a part copied from an object', async t => {
    await client.send(new PutObjectCommand({ Bucket, Key: 'source', Body: '0123456789' }))
    const UploadId = await begin('pieced')
    const input = { Bucket, Key: 'pieced', UploadId, PartNumber: 1, CopySource: `${Bucket}/source` }
    await t.rejects(
      client.send(new UploadPartCopyCommand({ ...input, CopySourceRange: 'bytes=5-10' })),
      failure('InvalidArgument', 400)
    )
    const { CopyPartResult } = await client.send(new UploadPartCopyCommand({ ...input, CopySourceRange: 'bytes=2-5' }))
    await complete('pieced', UploadId, [{ ETag: CopyPartResult?.ETag, PartNumber: 1 }])
    t.equal(
      await (await client.send(new GetObjectCommand({ Bucket, Key: 'pieced' }))).Body?.transformToString(),
      '2345'
    )
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
    const rolled = await client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'list/', Delimiter: '/' }))
    t.same(
      [rolled.Uploads?.map(({ Key }) => Key), rolled.CommonPrefixes],
      [['list/a', 'list/a', 'list/b', 'list/é'], [{ Prefix: 'list/dir/' }]]
    )
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
    Delimiter: fc.constantFrom('', '/', 'b/', '-'),
    StartAfter: fc.constantFrom('', 'a', 'b/', '🎉'),
    pageSize: fc.integer({ min: 1, max: 7 })
  })
  await fc.assert(fc.asyncProperty(query, async ({ Prefix, Delimiter, StartAfter, pageSize }) => {
    const expected = new Set<string>()
    for (const key of [...keys].sort(bytewise)) {
      if (!key.startsWith(Prefix) || bytewise(key, StartAfter) <= 0) continue
      const cut = Delimiter === '' ? -1 : key.indexOf(Delimiter, Prefix.length)
      const shown = cut === -1 ? key : key.slice(0, cut + Delimiter.length)
      if (cut === -1 || shown !== StartAfter) expected.add(shown)
    }
    const seen: (string | undefined)[] = []
    for await (const page of paginateListObjectsV2({ client, pageSize }, { Bucket, Prefix, Delimiter, StartAfter })) {
      seen.push(
        ...[
          ...(page.Contents ?? []).map(({ Key }) => Key),
          ...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix)
        ].sort(
          (a = '', b = '') => bytewise(a, b)
        )
      )
    }
    t.same(seen, [...expected], { Prefix, Delimiter, StartAfter, pageSize })
  }), { numRuns: 40, seed: 7 })

  const encoded = await client.send(new ListObjectsV2Command({ Bucket, EncodingType: 'url', Prefix: 'é', MaxKeys: 1 }))
  t.equal(encoded.Contents?.[0]?.Key?.startsWith('%C3%A9'), true)
  t.match(await client.send(new ListObjectsV2Command({ Bucket, MaxKeys: 0 })), { KeyCount: 0, IsTruncated: false })
  await t.rejects(
    client.send(new ListObjectsV2Command({ Bucket, ContinuationToken: '!' })),
    failure('InvalidArgument', 400)
  )
  await t.rejects(client.send(new ListObjectsV2Command({ Bucket, MaxKeys: -1 })), failure('InvalidArgument', 400))
  const [
    first, second
  ] = [
    await client.send(new ListObjectsCommand({ Bucket, MaxKeys: 30 })),
    await client.send(new ListObjectsCommand({ Bucket, MaxKeys: 1, Delimiter: '/', Prefix: 'a' }))
  ]
  t.same(first.Contents?.map(({ Key }) => Key), [...keys].sort(bytewise).slice(0, 30))
  t.equal(second.NextMarker, second.Contents?.[0]?.Key ?? second.CommonPrefixes?.[0]?.Prefix)
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
  t.same(await ask('GET', ''), [403, 'AccessDenied'])
  t.same(await ask('GET', '?uploads'), [403, 'AccessDenied'])
  t.same(await ask('PUT', '/library/new'), [403, 'AccessDenied'])
  t.same(await ask('DELETE', '/library/shown'), [403, 'AccessDenied'])
  t.same(await ask('POST', '/library/shown?uploads'), [403, 'AccessDenied'])
  t.same(await ask('GET', '/library/shown?response-content-type=text/html'), [400, 'InvalidRequest'])
  t.same(await ask('GET', '/library/shown?acl'), [501, 'NotImplemented'])
  t.equal((await fetch(`${endpoint}/nowhere-at-all/x`)).status, 404)

  const policy = (Resource: string, extra: object = {}) => JSON.stringify({
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Principal: { AWS: ['*'] }, Action: ['s3:GetObject'], Resource, ...extra }]
  })
  await client.send(new PutBucketPolicyCommand({ Bucket, Policy: policy(`arn:aws:s3:::${Bucket}/library/*`) }))
  t.equal(
    (await client.send(new GetBucketPolicyCommand({ Bucket }))).Policy,
    policy(`arn:aws:s3:::${Bucket}/library/*`)
  )
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
  await client.send(new DeleteBucketPolicyCommand({ Bucket }))
  t.same(await ask('GET', '/library/shown'), [403, 'AccessDenied'])
  await t.rejects(client.send(new GetBucketPolicyCommand({ Bucket })), failure('NoSuchBucketPolicy', 404))
})

t.test('every object is its own only version, as test suites that clean up expect', async t => {
  const { client } = await start(t)
  const Keys = ['a b+c', 'dir/1', 'dir/2', 'é']
  for (const Key of Keys) await client.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
  const seen: string[] = []
  let [KeyMarker, VersionIdMarker]: (string | undefined)[] = []
  do {
    const page: ListObjectVersionsCommandOutput = await client.send(new ListObjectVersionsCommand({
      Bucket,
      MaxKeys: 1,
      EncodingType: 'url',
      KeyMarker,
      VersionIdMarker
    }))
    t.match(page.Versions, [{ VersionId: 'null', IsLatest: true, Size: Number, ETag: String }])
    seen.push(...(page.Versions ?? []).map(({ Key = '' }) => decodeURIComponent(Key)));
    [
      KeyMarker, VersionIdMarker
    ] = page.IsTruncated ? [decodeURIComponent(page.NextKeyMarker ?? ''), page.NextVersionIdMarker] : []
  } while (KeyMarker !== undefined)
  t.same(seen, Keys)
  t.match(await client.send(new ListObjectVersionsCommand({ Bucket, Delimiter: '/', Prefix: 'd' })), {
    Versions: undefined,
    CommonPrefixes: [{ Prefix: 'dir/' }]
  })
  await t.rejects(
    client.send(new ListObjectVersionsCommand({ Bucket, VersionIdMarker: 'null' })),
    failure('InvalidArgument', 400)
  )
  const { Deleted = [] } = await client.send(new DeleteObjectsCommand({
    Bucket,
    BypassGovernanceRetention: true,
    Delete: { Objects: Keys.map(Key => ({ Key, VersionId: 'null' })) }
  }))
  t.equal(Deleted.length, 4)
  t.same((await client.send(new ListObjectVersionsCommand({ Bucket }))).Versions, undefined)
})

t.test('deletes on a condition', async t => {
  const { client } = await start(t)
  await client.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'four' }))
  const { LastModified } = await client.send(new HeadObjectCommand({ Bucket, Key: 'k' }))
  for (const refused of [{ IfMatch: '"other"' }, { IfMatchSize: 5 }, { IfMatchLastModifiedTime: new Date(0) }]) {
    await t.rejects(
      client.send(new DeleteObjectCommand({ Bucket, Key: 'k', ...refused })),
      failure('PreconditionFailed', 412)
    )
  }
  const { Errors } = await client.send(new DeleteObjectsCommand({
    Bucket,
    Delete: {
      Objects: [{ Key: 'k', Size: 5 }, { Key: 'k', LastModifiedTime: new Date(0) }, { Key: 'k', ETag: 'other' }]
    }
  }))
  t.same(Errors?.map(({ Code }) => Code), Array(3).fill('PreconditionFailed'))
  await client.send(new DeleteObjectCommand({
    Bucket,
    Key: 'k',
    IfMatch: `"${md5('four')}"`,
    IfMatchSize: 4,
    IfMatchLastModifiedTime: LastModified
  }))
  await t.rejects(client.send(new HeadObjectCommand({ Bucket, Key: 'k' })), failure('NotFound', 404))
})

t.test('the coding of a transfer is removed, other codings stay as they were written', async t => {
  const { client } = await start(t)
  for (const [given, kept] of [
    ['deflate, gzip', 'deflate, gzip'],
    ['aws-chunked, deflate, gzip', 'deflate, gzip'],
    ['deflate, aws-chunked,gzip', 'deflate,gzip'],
    ['gzip,aws-chunked', 'gzip'],
    ['aws-chunked', undefined]
  ]) {
    await client.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'x', ContentEncoding: given }))
    t.equal((await client.send(new HeadObjectCommand({ Bucket, Key: 'k' }))).ContentEncoding, kept, `${given}`)
  }
})

t.test('presigned POST', async t => {
  const { client, endpoint, blobs } = await start(t)
  type Options = Parameters<typeof createPresignedPost>[1]
  const post = async (
    options: Partial<Options>,
    change: (fields: Record<string, string>) => void = () => {},
    file: string | null = 'content',
    filename = 'name.png'
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
    if (file !== null) form.append('file', new Blob([file]), filename)
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
  t.equal((await post({ Fields: { success_action_status: '200' } })).status, 200)
  const created = await post(
    {
      Key: 'library/$' + '{filename}',
      Fields: { success_action_status: '201', 'Content-Type': 'image/png', 'x-amz-meta-who': 'me' }
    },
    () => {},
    'content',
    'C:\\dir\\né.png'
  )
  t.match([created.status, created.text], [201, /<Key>library\/né\.png<\/Key>/])
  const stored = await fetch(`${endpoint}/${Bucket}/library/n%C3%A9.png`)
  t.match([stored.headers.get('content-type'), stored.headers.get('x-amz-meta-who')], ['image/png', 'me'])
  const redirected = await post({ Fields: { success_action_redirect: 'http://app.test/done?x=1' } })
  t.match(
    [redirected.status, redirected.headers.get('location')],
    [303, 'http://app.test/done?x=1&bucket=hookaba&key=incoming%2Fone&etag=%22' + md5('content') + '%22']
  )

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
  t.match(await post({}, fields => { fields['x-ignore-me'] = '1' }), { status: 204 })
  t.match(
    await post({ Conditions: [['starts-with', '$Content-Type', 'image/']] }, fields => {
      fields['Content-Type'] = 'text/html'
    }),
    { status: 403 }
  )
  t.match(
    await post({ Conditions: [['starts-with', '$Content-Type', 'image/']] }),
    { status: 403 },
    'a condition wants its field'
  )
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
