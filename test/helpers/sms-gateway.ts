import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'

export type Behaviour = (response: ServerResponse) => void
export interface Sent { method?: string, url?: string, headers: IncomingHttpHeaders, body: string }
export interface Gateway {
  url: string
  requests: Sent[]
  /** Sets the behaviours of the next requests, in order; the last one stays. Without any, every SMS is accepted. */
  behave: (...behaviours: Behaviour[]) => void
}

const taking: Behaviour = response => {
  response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify({ sid: 'SM1', status: 'queued' }))
}

/** Plays an SMS gateway. It accepts every SMS unless `behave` says otherwise. */
export async function startGateway (t: Test): Promise<Gateway> {
  const requests: Sent[] = []
  let behaviours = [taking]
  const server = createServer(async (request, response) => {
    const { method, url, headers } = request
    requests.push({ method, url, headers, body: await text(request) })
    const behave = behaviours.length > 1 ? behaviours.shift()! : behaviours[0]!
    behave(response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    behave: (...next) => { behaviours = next.length > 0 ? next : [taking] }
  }
}

/** Fails as a proxy before a gateway does. */
export function gatewayError (status: number): Behaviour {
  return response => { response.writeHead(status, { 'content-type': 'text/html' }).end('<h1>Bad gateway</h1>') }
}

/** Refuses as Twilio does (https://www.twilio.com/docs/usage/requests-to-twilio). */
export function refusing (status: number, code: number): Behaviour {
  return response => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({
      code,
      message: `The number +919800000000 and the code 123456: ${code}`,
      more_info: `https://www.twilio.com/docs/errors/${code}`,
      status
    }))
  }
}

/** Behaviours of a gateway that gives no clear answer. */
export const unclear: Record<string, Behaviour> = {
  resets: response => { response.socket?.resetAndDestroy() },
  'is silent': () => {},
  'never comes to an end': response => {
    response.writeHead(201, { 'content-type': 'application/json' }).write('{"sid":"SM1"')
    const drip = setInterval(() => { response.write(' ') }, 20)
    response.once('close', () => clearInterval(drip))
  },
  'answers half': response => {
    response.writeHead(201, { 'content-type': 'application/json', 'content-length': 1000 }).write('{"sid":"SM1"')
    response.socket?.end()
  },
  'answers no JSON': response => { response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Welcome</h1>') },
  'answers nothing': response => { response.writeHead(204).end() }
}

/** The code in an SMS as it was sent: in a test's own list, in JSON, or in a form. */
export function codeIn ({ body }: { body: string }): string {
  return /(?:code is: |^|Body=|code\+is%3A\+|code%20is%3A%20)(\d{6})(?!\d)/.exec(
    body.startsWith('{') ? JSON.parse(body).body : body
  )?.[1] ??
    ''
}
