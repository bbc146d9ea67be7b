import { checkLength } from './body.js'
import { quoted, secondsNow, xmlReply, type Call, type Reply } from './call.js'
import { S3Error } from './errors.js'
import { keptHeaders } from './headers.js'
import { ingest, MAX_PUT, verifiedText } from './ingest.js'
import { checkKey } from './names.js'
import { childText, parseXml, xmlDocument, type Content } from './xml.js'

const MAX_DELETES = 1000

export async function putObject (call: Call): Promise<Reply> {
  checkLength(call.headers, call.body, MAX_PUT)
  return { status: 200, headers: { etag: quoted(await storeObject(call, call.key, call.body.bytes(), call.headers)) } }
}

/** Stores the bytes under the key, with the headers that describe them. Returns their MD5. */
export async function storeObject (
  { store, bucket, settings }: Call,
  key: string,
  bytes: AsyncIterable<Buffer>,
  headers: Call['headers']
): Promise<string> {
  return await ingest(store, bytes, headers, ({ blob, size, md5 }) => store.putObject(bucket, {
    key,
    etag: md5,
    size,
    modifiedAt: secondsNow(settings),
    pieces: [{ blob, size }],
    headers: keptHeaders(headers)
  }))
}

export async function deleteObject ({ store, bucket, key }: Call): Promise<Reply> {
  store.deleteObject(bucket, key)
  return { status: 204 }
}

/** Deletes up to 1,000 keys. Each has its own result. */
export async function deleteObjects ({ store, bucket, headers, body }: Call): Promise<Reply> {
  const request = parseXml(await verifiedText(headers, body))
  const wanted = request.children.filter(child => child.name === 'Object')
  const keys = wanted.map(object => childText(object, 'Key') ?? '')
  if (request.name !== 'Delete' || keys.length === 0 || keys.length > MAX_DELETES || keys.includes('')) {
    throw new S3Error('MalformedXML')
  }
  if (wanted.some(object => object.children.length > 1)) {
    throw new S3Error('NotImplemented', 'Versions and conditional deletes are not implemented')
  }
  const isQuiet = childText(request, 'Quiet')?.trim() === 'true'
  const [deleted, errors]: [Content[], Content[]] = [[], []]
  for (const key of keys) {
    try {
      checkKey(key)
      store.deleteObject(bucket, key)
      if (!isQuiet) deleted.push({ Key: key })
    } catch (error) {
      if (!(error instanceof S3Error)) throw error
      errors.push({ Key: key, Code: error.code, Message: error.message })
    }
  }
  return xmlReply(xmlDocument('DeleteResult', { Deleted: deleted, Error: errors }))
}
