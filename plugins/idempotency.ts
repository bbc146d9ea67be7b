import type { FastifyReply, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { IDEMPOTENCY_KEY } from '../schemas/common.js'
import type { Fingerprint, StoredAnswer } from '../schemas/documents.js'
import { invalidIdempotencyKey, reusedIdempotencyKey } from '../services/errors.js'
import { createFingerprints } from '../services/idempotency/fingerprint.js'
import { createIdempotency, type Recall } from '../services/idempotency/idempotency.js'
import { isLasting } from '../services/idempotency/is-lasting.js'
import type { IdempotencyLock } from '../services/ports.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** A request with an `Idempotency-Key` takes effect once. A repeat gets the same answer. Says what its body is. */
    idempotent?: 'json' | 'form'
    /** Finds the result of a request with this key that ran since then and died before it could answer. */
    recall?: (digest: string, since: Date) => Promise<
      | { status: number, answer: object, fingerprint: Fingerprint }
      | undefined>
  }
  interface FastifyRequest {
    /** Set while the request holds its `Idempotency-Key`. */
    idempotencyLock: IdempotencyLock | null
  }
}

const JSON_TYPE = 'application/json; charset=utf-8'
const KEY = new RegExp(IDEMPOTENCY_KEY)
type Done = (error?: Error) => void

/**
 * `Idempotency-Key` on the `idempotent` routes. The key is taken before the body is validated, and settled before the
 * answer is sent.
 */
export default fp(async function idempotency (app) {
  const { collections, config, now, log } = app
  const keys = createIdempotency({
    keys: collections.idempotency,
    secret: config.OTP_SECRET,
    longestSeconds: config.UPLOAD_MAX_SECONDS,
    now,
    log
  })
  const fingerprints = createFingerprints(config.OTP_SECRET)
  app.decorateRequest('idempotencyLock', null)
  app.addHook('onClose', keys.close)
  app.addHook('onRoute', route => {
    if (!route.config?.idempotent) return
    route.preValidation = [takeKey, ...[route.preValidation ?? []].flat()]
    route.onSend = [...[route.onSend ?? []].flat(), settleKey]
  })

  function takeKey (request: FastifyRequest, reply: FastifyReply, done: Done): void {
    const key = request.headers['idempotency-key']
    if (key === undefined) return done()
    if (typeof key !== 'string' || !KEY.test(key)) return done(invalidIdempotencyKey())
    beginOrReplay(request, reply, key, done).catch(done)
  }

  /** `done` is not called after a replay: an answered request goes no further, even if its client is gone. */
  async function beginOrReplay (request: FastifyRequest, reply: FastifyReply, key: string, done: Done): Promise<void> {
    const begun = await keys.begin(
      request.caller.account._id,
      `${request.method} ${request.routeOptions.url}`,
      key,
      recallFor(request, reply)
    )
    if ('answer' in begun) return replay(request, reply, begun.answer)
    request.idempotencyLock = { lock: begun.lock, fingerprint: watchBody(request) }
    done()
  }

  function recallFor ({ routeOptions: { config: { recall } } }: FastifyRequest, reply: FastifyReply):
    | Recall
    | undefined {
    return recall && (async (digest, since) => {
      const found = await recall(digest, since)
      return found &&
        {
          status: found.status,
          content_type: JSON_TYPE,
          body: String(reply.code(found.status).serialize(found.answer)),
          fingerprint: found.fingerprint
        }
    })
  }

  async function replay (
    request: FastifyRequest,
    reply: FastifyReply,
    { status, content_type: contentType, body, fingerprint }: StoredAnswer
  ): Promise<void> {
    const isSame = isForm(request)
      ? await fingerprints.isForm(request.formParts(), fingerprint)
      : fingerprints.ofJson(request.body).digest === fingerprint.digest
    if (!isSame) throw reusedIdempotencyKey()
    reply.code(status).headers({ 'content-type': contentType, 'idempotency-replayed': 'true' }).send(body)
  }

  function watchBody (request: FastifyRequest): () => Promise<Fingerprint | undefined> {
    if (!isForm(request)) {
      const fingerprint = fingerprints.ofJson(request.body)
      return async () => fingerprint
    }
    const { form, fingerprint } = fingerprints.watch(request.formParts())
    request.formParts = () => form
    return fingerprint
  }

  async function settleKey (request: FastifyRequest, reply: FastifyReply, body: unknown): Promise<void> {
    const { idempotencyLock } = request
    if (!idempotencyLock) return
    request.idempotencyLock = null
    const { statusCode: status } = reply
    const fingerprint = isLasting(status, reply.raw.destroyed) ? await idempotencyLock.fingerprint() : undefined
    if (fingerprint) {
      await keys.finish(idempotencyLock.lock, {
        status,
        content_type: String(reply.getHeader('content-type')),
        body: String(body),
        fingerprint
      })
    } else await keys.forget(idempotencyLock.lock)
  }
}, { name: 'idempotency', dependencies: ['env', 'clock', 'mongo', 'request-caller'] })

const isForm = ({ routeOptions: { config } }: FastifyRequest) => config.idempotent === 'form'
