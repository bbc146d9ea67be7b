import { randomUUID } from 'node:crypto'
import fp from 'fastify-plugin'
import { Counter } from 'prom-client'
import { createLease } from '../services/lease.js'
import { createSweeper, type Swept } from '../services/uploads/sweeper.js'

declare module 'fastify' {
  interface FastifyInstance {
    sweeper: {
      /** Runs one round now. Undefined if another process is at it. */
      sweep: () => Promise<Swept | undefined>
    }
  }
}

/** Longer than any step of a round. Other processes wait this long for one that died. */
const LEASE_SECONDS = 60
const KINDS = ['uploads', 'multipart_uploads', 'staged', 'accounts', 'failed'] as const

/**
 * `app.sweeper`: removes what interrupted uploads, removals and deletions left, at the start and periodically, in one
 * process at a time.
 */
export default fp(async function sweeper (app) {
  const { collections, config, library, metrics, moderation, now, log } = app
  const lease = createLease({ leases: collections.leases, name: 'sweep', holder: randomUUID(), seconds: LEASE_SECONDS })
  const sweeper = createSweeper({
    ...collections,
    media: app.mediaStore,
    ownership: app.ownership,
    deletion: app.accountDeletion,
    lease,
    checkTotal: library.checkTotal,
    clearFormerOwners: moderation.clearFormerOwners,
    longestSeconds: config.UPLOAD_MAX_SECONDS,
    now,
    log
  })
  const counter = new Counter({
    name: 'hookaba_swept_total',
    help: 'Removals by the sweeper, by kind; the kind failed counts its failures',
    labelNames: ['kind'],
    registers: [metrics.registry]
  })
  for (const kind of KINDS) counter.inc({ kind }, 0)
  let busy = false
  let timer: NodeJS.Timeout | undefined
  app.decorate('sweeper', { sweep })

  app.addHook('onReady', async () => {
    inBackground()
    if (config.SWEEP_INTERVAL_SECONDS > 0) {
      timer = setInterval(inBackground, config.SWEEP_INTERVAL_SECONDS * 1000).unref()
    }
  })
  app.addHook('onClose', async () => {
    clearInterval(timer)
    await sweeper.close()
  })

  async function sweep (): Promise<Swept | undefined> {
    const swept = await sweeper.sweep()
    for (const kind of KINDS) counter.inc({ kind }, swept?.[kind] ?? 0)
    return swept
  }

  async function inBackground (): Promise<void> {
    if (busy) return
    busy = true
    await sweep().catch((err: unknown) => {
      counter.inc({ kind: 'failed' })
      log.error({ event: 'sweep.failed', err }, 'A sweep failed: the next one does its work')
    })
    busy = false
  }
}, { name: 'sweeper', dependencies: ['env', 'clock', 'mongo', 's3', 'metrics', 'accounts', 'library', 'moderation'] })
