/** The server said no, or could not be reached. The message is a sentence for the person. */
export class Refusal extends Error {
  constructor (message: string, readonly status: number) {
    super(message)
    this.name = 'Refusal'
  }
}

/** The body of a refusal, as every operation of the API answers it. */
interface RefusalBody { error?: string, errors?: Record<string, string[]> }

export const UNREACHABLE = 'The server cannot be reached. Check the connection and try again. Nothing is lost.'

/** Sentences of the API that say more to a person in other words. */
const IN_OTHER_WORDS: Record<string, string> = {
  'Unsupported file type': 'This is no GIF, PNG, JPEG or WebP. Choose another file.',
  'Damaged or unreasonable image':
    'The server cannot read this picture to its end, or it is too large. Choose another file.',
  'A request with this Idempotency-Key is still running': 'The first try is still running. Wait, and try again then.',
  'Username already in use': 'Somebody else has this name. Choose another one.'
}

/** The names that the page gives to fields. */
const FIELDS: Record<string, string> = { phone: 'Phone number', number: 'Phone number', username: 'Name', q: 'Search' }

/** A refusal in one sentence. `body` is the JSON of the answer, `retryAfter` its header in seconds. */
export function toRefusal (
  status: number,
  body: unknown,
  retryAfter: string | null,
  requestId: string | null
): Refusal {
  const { error, errors } = (body ?? {}) as RefusalBody
  const seconds = retryAfter === null ? NaN : Number(retryAfter) // a proxy may answer a date
  const wait = Number.isFinite(seconds) ? `in ${inWords(seconds)}` : 'later'
  if (status === 401) return new Refusal('Your session has ended. Sign in again. What you typed is still here.', status)
  if (status === 429) return new Refusal(`${error ?? 'Too many requests'}. Try again ${wait}.`, status)
  if (status === 503) return new Refusal(`The server is busy or stopping. Try again ${wait}. Nothing is lost.`, status)
  if (status >= 500) {
    const quote = requestId === null ? '' : ` Quote request ${requestId} when you ask about it.`
    return new Refusal(`The server failed. Try again.${quote}`, status)
  }
  if (errors) {
    const sentences = Object.entries(errors).map(([name, faults]) =>
      name.startsWith('_') ? faults.join(' ') : `${FIELDS[name] ?? capital(name)}: ${faults.join(' ')}`)
    return new Refusal(sentences.join(' '), status)
  }
  const sentence = error ?? 'The server refused this'
  return new Refusal(IN_OTHER_WORDS[sentence] ?? `${sentence}.`, status)
}

function inWords (seconds: number): string {
  if (seconds < 100) return `${seconds} ${seconds === 1 ? 'second' : 'seconds'}`
  const minutes = Math.ceil(seconds / 60)
  return minutes < 100 ? `${minutes} minutes` : `${Math.ceil(minutes / 60)} hours`
}

const capital = (text: string) => text.charAt(0).toUpperCase() + text.slice(1)
