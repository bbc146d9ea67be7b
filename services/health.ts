import { ServiceError } from './errors.js'

const RETRY_AFTER_SECONDS = 5

/** Whether what this process stands on answers: each check rejects when it does not. */
export function createHealth (checks: Record<string, () => Promise<unknown>>) {
  return {
    /** Resolves when every check does; else 503. */
    async ready (): Promise<void> {
      const results = await Promise.allSettled(Object.values(checks).map(check => check()))
      const failed = Object.keys(checks).filter((_, i) => results[i]?.status === 'rejected')
      if (failed.length > 0) throw new ServiceError(503, 'Not ready', { retryAfter: RETRY_AFTER_SECONDS, cause: new Error(`${failed.join(', ')} cannot be reached`) })
    }
  }
}
