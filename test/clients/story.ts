/**
 * Uses the service by the client that openapi-generator makes for TypeScript's fetch:
 * story.js URL NUMBER CODE PICTURE.
 */
import { deepStrictEqual as same, ok } from 'node:assert'
import { readFileSync } from 'node:fs'
import { AuthApi, Configuration, LibraryApi, ResponseError, UsersApi } from './src'

const [basePath = '', number = '', code = '', picture = ''] = process.argv.slice(2)
let accessToken = ''
const configuration = new Configuration({ basePath, accessToken: async () => accessToken })
const [auth, users, library] = [new AuthApi(configuration), new UsersApi(configuration), new LibraryApi(configuration)]
const file = (bytes: Uint8Array<ArrayBuffer> = new Uint8Array(readFileSync(picture))) => new File([bytes], 'picture.gif')

/** Checks that an answer is a refusal, with this body. */
async function refused (status: number, body: object, answer: Promise<unknown>): Promise<void> {
  const error: unknown = await answer.catch(error => error)
  ok(error instanceof ResponseError)
  same([error.response.status, await error.response.json()], [status, body])
}

async function story (): Promise<void> {
  same((await auth.requestOtp({ otpRequest: { phone: number, platform: 'web' } })).message, 'OTP sent')
  const wrong = await auth.verifyOtp({ otpVerification: { phone: number, otp: '000000' } })
  same([wrong.success, wrong.message, wrong.accessToken], [false, 'Invalid OTP', undefined])
  await refused(401, { error: 'Missing access token' }, users.getCurrentUser())
  const right = await auth.verifyOtp({ otpVerification: { phone: number, otp: code } })
  same([right.success, right.tokenType, right.refreshToken], [true, 'Bearer', undefined])
  accessToken = right.accessToken ?? ''

  await refused(400, { errors: { number: ['Not a valid phone number.'] } }, users.createUser({ userCreation: { username: 'typescript', number: 'none' } }))
  await refused(400, { errors: { admin: ['Not a valid boolean.'] } }, users.createUser({ userCreation: { username: 'typescript', number, admin: null as unknown as boolean } }))
  const { userId } = await users.createUser({ idempotencyKey: 'typescript-1', userCreation: { username: 'typescript', number, admin: undefined } })
  const me = await users.changeCurrentUser({ currentUserChange: { username: undefined } })
  same([me.id, me.username, me.number, me.admin], [userId, 'typescript', number, false])
  await refused(400, { errors: { username: ['Not a valid string.'] } }, users.changeCurrentUser({ currentUserChange: { username: null as unknown as string } }))
  await refused(400, { error: 'Invalid user id' }, users.getUser({ id: '0' }))

  const item = await library.uploadFile({ file: file(), userId: 'typescript', category: undefined, title: undefined, type: undefined, fit: undefined })
  same([item.type, item.category, item.title], ['gif', 'GIF', undefined])
  const empty = await library.uploadFile({ file: file(), userId: 'typescript', category: '', title: '', type: '', fit: '' as 'cover' })
  same([empty.category, empty.title], ['GIF', undefined])
  await refused(400, { error: 'Unsupported file type' }, library.uploadFile({ file: file(new Uint8Array([1, 2, 3])), userId: 'typescript' }))
  const page = await library.listLibrary({ mine: true })
  same([page.items.map(({ id }) => id), page.nextCursor, page.total], [[empty.id, item.id], null, 2])
  same((await library.listLibrary({ q: '.*' })).items, [])
  ok(page.items[0]?.renditions?.['64x64']?.url)
  same((await library.getLibraryItem({ id: item.id })).createdAt, item.createdAt)
  await refused(404, { error: 'Library item not found' }, library.getLibraryItem({ id: userId }))
  await library.removeLibraryItem({ id: item.id })
  same((await users.exportCurrentUser()).items[0]?.id, empty.id)
  await auth.logOut()
}

story().catch(error => {
  console.error(error)
  process.exitCode = 1
})
