/** Requests with exactly these bytes; fetch would tidy them up. */
import { once } from 'node:events'
import http from 'node:http'
import net, { type Socket } from 'node:net'

export interface RawAnswer { status: number, headers: http.IncomingHttpHeaders, body: unknown, text: string }

/** One request with these headers and a body of known length, on a connection of its own. */
export async function raw (
  { url }: { url: string },
  {
    method,
    path,
    headers = {},
    body
  }: { method: string, path: string, headers?: http.OutgoingHttpHeaders, body?: string | Buffer }
): Promise<RawAnswer> {
  const { port, hostname } = new URL(url)
  const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
  const request = http.request({ method, path, port, hostname, headers: { ...headers, ...length }, agent: false })
  request.end(body)
  const [response] = await once(request, 'response') as [http.IncomingMessage]
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk)
  return shaped(
    response.statusCode!,
    { ...response.headers, 'transfer-encoding': undefined },
    Buffer.concat(chunks).toString()
  )
}

/** Sends `text` (Latin-1). Resolves with all that the server sends until it ends the connection. */
export function exchange ({ url }: { url: string }, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = net.connect(Number(new URL(url).port), '127.0.0.1', () => socket.write(text, 'latin1'))
    socket.on('data', chunk => { answer += chunk }).on('error', reject).on('close', () => resolve(answer))
  })
}

/** Sends `text`, which may be half a request. Resolves with the one answer. */
export async function ask ({ url }: { url: string }, text: string): Promise<RawAnswer> {
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1').on('error', () => {})
  socket.write(text)
  try {
    return await answerFrom(socket)
  } finally {
    socket.destroy()
  }
}

/** The next answer on a connection with one open request. Without a length its body is text, and may be incomplete. */
export async function answerFrom (socket: Socket): Promise<RawAnswer> {
  let text = ''
  for (;;) {
    const end = text.indexOf('\r\n\r\n')
    if (end !== -1) {
      const [status = '', ...lines] = text.slice(0, end).split('\r\n')
      const headers = Object.fromEntries(lines.map(line =>
        [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
      const body = text.slice(end + 4)
      if (Buffer.byteLength(body) >= Number(headers['content-length'] ?? 0)) {
        return shaped(Number(status.split(' ')[1]), headers, body)
      }
    }
    const settled = new AbortController()
    const { signal } = settled
    const closed = once(socket, 'close', { signal }).then(() => {
      throw new Error(`the connection ended after ${JSON.stringify(text)}`)
    })
    const [chunk] = await Promise.race([once(socket, 'data', { signal }), closed]).finally(() => settled.abort())
    text += chunk
  }
}

function shaped (status: number, headers: http.IncomingHttpHeaders, text: string): RawAnswer {
  return {
    status,
    headers,
    text,
    body: headers['content-type']?.startsWith('application/json') &&
      headers['transfer-encoding'] === undefined &&
      text !== ''
      ? JSON.parse(text)
      : text
  }
}
