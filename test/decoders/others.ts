/**
 * What is served, read by decoders in other languages: Go, Rust, Pillow, giflib.
 * Not part of `npm test`, which needs Node alone.
 * What is not on this machine is skipped, with what to install.
 */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { homedir, tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { root } from '../helpers/paths.js'
import { corpus } from './corpus.js'

const run = promisify(execFile)
const here = join(root, 'test/decoders')
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'hookaba-api')
const PILLOW = '13.0.0'
const OUTPUT = { maxBuffer: 64 * 1024 * 1024 }

interface Program {
  name: string
  needs: string
  /** Gets what it needs, once; rejects where that cannot be had. */
  prepare: () => Promise<unknown>
  read: (folders: string[]) => Promise<string>
}

const PROGRAMS: Program[] = [
  {
    name: 'Go',
    needs: 'Go 1.23 or later, and Go modules the first time',
    prepare: () => run('go', ['build', '-o', join(cache, 'decoders-go'), '.'], { cwd: join(here, 'go') }),
    read: folders => outputOf(join(cache, 'decoders-go'), folders)
  },
  {
    name: 'Rust',
    needs: 'cargo, and crates the first time',
    prepare: () => run('cargo', ['build', '--quiet', '--release', '--target-dir', join(cache, 'decoders-rust')], {
      cwd: join(here, 'rust')
    }),
    read: folders => outputOf(join(cache, 'decoders-rust/release/decoders'), folders)
  },
  {
    name: 'Pillow',
    needs: 'Python 3 with venv and pip, and Python packages the first time',
    prepare: preparePillow,
    read: folders => outputOf(join(cache, `pillow-${PILLOW}/bin/python`), [join(here, 'pillow.py'), ...folders])
  },
  {
    name: 'giflib',
    needs: 'a C compiler and giflib (Debian: libgif-dev)',
    prepare: () => run('cc', ['-O2', '-o', join(cache, 'decoders-giflib'), join(here, 'giflib.c'), '-lgif']),
    read: folders => outputOf(join(cache, 'decoders-giflib'), folders)
  }
]

async function preparePillow (): Promise<void> {
  const home = join(cache, `pillow-${PILLOW}`)
  const installed = await run(join(home, 'bin/python'), ['-c', 'import PIL']).then(() => true, () => false)
  if (installed) return
  await run('python3', ['-m', 'venv', '--clear', home])
  await run(join(home, 'bin/pip'), ['install', '--quiet', '--disable-pip-version-check', `Pillow==${PILLOW}`])
}

async function outputOf (file: string, args: string[]): Promise<string> {
  return (await run(file, args, OUTPUT)).stdout
}

t.setTimeout(900_000) // the first time they are compiled

t.test('what is served decodes to the same pixels wherever the sent file does', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'hookaba-decoders-'))
  t.teardown(() => rm(folder, { recursive: true, force: true }))
  const [sent, served] = [join(folder, 'sent'), join(folder, 'served')]
  await Promise.all([cache, sent, served].map(path => mkdir(path, { recursive: true })))
  const pairs = await corpus()
  for (const [i, pair] of pairs.entries()) {
    await writeFile(join(sent, `${i}.${pair.format}`), pair.sent)
    await writeFile(join(served, `${i}.${pair.format}`), pair.served)
  }

  for (const { name, needs, prepare, read } of PROGRAMS) {
    const missing = await prepare().then(() => undefined, String)
    if (missing !== undefined) {
      const cause = missing.trim().split('\n').at(-1)
      const skip = `NOT TRIED: ${name}, because it could not be built here. It needs ${needs}. ${cause}`
      t.test(name, { skip }, () => {})
      continue
    }
    for (const [decoder, found] of byDecoder(await read([sent, served]))) {
      await t.test(decoder, async t => {
        const differing: string[] = []
        let reads = 0
        for (const [file, digest] of found.sent) {
          if (digest === '-') continue
          reads++
          const served = found.served.get(file)
          if (served !== digest) differing.push(`${pairs[parseInt(file)]!.name}${served === '-' ? ', refused' : ''}`)
        }
        t.strictSame(differing, [])
        t.ok(reads > found.sent.size * 0.7, `it reads ${reads} of ${found.sent.size} as they are sent`)
      })
    }
  }
})

interface Found { sent: Map<string, string>, served: Map<string, string> }

/** From lines of file, decoder and digest. */
function byDecoder (output: string): Map<string, Found> {
  const decoders = new Map<string, Found>()
  for (const line of output.trim().split('\n')) {
    const [path, decoder, digest] = line.split('\t') as [string, string, string]
    const found = decoders.get(decoder) ?? { sent: new Map(), served: new Map() }
    decoders.set(decoder, found)
    const which = basename(join(path, '..')) === 'sent' ? found.sent : found.served
    which.set(basename(path), digest)
  }
  return decoders
}
