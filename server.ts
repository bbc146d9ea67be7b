import { closeSync, openSync } from 'node:fs'
import { devNull } from 'node:os'
import { isatty } from 'node:tty'
import { setTimeout as wait } from 'node:timers/promises'
import closeWithGrace from 'close-with-grace'
import type { FastifyInstance } from 'fastify'
import { buildApp, type AppOptions } from './app.js'
import { startEmulators } from './backing-services.js'
import { runProgram } from './cli/program.js'
import type { Env } from './schemas/env.js'
import { bufferedOutput } from './services/buffered-output.js'
import { completeConfig, hasConsole, hasDocs, readConfig } from './services/config.js'
import { growHeapGenerously } from './services/heap.js'
import { listenRefusal } from './services/startup-errors.js'

const GRACE_MS = 10_000
/** Node's default. A connection beyond MAX_CONNECTIONS still gets its answer. */
const MIN_BACKLOG = 511
const TERMINAL_CHECK_MS = 1000
/** After such a signal no graceful shutdown is possible: a handler would return to the failed instruction for ever. */
const FATAL: Array<'SIGILL' | 'SIGTRAP' | 'SIGABRT' | 'SIGBUS' | 'SIGFPE' | 'SIGSEGV'> = [
  'SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGSEGV'
]

/** Starts the process: environment, emulators for missing services, the app, and graceful shutdown. */
async function start (): Promise<undefined> {
  growHeapGenerously()
  endWithTerminal()
  const env = readConfig(process.env)
  const emulators = await startEmulators(env)
  try {
    const app = await buildApp({ config: completeConfig(env, emulators.env), logger: await logger(env) })
    const drainMs = app.config.drainSeconds * 1000
    closeWithGrace({ delay: drainMs + GRACE_MS, logger: app.log, skip: FATAL }, async ({ err }) => {
      if (err) app.log.error({ err }, 'stopping after an error')
      else await drain(app, drainMs)
      await app.close()
      await emulators.close()
    })
    const host = env.HOST ?? (env.NODE_ENV === 'production' ? '0.0.0.0' : '127.0.0.1')
    const backlog = Math.max(env.MAX_CONNECTIONS, MIN_BACKLOG)
    const address = await app.listen({ port: env.PORT, host, backlog })
      .catch((error: unknown) => { throw listenRefusal(error) })
    if (hasConsole(env)) app.log.info(`Console at ${address}`)
    if (hasDocs(env)) app.log.info(`API documentation at ${address}/docs`)
  } catch (error) {
    await emulators.close()
    throw error
  }
}

/** Serves on, but is not ready any more, so that load balancers send requests elsewhere. A second signal ends it. */
async function drain (app: FastifyInstance, ms: number): Promise<void> {
  app.drain()
  if (ms === 0) return
  app.log.info({ event: 'server.drain_begun', seconds: ms / 1000 }, 'Not ready any more; the port closes after this time')
  await wait(ms)
}

/**
 * Stops if the terminal goes away: not every parent process passes its signal on.
 * Node aborts at its end if it cannot reset that terminal, so another file takes its place.
 */
function endWithTerminal (): void {
  const terminals = [0, 1, 2].filter(isatty)
  const lost = () => terminals.filter(fd => !isatty(fd))
  const watch = setInterval(() => {
    if (lost().length === 0) return
    clearInterval(watch)
    process.kill(process.pid, 'SIGHUP')
  }, TERMINAL_CHECK_MS).unref()
  process.once('exit', () => {
    for (const fd of lost()) {
      closeSync(fd)
      openSync(devNull, 'r+') // takes the lowest free descriptor: the same
    }
  })
}

/** Readable lines on a terminal, else JSON lines. */
async function logger ({ LOG_LEVEL: level }: Env): Promise<AppOptions['logger']> {
  if (!process.stdout.isTTY) return { level, stream: bufferedOutput(process.stdout) }
  const { toTerminalLine } = await import('./terminal-log.js')
  return { level, stream: { write: line => { process.stdout.write(toTerminalLine(line)) } } }
}

await runProgram(start)
