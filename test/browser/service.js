/** The built service in a process of its own, and the SMS that it prints. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const MAX_SILENCE_MS = 60_000
const root = fileURLToPath(new URL('../..', import.meta.url))

/** Starts the service with default settings, but for `env`, and an empty data folder. Resolves when it listens. */
export async function startService (env = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'hookaba-browser-'))
  const { PATH, HOME } = process.env
  const child = spawn(process.execPath, [join(root, 'dist/server.js')], {
    cwd: folder,
    env: { PATH, HOME, PORT: '0', DATA_DIR: join(folder, 'data'), ...env },
    stdio: ['ignore', 'pipe', 'ignore']
  })
  const lines = []
  const reader = createInterface(child.stdout).on('line', line => lines.push(line))
  const ended = once(child, 'exit')
  /** The first line that matches, from a line on. Rejects when none comes. */
  const line = async (pattern, from = 0) => {
    const signal = AbortSignal.timeout(MAX_SILENCE_MS)
    for (let seen = from; ; seen++) {
      if (seen === lines.length) await once(reader, 'line', { signal })
      if (pattern.test(lines[seen])) return lines[seen]
    }
  }
  const url = /http:\/\/[\d.:]+/.exec(await line(/Console at /))[0]

  return {
    url,
    folder,
    /** The code of the SMS to a phone that an action sends: the process prints it. */
    async codeAfter (phone, action) {
      const from = lines.length
      await action()
      const sms = await line(new RegExp(`^SMS .*"\\${phone}"`), from)
      return /\b\d{6}\b/.exec(JSON.parse(sms.slice('SMS '.length)).body)[0]
    },
    /** One request. Resolves with the status and the JSON of the answer. */
    async call (method, path, { token, json, body } = {}) {
      const response = await fetch(url + path, {
        method,
        headers: {
          ...(token && { authorization: `Bearer ${token}` }),
          ...(json !== undefined && { 'content-type': 'application/json' })
        },
        body: json === undefined ? body : JSON.stringify(json)
      })
      return { status: response.status, body: await response.json().catch(() => undefined) }
    },
    /** Signs a phone in as an app does. Resolves with the access token. */
    async signIn (phone) {
      const otp = await this.codeAfter(phone, () => this.call('POST', '/auth/request-otp', { json: { phone } }))
      const { body } = await this.call('POST', '/auth/verify-otp', { json: { phone, otp } })
      if (!body.success) throw new Error(`sign-in of ${phone}: ${JSON.stringify(body)}`)
      return body.access_token
    },
    async upload (token, file, fields) {
      const form = new FormData()
      for (const [name, value] of Object.entries(fields)) form.append(name, value)
      form.append('file', new Blob([file]), 'a.gif')
      const { status, body } = await this.call('POST', '/library/upload', { token, body: form })
      if (status !== 201) throw new Error(`upload: ${status} ${JSON.stringify(body)}`)
      return body
    },
    async stop () {
      child.kill()
      await ended
      await rm(folder, { recursive: true, force: true })
    }
  }
}
