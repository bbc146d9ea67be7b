import { once } from 'node:events'
import http from 'node:http'
import { pipeline } from 'node:stream/promises'

const BOUNDARY = '----hookaba7MA4YWxkTrZu0gW'
const disposition = name => `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"`

/** A form as a browser sends it, with a file of this content type: the bytes before the file and after it. */
export const formAround = type => ({
  head: Buffer.from(
    `${disposition('user_id')}\r\n\r\nmeera\r\n${disposition('file')}; filename="picture"\r\nContent-Type: ${type}\r\n\r\n`
  ),
  tail: Buffer.from(`\r\n--${BOUNDARY}--\r\n`)
})

export const FORM_TYPE = `multipart/form-data; boundary=${BOUNDARY}`

/** Posts a file as a form and resolves with the answer's JSON; rejects for any status but 201. */
export async function upload ({ url, token }, { type, size, pieces }, agent) {
  const { head, tail } = formAround(type)
  const request = http.request(`${url}/library/upload`, {
    method: 'POST',
    agent,
    headers: {
      'content-type': FORM_TYPE,
      'content-length': head.length + size + tail.length,
      ...(token && { authorization: `Bearer ${token}` })
    }
  })
  const [[response]] = await Promise.all([once(request, 'response'), pipeline([head, ...pieces, tail], request)])
  return answer(response, 201)
}

/** Gets a path and resolves with the answer's JSON; rejects for any status but 200. */
export async function get ({ url, token }, path, agent) {
  const request = http.get(url + path, { agent, headers: { authorization: `Bearer ${token}` } })
  const [response] = await once(request, 'response')
  return answer(response, 200)
}

/** Posts JSON and resolves with the answer's; rejects for any other status than `expected`. */
export async function post ({ url }, path, json, agent, headers = {}, expected = 200) {
  const body = Buffer.from(JSON.stringify(json))
  const request = http.request(url + path, {
    method: 'POST',
    agent,
    headers: { 'content-type': 'application/json', 'content-length': body.length, ...headers }
  })
  request.end(body)
  const [response] = await once(request, 'response')
  return answer(response, expected)
}

async function answer (response, expected) {
  const text = Buffer.concat(await response.toArray()).toString()
  if (response.statusCode !== expected) throw new Error(`${response.statusCode} ${text}`)
  return JSON.parse(text)
}
