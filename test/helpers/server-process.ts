/** The built server as a child process, started as an operator starts it. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import { openApiCheck, type OpenApiDocument } from './openapi-check.js'
import { built } from './paths.js'
import { eventually } from './wait.js'

/** A process inherits these: no setting of the service, and nothing by which a CI changes its output. */
const INHERITED = /^(PATH|HOME|USER|LANG|TMPDIR|TZ)$/

export interface ServerProcess {
  url: string
  pid: number
  json: (method: string, path: string, options?: { token?: string, json?: unknown, body?: FormData }) => Promise<{
    status: number
    // eslint-disable-next-line @typescript-eslint/no-explicit-any
    body: any
  }>
  /** The first printed line that matches, also an earlier one. */
  line: (pattern: RegExp) => Promise<string>
  output: () => string[]
  /** Closes the reading end of its output. */
  closeOutput: () => void
  kill: (signal: NodeJS.Signals) => Promise<number | null>
}

function environment (env: Record<string, string>): NodeJS.ProcessEnv {
  return {
    ...Object.fromEntries(Object.entries(process.env).filter(([name]) => INHERITED.test(name))),
    ...env
  }
}

/**
 * The built server, that of a checkout, or another `program`, started as `npm start` does, with these flags of Node and
 * at most `files` open files. Resolves when it listens. It is killed when `t` ends.
 */
export async function startProcess (
  t: Test,
  env: Record<string, string>,
  { files, flags = [], checkout, program = 'server.js' }: {
    files?: number
    flags?: string[]
    checkout?: string
    program?: string
  } = {}
): Promise<ServerProcess> {
  const run = checkout === undefined ? [built(program)] : ['build.js', '--run', program]
  const command = [process.execPath, ...flags, '--enable-source-maps', ...run]
  if (files !== undefined) command.unshift('sh', '-c', `ulimit -n ${files} && exec "$@"`, 'sh')
  const child = spawn(command[0]!, command.slice(1), {
    env: environment({ ...env, PORT: '0' }),
    cwd: checkout ?? tmpdir(),
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => { child.kill('SIGKILL') })
  const lines: string[] = []
  const reader = createInterface(child.stdout!)
  reader.on('line', line => lines.push(line))
  let url = ''
  let check: ReturnType<typeof openApiCheck> | undefined
  const running: ServerProcess = {
    get url () { return url },
    pid: child.pid!,
    async line (pattern) {
      for (let seen = 0; ; seen++) {
        if (seen === lines.length) await Promise.race([once(reader, 'line'), died(child)])
        if (pattern.test(lines[seen]!)) return lines[seen]!
      }
    },
    output: () => lines,
    closeOutput () { child.stdout!.destroy() },
    async json (method, path, { token, json, body } = {}) {
      const response = await fetch(url + path, {
        method,
        headers: {
          ...(token && { authorization: `Bearer ${token}` }),
          ...(json !== undefined && { 'content-type': 'application/json' })
        },
        body: json === undefined ? body : JSON.stringify(json)
      })
      const answer = { status: response.status, body: response.status === 204 ? '' : await response.json() }
      check ??= openApiCheck(await (await fetch(`${url}/openapi.json`)).json() as OpenApiDocument)
      const fault = check({ method, path, contentType: response.headers.get('content-type'), ...answer })
      if (fault) throw new Error(`${method} ${path} answered against the OpenAPI document: ${fault}`)
      return answer
    },
    async kill (signal) {
      child.kill(signal)
      const [code] = await once(child, 'exit')
      return code
    }
  }
  url = /http:\/\/[\d.:]+/.exec(await running.line(/API documentation at .*\/docs/))![0]
  return running
}

/**
 * The built server in a terminal (util-linux, `script`). `close` closes the terminal; `code` resolves with the server's
 * exit code.
 */
export async function startInTerminal (t: Test, env: Record<string, string>): Promise<{
  url: string
  /** The first printed line with this text. */
  line: (text: string) => Promise<string>
  close: () => void
  code: () => Promise<number>
}> {
  const path = join(await temporaryFolder(t), 'code')
  const command = `trap '' HUP; '${process.execPath}' '${built('server.js')}'; echo $? > '${path}'`
  const child = spawn('script', ['-qfc', command, '/dev/null'], {
    env: environment({ ...env, PORT: '0' }),
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true
  })
  t.teardown(() => { child.kill('SIGKILL') })
  const lines: string[] = []
  const reader = createInterface(child.stdout)
  reader.on('line', text => lines.push(text))
  const line = (text: string) => eventually(() => lines.find(printed => printed.includes(text)) ?? '', text)
  return {
    url: /http:\/\/[\d.:]+/.exec(await line('/docs'))![0],
    line,
    close () { child.kill('SIGKILL') },
    async code () {
      return Number(await eventually(() => readFile(path, 'utf8').catch(() => ''), 'the server in a terminal ends'))
    }
  }
}

/**
 * `npm start` in a checkout. Resolves once the server has printed the address of its documentation. `kill` sends a
 * signal to npm alone; `ended` resolves when the server has gone too.
 */
export async function startNpm (t: Test, checkout: string): Promise<{
  kill: (signal: NodeJS.Signals) => void
  ended: () => Promise<void>
}> {
  const child = spawn('npm', ['start'], {
    env: environment({ PORT: '0' }),
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true
  })
  t.teardown(() => { try { process.kill(-child.pid!, 'SIGKILL') } catch {} })
  const lines = createInterface(child.stdout)
  const gone = once(child.stdout, 'close') // the server holds its end of the pipe, too
  await new Promise<void>(resolve => lines.on('line', line => { if (line.includes('/docs')) resolve() }))
  return {
    kill (signal) { child.kill(signal) },
    async ended () { await gone }
  }
}

/** Signs a phone in, with the code that the process prints in place of an SMS. Resolves with the access token. */
export async function signInTo (service: ServerProcess, phone: string): Promise<string> {
  const asked = await service.json('POST', '/auth/request-otp', { json: { phone } })
  if (asked.status !== 200) throw new Error(`request of a code for ${phone}: ${asked.status}`)
  const sms = await service.line(new RegExp(`^SMS .*\\${phone}"`))
  const otp = /\b\d{6}\b/.exec(JSON.parse(sms.slice('SMS '.length)).body)![0]
  const { status, body } = await service.json('POST', '/auth/verify-otp', { json: { phone, otp } })
  if (body.success !== true) throw new Error(`sign-in of ${phone}: ${status}`)
  return body.access_token
}

async function died (child: ChildProcess): Promise<never> {
  const [code] = await once(child, 'exit')
  throw new Error(`the process ended with ${code}`)
}

export interface Ended { code: number | null, stdout: string, stderr: string }

/** Runs the built server until it ends by itself. Rejects when `signal` is aborted first. */
export const runToEnd = (env: Record<string, string>, signal?: AbortSignal): Promise<Ended> =>
  runProgram('server.js', [], env, { signal })

/** Runs a built program to its end, or kills it after this many lines of output. */
export async function runProgram (
  program: string,
  args: string[],
  env: Record<string, string>,
  { killAfterLines, signal }: { killAfterLines?: number, signal?: AbortSignal } = {}
): Promise<Ended> {
  const child = spawn(process.execPath, [built(program), ...args], {
    env: environment(env),
    cwd: tmpdir(),
    stdio: ['ignore', 'pipe', 'pipe'],
    signal
  })
  const output = { stdout: '', stderr: '' }
  let lines = 0
  createInterface(child.stdout).on('line', line => {
    output.stdout += `${line}\n`
    if (++lines === killAfterLines) child.kill('SIGKILL')
  })
  child.stderr.on('data', chunk => { output.stderr += chunk })
  const [code] = await once(child, 'close')
  return { code, ...output }
}

export async function temporaryFolder (t: Test): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'hookaba-process-'))
  t.teardown(() => rm(path, { recursive: true, force: true, maxRetries: 5 }))
  return path
}

export async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
