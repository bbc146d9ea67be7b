import { once } from 'node:events'
import http from 'node:http'
import { connect } from 'node:net'
import t from 'tap'
import { field, file, form, FORM_TYPE } from './helpers/multipart.js'
import { gif, jpeg } from './helpers/small-pictures.js'
import { environment, startServices } from './helpers/backends.js'
import { eventually } from './helpers/wait.js'
import { freshPhone } from './helpers/accounts.js'
import { startService } from './helpers/service.js'
import { startProcess } from './helpers/server-process.js'
import { json } from './helpers/upload-requests.js'

const FILES = 250

t.test(
  'without descriptors for a picture thread an upload is answered 503, the process lives, and the next picture works',
  async t => {
    const services = await startServices(t)
    const token = await (await startService(t, { services, now: () => new Date() })).tokenFor(freshPhone())
    const service = await startProcess(t, environment(services), { files: FILES })
    const agent = new http.Agent({ keepAlive: true, maxSockets: 2 })
    t.teardown(() => agent.destroy())
    const upload = async (bytes: Buffer) => {
      const body = form([field('user_id', 'meera'), file(bytes)])
      const request = http.request(`${service.url}/library/upload`, {
        agent,
        method: 'POST',
        headers: {
          authorization: `Bearer ${token}`,
          'content-type': FORM_TYPE,
          'content-length': body.length,
          'idempotency-key': bytes.length
        }
      })
      request.end(body)
      const [response] = await once(request, 'response') as [http.IncomingMessage]
      return { status: response.statusCode, retryAfter: response.headers['retry-after'], body: await json(response) }
    }
    const broken = gif.subarray(0, -100)
    for (const answer of await Promise.all([upload(broken), upload(broken.subarray(0, -1))])) {
      t.equal(
        answer.status,
        400,
        'connections to the database and the store are open now, and there is no picture thread'
      )
    }

    const sockets = Array.from({ length: FILES }, () =>
      connect(Number(new URL(service.url).port), '127.0.0.1').on('error', () => {}))
    await Promise.all(sockets.map(socket =>
      new Promise(resolve =>
        socket.once('connect', () => socket.write('GET /health/live HTTP/1.1\r\n', resolve)).once('close', resolve))))
    for (const answer of await Promise.all([upload(gif), upload(jpeg)])) {
      t.match(answer, { status: 503, retryAfter: '5', body: { error: 'Service is out of resources' } })
    }
    t.ok(
      service.output().some(line => line.includes('request refused') && line.includes('EMFILE')),
      'the log names the cause'
    )

    for (const socket of sockets) socket.destroy()
    await eventually(async () => (await upload(jpeg)).status === 201)
    t.equal((await upload(gif)).status, 201, 'nor was the 503 remembered')
    t.equal(await service.kill('SIGTERM'), 0)
  }
)
