import { ServiceError } from './errors.js'
import { settledWithin } from './settled-within.js'

const RETRY_AFTER_SECONDS = 5
/** One check serves all requests within this time. */
const SHARED_MS = 1000
/** A dependency that is silent for this long does not answer. */
const TIMEOUT_MS = 3000

export interface HealthOptions {
  /** Each check, by name, rejects when its dependency fails. */
  checks: Record<string, () => Promise<unknown>>
  /** Milliseconds that only go forward. */
  monotonic?: () => number
}

/** Whether the dependencies of this process answer. They are asked at most once a second. */
export function createHealth ({ checks, monotonic = () => performance.now() }: HealthOptions) {
  let latest: { begunAt: number, failed: Promise<string[]> } | undefined
  return { ready }

  /** Resolves when every check of the last second does; else 503. */
  async function ready (): Promise<void> {
    if (!latest || monotonic() - latest.begunAt >= SHARED_MS) latest = { begunAt: monotonic(), failed: findFailed() }
    const failed = await latest.failed
    if (failed.length > 0) {
      throw new ServiceError(503, 'Not ready', {
        retryAfter: RETRY_AFTER_SECONDS,
        cause: new Error(`${failed.join(', ')} cannot be reached`)
      })
    }
  }

  async function findFailed (): Promise<string[]> {
    const results = await Promise.allSettled(Object.values(checks).map(check => inTime(check())))
    return Object.keys(checks).filter((_, i) => results[i]?.status === 'rejected')
  }
}

async function inTime (answer: Promise<unknown>): Promise<void> {
  if (!await settledWithin(answer, TIMEOUT_MS)) throw new Error(`no answer within ${TIMEOUT_MS} ms`)
  await answer
}
