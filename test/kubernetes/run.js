/**
 * Checks deploy/kubernetes against the schemas of Kubernetes, and that kustomization.yaml names every file.
 *
 *   npm run test:kubernetes
 *
 * Without Python it says what it did not try, and does not fail.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parse } from 'yaml'

const manifests = fileURLToPath(new URL('../../deploy/kubernetes', import.meta.url))
const requirements = fileURLToPath(new URL('requirements.txt', import.meta.url))
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'hookaba-api')
/** Applied by themselves. */
const ALONE = ['secret.example.yaml', 'migrate-job.yaml']
/** A resource of the Prometheus Operator, which the schemas of Kubernetes do not have. */
const FOREIGN = ['service-monitor.yaml']

const files = readdirSync(manifests).filter(name => name.endsWith('.yaml') && name !== 'kustomization.yaml').sort()
const { resources } = parse(readFileSync(join(manifests, 'kustomization.yaml'), 'utf8'))
const expected = files.filter(name => !ALONE.includes(name))
if (JSON.stringify([...resources].sort()) !== JSON.stringify(expected)) {
  throw new Error(`kustomization.yaml names ${resources.join(', ')}, and the files are ${expected.join(', ')}`)
}
for (const name of FOREIGN) parse(readFileSync(join(manifests, name), 'utf8'))
const programs = install()
if (programs === undefined) {
  console.log('NOT TRIED: deploy/kubernetes, because Python 3 with venv and pip is missing here')
} else {
  const names = files.filter(name => !FOREIGN.includes(name))
  const { status } = spawnSync(join(programs, 'kubernetes-validate'), ['--strict', ...names], {
    cwd: manifests,
    stdio: 'inherit'
  })
  if (status !== 0) throw new Error('kubernetes-validate found a fault')
  console.log(`${names.length} files keep the schemas of Kubernetes.`)
}

/** Installs the validator once, into the user's cache. Returns the folder of its programs, if it could. */
function install () {
  const digest = createHash('sha256').update(readFileSync(requirements)).digest('hex').slice(0, 12)
  const home = join(cache, `kubernetes-${digest}`)
  const done = join(home, '.installed')
  if (existsSync(done)) return join(home, 'bin')
  mkdirSync(home, { recursive: true })
  for (const [command, ...args] of [
    ['python3', '-m', 'venv', '--clear', home],
    [join(home, 'bin/pip'), 'install', '--quiet', '--disable-pip-version-check', '-r', requirements]
  ]) {
    if (spawnSync(command, args, { stdio: ['ignore', 2, 2] }).status !== 0) return undefined
  }
  writeFileSync(done, '')
  return join(home, 'bin')
}
