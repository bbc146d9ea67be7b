/**
 * Clients that upload, upload directly and delete, one request after the other, until the service is gone. They record
 * the answers.
 */
import { once } from 'node:events'
import http from 'node:http'
import type { Acknowledged } from './library-checker.js'
import { field, file, form, FORM_TYPE } from './multipart.js'
import { gif, gifOf, jpeg, png, webp } from './small-pictures.js'
import { between, pick, type Random } from './random-faults.js'
import { json, MIB } from './upload-requests.js'

/** The answers that a client got. */
export interface ClientRecord {
  acknowledged: Acknowledged[]
  /** Ids of items whose removal was acknowledged. */
  removed: string[]
  statuses: number[]
  /** Requests that the service had begun to read before it was told to stop, and never answered. */
  dropped: string[]
  stopping: boolean
}

export const newClientRecord = (): ClientRecord =>
  ({ acknowledged: [], removed: [], statuses: [], dropped: [], stopping: false })

interface Answer { status: number, body: Acknowledged & { url: string, fields: Record<string, string> } }

/** Does one client's work. Resolves once the service refuses or is gone. */
export async function work (url: string, token: string, random: Random, record: ClientRecord): Promise<void> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
  try {
    for (;;) await pick(random, [uploadForm, uploadForm, uploadDirectly, remove])()
  } catch (error) {
    if (!(error instanceof Gone)) throw error
  } finally {
    agent.destroy()
  }

  async function uploadForm (): Promise<void> {
    const picture = random() < 0.03 ? gifOf(between(random, 5 * MIB, 6 * MIB)) : pick(random, [gif, png, jpeg, webp])
    keep(await ask('POST', '/library/upload', form([field('user_id', 'meera'), file(picture)]), FORM_TYPE))
  }

  async function uploadDirectly (): Promise<void> {
    const { status, body } = await ask(
      'POST',
      '/library/uploads',
      JSON.stringify({ content_type: 'image/gif', size: gif.length, user_id: 'meera' }),
      'application/json'
    )
    if (status !== 201) return
    const data = new FormData()
    for (const [name, value] of Object.entries(body.fields)) data.append(name, value)
    data.append('file', new Blob([gif]))
    await fetch(body.url, { method: 'POST', body: data })
    keep(await ask('POST', `/library/uploads/${body.id}/complete`))
  }

  async function remove (): Promise<void> {
    const [item] = record.acknowledged.splice(Math.floor(random() * record.acknowledged.length), 1)
    if (!item) return uploadForm()
    const { status } = await ask('DELETE', `/library/${item.id}`)
    if (status === 204) record.removed.push(item.id)
  }

  function keep ({ status, body }: Answer): void {
    if (status === 201) record.acknowledged.push(body)
  }

  /**
   * Sends the body only after `100 Continue`, so that the client knows which requests the service has begun to read.
   */
  async function ask (method: string, path: string, body: Buffer | string = '', type?: string): Promise<Answer> {
    const request = http.request(url + path, {
      method,
      agent,
      headers: {
        authorization: `Bearer ${token}`,
        'content-length': Buffer.byteLength(body),
        ...(type && { 'content-type': type, expect: '100-continue' })
      }
    })
    let begun = false
    request.once('continue', () => {
      // a stopping service refuses later requests, and may be gone before this client reads that
      begun = !record.stopping
      request.end(body)
    })
    if (!type) request.end()
    try {
      const [response] = await once(request, 'response') as [http.IncomingMessage]
      const answer = { status: response.statusCode!, body: await json(response) }
      record.statuses.push(answer.status)
      if (answer.status === 503) throw new Gone()
      return answer
    } catch {
      if (begun) record.dropped.push(`${method} ${path}`)
      throw new Gone()
    }
  }
}

class Gone extends Error {}
