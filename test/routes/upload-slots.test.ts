import type { ClientRequest } from 'node:http'
import t from 'tap'
import { file, form } from '../helpers/multipart.js'
import { gif } from '../helpers/small-pictures.js'
import { eventually } from '../helpers/wait.js'
import { freshPhone } from '../helpers/accounts.js'
import { startService, type Service } from '../helpers/service.js'
import { open, send, user } from '../helpers/upload-requests.js'

const tooMany = { status: 429, headers: { 'retry-after': '5' }, body: { error: 'Too many uploads at the same time' } }
const busy = { status: 503, headers: { 'retry-after': '5' }, body: { error: 'Server is busy' } }
const whole = form([user, file(gif)])

t.test(
  'Uploads take at most half of MAX_REQUESTS, one account at most a quarter of that; all else goes on',
  async t => {
    const service = await startService(t, { env: { MAX_REQUESTS: '17' } })
    const tokens = await Promise.all(Array.from({ length: 5 }, () => service.tokenFor(freshPhone())))
    const [first, , , , fifth] = tokens as [string, string, string, string, string]
    const underWay = async (count: number) => eventually(async () => (await service.remains()).uploads === count)
    const stalled: ClientRequest[] = []
    const stall = (token: string) => {
      const request = open(service, token, { 'content-length': whole.length })
      request.write(whole.subarray(0, -10))
      stalled.push(request)
    }
    const complete = (token: string) => send(service, token, [], {
      path: `/library/uploads/${'0'.repeat(24)}/complete`,
      headers: { 'content-type': undefined }
    })

    for (let i = 0; i < 2; i++) stall(first)
    await underWay(2)
    const key = { 'idempotency-key': 'of-an-upload-that-was-too-many' }
    t.match(await send(service, first, [whole], { headers: key }), tooMany)
    t.match(await complete(first), tooMany)
    t.equal((await service.upload(fifth, gif)).status, 201, 'other accounts are not held up')
    t.equal((await service.call('GET', '/library', { token: first })).status, 200)

    for (const token of tokens.slice(1, 4)) for (let i = 0; i < 2; i++) stall(token)
    await underWay(8)
    t.match(await send(service, fifth, [whole]), busy)
    t.match(await complete(fifth), busy)
    t.match(await send(service, first, [whole]), tooMany)
    t.equal((await service.call('GET', '/library', { token: fifth })).status, 200)
    t.equal(
      (await service.call('POST', '/library/uploads', {
        token: fifth,
        json: { content_type: 'image/gif', size: gif.length, user_id: 'meera' }
      })).status,
      201
    )

    const answers = stalled.slice(0, 4).map(async request =>
      new Promise<number>(resolve => { request.on('response', response => resolve(response.resume().statusCode!)) }))
    for (const request of stalled.slice(0, 4)) request.end(whole.subarray(-10))
    t.strictSame(await Promise.all(answers), [201, 201, 201, 201])
    for (const request of stalled.slice(4)) request.destroy()
    await eventually(async () => isFree(service, tokens))
    t.equal(
      (await send(service, first, [whole], { headers: key })).status,
      201,
      'a refusal of this kind is not kept for its key'
    )
  }
)

t.test('MAX_REQUESTS=1 still allows one upload', async t => {
  const service = await startService(t, { env: { MAX_REQUESTS: '1' } })
  const { token } = await service.signIn()
  for (const bytes of [gif, Buffer.from('no picture'), gif]) {
    t.equal((await service.upload(token, bytes)).status, bytes === gif ? 201 : 400)
  }
})

/** Whether the stalled accounts have their slots again: all of them at once. */
async function isFree (service: Service, tokens: string[]): Promise<boolean> {
  const answers = await Promise.all(tokens.slice(0, 4).flatMap(token =>
    [service.upload(token, gif), service.upload(token, gif)]))
  return answers.every(({ status }) => status === 201)
}
