import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import type { Test } from 'tap'

export interface ReceivedSpan {
  traceId: string
  spanId: string
  parentSpanId?: string
  name: string
  /** 2: server, 3: client, 1: internal. */
  kind: number
  startTimeUnixNano: string
  endTimeUnixNano: string
  attributes: Array<{ key: string, value: Record<string, unknown> }>
  status: { code?: number, message?: string }
}

export interface OtlpReceiver {
  url: string
  requests: Array<{ path?: string, headers: IncomingHttpHeaders, body: Buffer }>
  /** The status of the next answers; undefined: none comes. */
  status: number | undefined
  /** The spans of all JSON bodies, in the order of their starts. */
  spans: () => ReceivedSpan[]
  /** The attributes of the resource that the first JSON body names. */
  resource: () => Record<string, unknown>
}

/** Takes spans by OTLP over HTTP, as a collector does. It closes when `t` ends. */
export async function startOtlpReceiver (t: Test): Promise<OtlpReceiver> {
  const server = createServer(async (request, response) => {
    receiver.requests.push({ path: request.url, headers: request.headers, body: await buffer(request) })
    if (receiver.status === undefined) return
    response.writeHead(receiver.status, { 'content-type': 'application/json' }).end('{}')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const resources = () => receiver.requests.flatMap(({ body }) => JSON.parse(body.toString()).resourceSpans)
  const receiver: OtlpReceiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    status: 200,
    spans: () => resources()
      .flatMap(({ scopeSpans }) => scopeSpans)
      .flatMap(({ spans }): ReceivedSpan[] => spans)
      .sort((a, b) => Number(BigInt(a.startTimeUnixNano) - BigInt(b.startTimeUnixNano))),
    resource: () => plain(resources()[0].resource.attributes)
  }
  return receiver
}

/** Attributes as an object of plain values. */
export const plain = (attributes: ReceivedSpan['attributes']): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
