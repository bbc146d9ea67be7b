import type { IncomingHttpHeaders } from 'node:http'
import type { Reply } from './service.js'

/** The answer, if it is a success (2xx). Rejects on any other. */
export async function ok <Answer extends { status: number, body?: unknown }> (
  request: Promise<Answer> | Answer
): Promise<Answer> {
  const answer = await request
  if (answer.status < 200 || answer.status > 299) {
    throw new Error(`a request that should succeed was answered ${answer.status} ${JSON.stringify(answer.body)}`)
  }
  return answer
}

/** What a whole answer is compared by. */
export const answerOf = ({ status, body }: Pick<Reply, 'status' | 'body'>): Pick<Reply, 'status' | 'body'> =>
  ({ status, body })

/** A 400 that names these members. */
export const refusal = (errors: Record<string, string[]>) => ({ status: 400, body: { errors } })

/**
 * The sentence of a 500 that tells the request id and nothing internal. Undefined for any other answer.
 */
export function failureOf (
  { status, headers, body }: { status: number, headers: Headers | IncomingHttpHeaders, body: Reply['body'] }
): string | undefined {
  const id = headers instanceof Headers ? headers.get('x-request-id') : headers['x-request-id']
  const details = `The request could not be completed. Quote request id ${id} when you ask about it.`
  return status === 500 && Object.keys(body).length === 2 && body.details === details ? body.error : undefined
}
