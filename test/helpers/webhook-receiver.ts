import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

export interface ReceivedWebhook { headers: IncomingHttpHeaders, text: string }

/** A receiver of webhooks on loopback, which answers with `status`; 0: it never answers. It closes when `t` ends. */
export async function startWebhookReceiver (t: Test): Promise<{
  url: string
  received: ReceivedWebhook[]
  answer: { status: number }
}> {
  const received: ReceivedWebhook[] = []
  const answer = { status: 204 }
  const server = createServer((request, response) => {
    let text = ''
    request.setEncoding('utf8').on('data', chunk => { text += chunk }).on('end', () => {
      received.push({ headers: request.headers, text })
      if (answer.status > 0) response.writeHead(answer.status, { location: '/elsewhere' }).end('x'.repeat(100_000))
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?for=moderators`, received, answer }
}
