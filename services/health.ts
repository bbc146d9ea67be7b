import { ServiceError } from './errors.js'
import { settledWithin } from './settled-within.js'

const RETRY_AFTER_SECONDS = 5
/** One check serves all requests within this time. */
const SHARED_MS = 1000
/** A dependency that is silent for this long does not answer. */
const TIMEOUT_MS = 3000
const STOPPING = new Error('the process is stopping')

export interface HealthOptions {
  /** Each check, by name, rejects when its dependency fails. */
  checks: Record<string, () => Promise<unknown>>
  /** Milliseconds that only go forward. */
  monotonic?: () => number
}

interface Failed { name: string, error: unknown }

/** Whether the dependencies of this process answer. They are asked at most once a second. */
export function createHealth ({ checks, monotonic = () => performance.now() }: HealthOptions) {
  let draining = false
  let latest: { begunAt: number, failed: Promise<Failed[]> } | undefined
  return { ready, drain, failing }

  /** Resolves when every check of the last second does; else 503, whose cause names them and holds the first error. */
  async function ready (): Promise<void> {
    if (draining) throw new ServiceError(503, 'Not ready', { retryAfter: RETRY_AFTER_SECONDS, cause: STOPPING })
    const failed = await shared()
    if (failed.length > 0) {
      throw new ServiceError(503, 'Not ready', {
        retryAfter: RETRY_AFTER_SECONDS,
        cause: new Error(`${failed.map(({ name }) => name).join(', ')} cannot be reached`, { cause: failed[0]!.error })
      })
    }
  }

  /** The names of the dependencies that do not answer, by the check of the last second. */
  async function failing (): Promise<string[]> {
    return (await shared()).map(({ name }) => name)
  }

  function shared (): Promise<Failed[]> {
    if (!latest || monotonic() - latest.begunAt >= SHARED_MS) latest = { begunAt: monotonic(), failed: findFailed() }
    return latest.failed
  }

  /** From now on the process is not ready, whatever its dependencies answer. */
  function drain (): void {
    draining = true
  }

  async function findFailed (): Promise<Failed[]> {
    const results = await Promise.all(Object.entries(checks).map(([name, check]) =>
      inTime(check()).then(() => [], (error: unknown) => [{ name, error }])))
    return results.flat()
  }
}

async function inTime (answer: Promise<unknown>): Promise<void> {
  if (!await settledWithin(answer, TIMEOUT_MS)) throw new Error(`no answer within ${TIMEOUT_MS} ms`)
  await answer
}
