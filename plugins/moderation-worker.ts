import { randomUUID } from 'node:crypto'
import fp from 'fastify-plugin'
import { Counter, Gauge } from 'prom-client'
import { createLease } from '../services/lease.js'
import {
  createModerationWorker,
  type DeliveryOutcome,
  type ModerationEvent
} from '../services/library/moderation/worker.js'
import { webhookHeaders, webhookKey } from '../services/standard-webhook.js'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route makes work for the moderation worker. */
    reports?: true
  }
  interface FastifyInstance {
    moderationWorker: {
      /** Runs a round now. */
      run: () => Promise<void>
    }
  }
}

const LEASE_SECONDS = 60
const EVERY_MS = 5_000
const MAX_DELIVERY_MS = 15_000
const OUTCOMES: DeliveryOutcome[] = ['delivered', 'failed', 'given_up']

/**
 * `app.moderationWorker`: tells the moderators of reports, and finishes what a process left. It works after each
 * report, and every five seconds. `/metrics` has the age of the oldest open report.
 */
export default fp(async function moderationWorker (app) {
  const { collections, config, mediaStore: media, metrics, moderation, now, log } = app
  const { MODERATION_WEBHOOK_URL: url, MODERATION_WEBHOOK_SECRET: secret } = config
  const deliveries = new Counter({
    name: 'hookaba_webhook_deliveries_total',
    help: 'Messages to MODERATION_WEBHOOK_URL, by outcome: failed ones are sent again for a day',
    labelNames: ['outcome'],
    registers: [metrics.registry]
  })
  for (const outcome of OUTCOMES) deliveries.inc({ outcome }, 0)
  metrics.registry.registerMetric(new Gauge({
    name: 'hookaba_oldest_open_report_age_seconds',
    help: 'Seconds since the oldest report without a review; 0 if there is none',
    registers: [],
    async collect () {
      const oldest = await collections.report_states
        .findOne({ first_at: { $exists: true } }, { sort: { first_at: 1 }, projection: { first_at: 1 } })
        .catch(() => undefined)
      if (oldest === undefined) return // the last value stays while the database is gone
      this.set(oldest?.first_at ? Math.max(0, (now().getTime() - oldest.first_at.getTime()) / 1000) : 0)
    }
  }))
  const worker = createModerationWorker({
    ...collections,
    counts: moderation.counts,
    forgetReports: moderation.forgetReports,
    lease: createLease({
      leases: collections.leases,
      name: 'moderation',
      holder: randomUUID(),
      seconds: LEASE_SECONDS
    }),
    media,
    deliver: url === undefined ? undefined : (event, signal) => deliver(event, signal, url, webhookKey(secret!)!),
    onDelivery: outcome => deliveries.inc({ outcome }),
    now,
    log
  })
  let busy = false
  let isDue = false
  let isClosing = false
  let timer: NodeJS.Timeout | undefined
  app.decorate('moderationWorker', { run: worker.run })
  app.addHook('onReady', async () => {
    inBackground()
    if (config.SWEEP_INTERVAL_SECONDS > 0) timer = setInterval(inBackground, EVERY_MS).unref()
  })
  app.addHook('onResponse', (request, reply, done) => {
    if (request.routeOptions.config.reports && reply.statusCode === 201) inBackground()
    done()
  })
  app.addHook('onClose', async () => {
    isClosing = true
    clearInterval(timer)
    await worker.close()
  })

  async function deliver (event: ModerationEvent, signal: AbortSignal, url: string, key: Buffer): Promise<void> {
    const body = JSON.stringify(event.body)
    const response = await fetch(url, {
      method: 'POST',
      headers: webhookHeaders(event.id, now(), body, key),
      body,
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(MAX_DELIVERY_MS)])
    })
    await response.body?.cancel()
    if (!response.ok) throw new Error(`the receiver answered ${response.status}`)
  }

  async function inBackground (): Promise<void> {
    isDue = true
    if (busy) return
    busy = true
    while (isDue) {
      isDue = false
      await worker.run().catch((err: unknown) => {
        if (isClosing) return
        log.error({ event: 'moderation.failed', err }, 'The work on reports failed: it is tried again in 5 s')
      })
    }
    busy = false
  }
}, { name: 'moderation-worker', dependencies: ['env', 'clock', 'mongo', 's3', 'metrics', 'moderation'] })
