import type { Collection, Index } from './catalog.js'
import type { Services } from './commands/types.js'
import { operators } from './match-operators.js'
import { queryFor } from './queries.js'
import { deleteMatching } from './statements.js'

/** Starts the periodic work: expired documents, forgotten cursors, old sessions. */
export function startMonitor (services: Services, intervalMs: number): { stop: () => void } {
  const timer = setInterval(() => { sweep(services) }, intervalMs)
  timer.unref()
  return { stop: () => { clearInterval(timer) } }
}

function sweep (services: Services): void {
  services.cursors.closeIdle()
  services.catalog.transaction(() => {
    for (const collection of services.catalog.all()) {
      for (const index of collection.indexes) expire(services, collection, index)
    }
    services.sessions.expire()
  })
}

/**
 * Deletes documents that a TTL index dates at least `expireAfterSeconds` back. In an array the earliest date counts.
 */
function expire (
  { storage, records, now }: Services,
  collection: Collection,
  { fields, name, expireAfterSeconds }: Index
): void {
  const path = fields[0]?.path
  if (expireAfterSeconds === undefined || path === undefined) return
  const filter = operators.$lte(path, new Date(now().getTime() - expireAfterSeconds * 1000))
  deleteMatching({ storage, records, collection }, { ...queryFor(filter), hint: name }, true)
}
