/**
 * Runs tests of the last build by tap: all of them, or those that are named.
 *
 * node test/run.js [options of tap] [test files, like test/routes/users.test.ts]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Runs tap, with sources named in place of what they are compiled to. Returns its exit code. */
export async function runTap (args, { env = process.env, signal } = {}) {
  const tap = spawn(
    process.execPath,
    [join(root, 'node_modules/tap/dist/esm/run.mjs'), 'run', ...args.map(compiled)],
    { cwd: root, env, stdio: 'inherit', signal }
  )
  tap.on('error', () => {}) // an aborted one; its exit follows
  const [code] = await once(tap, 'exit')
  return code ?? 1
}

const compiled = argument => /^[^-].*\.ts$/.test(argument) ? `dist/${argument.replace(/\.ts$/, '.js')}` : argument

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exitCode = await runTap(process.argv.slice(2))
