import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/**
 * The measured process has a core of its own. This process makes the load, and shares the other core with the stores.
 */
const MEASURED_CORE = '0'
const OTHER_CORE = '1'
const MAX_START_MS = 120_000

const pinned = pinSelf()
const running = new Set()
process.on('exit', () => { for (const child of running) child.kill() })
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))

export const setting = `Node ${process.versions.node}; ` +
  (pinned
    ? 'what is measured on a core of its own, the load and the stores on another'
    : 'nothing pinned, so the figures are rough: taskset or a second core is missing')

function pinSelf () {
  try {
    execFileSync('taskset', ['-p', '-c', OTHER_CORE, process.pid], { stdio: 'ignore' })
    execFileSync('taskset', ['-c', MEASURED_CORE, 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

const onMeasuredCore = command => pinned ? ['taskset', '-c', MEASURED_CORE, ...command] : command

/**
 * Starts bench/servers/`program`, which serves its parent by harness/child.js. Resolves with its first message when it
 * is ready.
 * `usage` gives its CPU seconds since its start, its resident memory and the peak of that, in bytes; `live` is what
 * JavaScript holds, garbage included. `reset` gives them after a collection, and starts the peak anew. After `watch`,
 * `held` is the most live memory without garbage. `make` is for servers/pictures.js.
 */
export async function start (program, { env = {}, measured = false } = {}) {
  const script = fileURLToPath(new URL(`../servers/${program}`, import.meta.url))
  const options = measured ? (process.env.BENCH_NODE_OPTIONS ?? '').split(' ').filter(option => option !== '') : []
  const node = [process.execPath, '--expose-gc', ...options, script]
  const [command, ...args] = measured ? onMeasuredCore(node) : node
  const child = spawn(command, args, {
    env: { ...process.env, NODE_NO_WARNINGS: '1', ...env },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc']
  })
  const gone = once(child, 'exit')
  const died = gone.then(([code, signal]) => { throw new Error(`${program} ended by itself (${signal ?? code})`) })
  died.catch(() => {})
  running.add(child)
  const said = async () => (await Promise.race([once(child, 'message'), died]))[0]
  const ready = await said()
  const ask = question => {
    child.send(question)
    return said()
  }
  return {
    ...ready,
    pid: child.pid,
    usage: () => ask('usage'),
    reset: () => ask('reset'),
    watch: () => ask('watch'),
    make: (way, path, described) => ask({ task: { way, path, described } }),
    async stop () {
      running.delete(child)
      if (child.connected) child.disconnect()
      await gone
    }
  }
}

/**
 * Starts a server as an operator would, on the measured core unless `isMeasured` is false. Its output goes to the file
 * `log`. Resolves when it answers at `url`.
 */
export async function launch (name, program, { env, cwd, log, url, isMeasured = true }) {
  const [command, ...args] = isMeasured ? onMeasuredCore(program) : program
  const options = process.env.BENCH_NODE_OPTIONS
  const output = openSync(log, 'w')
  const child = spawn(command, args, {
    cwd,
    env: { ...process.env, ...(options && { NODE_OPTIONS: options }), ...env },
    stdio: ['ignore', output, output]
  })
  closeSync(output)
  const gone = once(child, 'exit')
  running.add(child)
  for (const began = performance.now(); !await answers(url);) {
    if (hasEnded(child)) throw new Error(`${name} ended by itself (${child.signalCode ?? child.exitCode})`)
    if (performance.now() - began > MAX_START_MS) throw new Error(`${name} does not answer`)
    await sleep(20)
  }
  return {
    pid: child.pid,
    async stop () {
      running.delete(child)
      child.kill()
      await gone
    }
  }
}

const hasEnded = child => child.exitCode !== null || child.signalCode !== null
const answers = url => fetch(url).then(({ status }) => status < 500, () => false)

/** Ends all processes that still run. */
export async function stopAll () {
  await Promise.all([...running].map(async child => {
    if (hasEnded(child)) return
    const gone = once(child, 'exit')
    if (child.connected) child.disconnect()
    else child.kill()
    await gone
  }))
  running.clear()
}
