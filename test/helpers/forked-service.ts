/** The service in a child process of its own, for tests that measure its memory or need a whole core for it. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { environment, type Services } from './backends.js'

/**
 * Starts the service in a process of its own, on these services. `peak` resolves with the most memory it ever held. It
 * ends with `t`.
 */
export async function forkService (t: Test, services: Services, env: Record<string, string>): Promise<{
  url: string
  token: string
  peak: () => Promise<number>
}> {
  const child = fork(fileURLToPath(new URL('forked-service-main.js', import.meta.url)), {
    env: { ...process.env, ...environment(services), LOG_LEVEL: 'silent', ...env }
  })
  t.teardown(() => { child.kill() })
  const [{ url, token }] = await once(child, 'message') as [{ url: string, token: string }]
  return {
    url,
    token,
    async peak () {
      child.send('peak')
      const [bytes] = await once(child, 'message')
      return bytes as number
    }
  }
}
