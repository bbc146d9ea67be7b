/**
 * The database and the bucket of the replaced system, as its requests left them: 40 users in every form in which people
 * typed their numbers, and 20 pictures of the shapes that its versions wrote.
 */
import { PutObjectCommand, type S3Client } from '@aws-sdk/client-s3'
import type { Db, Document } from 'mongodb'
import { oldId } from './old-database.js'
import { compact, hmac, type Json } from './jws.js'
import { gif, jpeg, png, webp } from './small-pictures.js'

export interface OldPerson {
  /** The number that all forms mean. */
  phone: string
  /** The rows of this number, the oldest first. */
  rows: Array<{ n: number, username: string, number: string }>
}

const wide = (text: string) => text.replace(/\d/g, digit => String.fromCharCode(digit.charCodeAt(0) + 0xfee0))
const arabic = (text: string) => text.replace(/\d/g, digit => String.fromCharCode(digit.charCodeAt(0) + 0x630))
/** Ways to type a number of ten digits. */
const FORMS: Array<(digits: string) => string> = [
  d => `+91${d}`,
  d => d,
  d => `0${d}`,
  d => `91${d}`,
  d => `0091${d}`,
  d => `+91 ${d.slice(0, 5)} ${d.slice(5)}`,
  d => `+91-${d.slice(0, 5)}-${d.slice(5)}`,
  d => `${d.slice(0, 5)} ${d.slice(5)}`,
  d => `${d.slice(0, 5)}.${d.slice(5)}`,
  d => `(+91) ${d}`,
  d => `+91 (0) ${d}`,
  d => `  ${d}  `,
  d => `${d.slice(0, 5)}\u00a0${d.slice(5)}`,
  wide,
  d => `＋${wide(`91${d}`)}`,
  arabic
]
const ODD_NAMES = [
  'x'.repeat(80), '  Meera  ', 'tab\tand\nline', '\u202eevil', 'Zoe\u0308', 'Zo\u00eb', 'ZO\u00cb', 'मीरा', '💡',
  '<b>bold</b>', '{"$gt":""}', "O'Neil; --", 'admin', 'ADMIN'
]
/** Each person's rows by the number of a form: 16 of one row, 8 of two, 2 of three, and one of two equal numbers. */
const PEOPLE: number[][] = [
  ...FORMS.map((_, form) => [form]),
  ...Array.from({ length: 8 }, (_, n) => [n, (n + 5) % FORMS.length]),
  [1, 0, 3],
  [13, 8, 0],
  [2, 2]
]

/** The people of the fixture. Every user has a name of their own, as the replaced system demanded. */
export function oldPeople (): OldPerson[] {
  let n = 0
  return PEOPLE.map((forms, person) => {
    const digits = `98765${String(person).padStart(5, '0')}`
    return {
      phone: `+91${digits}`,
      rows: forms.map(form => ({
        n: ++n,
        username: ODD_NAMES[n - 1] ?? `Person ${n}`,
        number: FORMS[form]!(digits)
      }))
    }
  })
}

/** A picture in the bucket's root, and the row that names it. */
interface OldPicture { name: string, bytes: Buffer, row: Document }

const NAMES = [
  'cat.gif', 'photo.jpg', 'sun.png', 'moon.webp', 'UPPER.GIF', 'my cat.gif', 'köln.png', 'a+b.gif', '100.jpeg',
  'noextension'
]
const BYTES = [gif, jpeg, png, webp, gif, gif, png, gif, jpeg, gif]

/** Ten names, each uploaded twice: the second upload replaced the object of the first. */
function oldPictures (address: string): OldPicture[] {
  return Array.from({ length: 20 }, (_, n) => {
    const name = NAMES[n % 10]!
    const at = new Date(Date.UTC(2023, 2, 2, 9, n))
    return {
      name,
      bytes: BYTES[n % 10]!,
      row: {
        _id: oldId(100 + n),
        url: `${address}/${n < 10 ? name : encodeURIComponent(name)}`,
        user_id: `user ${n}`,
        ...(n % 3 > 0 && { type: BYTES[n % 10] === gif ? 'gif' : 'image' }),
        ...(n % 3 > 1 && { category: BYTES[n % 10] === gif ? 'GIF' : 'Images' }),
        created_at: n % 2 === 0 ? at : `${at.toISOString().slice(0, -1)}456`
      }
    }
  })
}

/** Writes users, codes and pictures. Resolves with the pictures: each row, and the bytes that its address serves. */
export async function fillOldSystem (
  db: Db,
  { client, bucket, address }: { client: S3Client, bucket: string, address: string }
): Promise<OldPicture[]> {
  const created = new Date('2023-03-02T08:00:00.000Z')
  await db.collection('users').insertMany(oldPeople().flatMap(({ rows }) => rows).map(({ n, username, number }) => ({
    _id: oldId(n),
    username,
    number,
    admin: n % 7 === 0,
    created_on: n % 2 === 0 ? created : '2023-03-02T08:00:00.000000'
  })))
  await db.collection('otps').insertOne({ phone: '9876500000', otp: '123456', expires_at: created })
  const pictures = oldPictures(address)
  for (const { name, bytes } of pictures.slice(0, 10)) {
    await client.send(new PutObjectCommand({ Bucket: bucket, Key: name, Body: bytes }))
  }
  await db.collection('library').insertMany(pictures.map(({ row }) => row))
  return pictures
}

/**
 * Tokens of a number in the shapes that the replaced system's libraries wrote: PyJWT 1 and 2 order the header's members
 * differently, and Python escapes what is not ASCII.
 */
export function oldTokens (number: string, secret: string): string[] {
  const iat = Math.floor(Date.UTC(2023, 5, 1) / 1000)
  const jti = '7b0c1d5e-3a51-4a0c-9d8e-1f2a3b4c5d6e'
  const claims: Json = { fresh: false, iat, jti, type: 'access', sub: number, nbf: iat }
  // the clock of a test is a hundred years ahead, so they live longer than the ten years that they had
  const exp = iat + 200 * 365 * 86_400
  const shapes: Array<[header: string, payload: Json]> = [
    ['{"alg":"HS256","typ":"JWT"}', { ...claims, exp }],
    ['{"typ":"JWT","alg":"HS256"}', { iat, nbf: iat, jti, exp, sub: number, fresh: true, type: 'access' }],
    ['{"alg":"HS256","typ":"JWT"}', { ...claims, csrf: 'c0ffee', exp }]
  ]
  return shapes.map(([header, payload]) => compact(header, ascii(JSON.stringify(payload)), hmac(secret)))
}

/** As Python's `json.dumps` writes it. */
const ascii = (text: string) => text.replace(/[\u0080-\uffff]/g, unit =>
  `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
