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
