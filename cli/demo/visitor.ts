import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance, InjectOptions } from 'fastify'
import type { SmsMessage } from '../../services/ports.js'
import type { Person } from './content.js'

/** Sends requests to an app that does not listen, with the token of one person. */
export interface Visitor {
  post: (url: string, body?: object | FormData) => Promise<Record<string, unknown>>
}

/** Keeps the SMS of an app in place of sending them. */
export interface Inbox { take: (message: SmsMessage) => Promise<void>, codeFor: (number: string) => string | undefined }

export function createInbox (): Inbox {
  const bodies = new Map<string, string>()
  return {
    async take ({ to, body }) { bodies.set(to, body) },
    codeFor: number => /\d{6}/.exec(bodies.get(number) ?? '')?.[0]
  }
}

/** An address for examples (RFC 5737). So the codes that a newcomer asks for at this machine have their own budget. */
const ADDRESS = '192.0.2.1'
/** The first gap between two SMS of a phone is 15 s. */
const MAX_WAITS = 20
const secondsPass = (seconds: number): Promise<void> => delay(seconds * 1000)

/**
 * Signs a person in, with the code of an SMS. Waits while the service sends none, because somebody asked for a code
 * moments ago. Rejects with one clear sentence when a step is refused.
 */
export async function signIn (
  app: FastifyInstance,
  { number }: Person,
  inbox: Inbox,
  pass: (seconds: number) => Promise<void> = secondsPass
): Promise<Visitor> {
  const visitor = createVisitor(app)
  for (let waits = 0; inbox.codeFor(number) === undefined; waits++) {
    if (waits > 0) await pass(1)
    if (waits > MAX_WAITS) {
      throw new Error(`Codes for ${number} were asked for moments ago: run the command again in five minutes`)
    }
    await visitor.post('/auth/request-otp', { phone: number })
  }
  const answer = await visitor.post('/auth/verify-otp', { phone: number, otp: inbox.codeFor(number)! })
  if (typeof answer.access_token === 'string') return createVisitor(app, answer.access_token)
  throw new Error(`The code for ${number} was not taken: run the command again in a minute`)
}

function createVisitor (app: FastifyInstance, token?: string): Visitor {
  return {
    async post (url, body = {}) {
      const response = await app.inject({ method: 'POST', url, remoteAddress: ADDRESS, ...await payloadOf(body, token) })
      if (response.statusCode < 300) return response.body === '' ? {} : response.json()
      const wait = response.headers['retry-after']
      throw new Error(`The service refused POST ${url} with ${response.statusCode}: ${sentenceOf(response.json())}` +
        (wait === undefined ? '' : `. Run the command again in ${wait} s`))
    }
  }
}

const sentenceOf = ({ error, errors }: { error?: string, errors?: object }) => error ?? JSON.stringify(errors)

async function payloadOf (
  body: object | FormData,
  token: string | undefined
): Promise<Pick<InjectOptions, 'headers' | 'payload'>> {
  const headers = { 'user-agent': 'npm run demo', ...(token && { authorization: `Bearer ${token}` }) }
  if (!(body instanceof FormData)) return { headers, payload: body }
  const form = new Response(body)
  return {
    headers: { ...headers, 'content-type': form.headers.get('content-type')! },
    payload: Buffer.from(await form.arrayBuffer())
  }
}
