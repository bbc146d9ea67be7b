/**
 * Runs test files of the last build: all of them, or those that are named. A few share a process, because each process
 * costs two seconds of CPU before its first test.
 *
 * node test/run.js [options] [test files, like test/routes/users.test.ts]
 *   --jobs=N      this many processes at the same time (4)
 *   --timeout=N   seconds for each of them (1800)
 *   --verbose     prints everything that passed, too
 *
 * It uses the API of tap. The command `tap run` loads a module hook into each process, for coverage, which costs
 * a fifth of the time.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { PassThrough } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const root = fileURLToPath(new URL('..', import.meta.url))
/** Runs the files of TEST_FILES. */
const GROUP = 'test/group.js'
const MAX_IN_PROCESS = 8
/**
 * Tests that look at memory, descriptors or time, that restrict sharp, or that wait for a test at the top level. Each
 * has its own process.
 */
const ALONE = new RegExp(`^test/(${[
  'account-races|shortage|soak',
  'routes/(auth-timing|upload-memory|upload-slow)',
  'services/(heap|pictures/(pictures|pool))'
].join('|')})\\.test\\.ts$`)
/** Lines of TAP that say that something passed, and those between them. */
const PASSED = /^ +(?:ok |1\.\.\d+$|# time=)|^ *(?:# Subtest: .*)?$/

/** Runs this file in a process of its own. Returns its exit code. */
export async function runTests (args, { env = process.env, signal } = {}) {
  const runner = spawn(process.execPath, [import.meta.filename, ...args], { cwd: root, env, stdio: 'inherit', signal })
  runner.on('error', () => {}) // an aborted one; its exit follows
  const [code] = await once(runner, 'exit')
  return code ?? 1
}

async function main () {
  const { values: { jobs, timeout, verbose }, positionals } = parseArgs({
    options: {
      jobs: { type: 'string', default: '4' },
      timeout: { type: 'string', default: '1800' },
      verbose: { type: 'boolean', default: false }
    },
    allowPositionals: true
  })
  process.env.TAP_TIMEOUT = timeout
  const { default: t } = await import('tap')
  t.pipe(verbose ? process.stdout : withoutPassed())
  t.register()
  t.setTimeout(0)
  t.jobs = Number(jobs)
  // the API would add that hook, too, if it were not among the options of Node, which `spawn` does not read
  t.on('spawn', child => child.on('preprocess', options => { options.execArgv = ['--import=@tapjs/processinfo/import'] }))
  for (const files of processes(positionals.length > 0 ? positionals : await allFiles())) {
    t.spawn(process.execPath, ['--enable-source-maps', files.length === 1 ? compiled(files[0]) : GROUP], {
      cwd: root,
      env: { ...process.env, TEST_FILES: files.map(compiled).join(' ') },
      stdio: 'inherit',
      buffered: t.jobs > 1,
      timeout: Number(timeout) * 1000
    }, files.join(' '))
  }
}

/** The files of each process. */
function processes (files) {
  const together = files.filter(file => !ALONE.test(file))
  const groups = []
  while (together.length > 0) groups.push(together.splice(0, MAX_IN_PROCESS))
  return [...files.filter(file => ALONE.test(file)).map(file => [file]), ...groups]
}

async function allFiles () {
  const files = []
  for (const folder of ['test', 'packages']) {
    for (const file of await readdir(join(root, 'dist', folder), { recursive: true })) {
      if (file.endsWith('.test.js')) files.push(join(folder, file.replace(/\.js$/, '.ts')))
    }
  }
  return files.sort()
}

/** Leads to stdout: the files, what failed, comments and the counts. */
function withoutPassed () {
  const lines = createInterface({ input: new PassThrough() })
  lines.on('line', line => { if (!PASSED.test(line)) process.stdout.write(`${line}\n`) })
  return lines.input
}

const compiled = file => join('dist', file.replace(/\.ts$/, '.js'))

if (process.argv[1] === import.meta.filename) await main()
