import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'

const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'hookaba-api')

/**
 * Installs the packages of a requirements file once, into a virtual environment in the user's cache. Resolves with the
 * folder of its programs, or with undefined after it printed why there is none.
 */
export async function pythonPackages (name, requirements) {
  const digest = createHash('sha256').update(await readFile(requirements)).digest('hex').slice(0, 12)
  const home = join(cache, `bench-${name}-${digest}`)
  const done = join(home, '.installed')
  if (existsSync(done)) return join(home, 'bin')
  console.error(`Installing, once: ${name} and its packages into ${home}`)
  await mkdir(home, { recursive: true })
  for (const [what, command, args] of [
    ['Python 3', 'python3', ['-m', 'venv', '--clear', home]],
    ['pip', join(home, 'bin/pip'), ['install', '--quiet', '--disable-pip-version-check', '-r', requirements]]
  ]) {
    const child = spawn(command, args, { stdio: ['ignore', 2, 2] })
    const code = await once(child, 'exit').then(([code]) => code, error => error.code)
    if (code === 0) continue
    const why = code === 'ENOENT' ? `${what} is not here` : `it could not be installed (${what} said why above)`
    console.log(`\nNOT TRIED: ${name}, because ${why}`)
    return undefined
  }
  await writeFile(done, '')
  return join(home, 'bin')
}
