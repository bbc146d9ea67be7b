/** Builds dist/ from the TypeScript sources; `--run FILE` then runs one of its programs in this same process, until whoever started it is gone. */
import { rm } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { build, stop } from 'esbuild'

const root = import.meta.dirname
const { values: { run } } = parseArgs({ options: { run: { type: 'string' } } })

await rm(`${root}/dist`, { recursive: true, force: true })
await build({
  absWorkingDir: root,
  entryPoints: ['*.ts', ...['plugins', 'routes', 'services', 'schemas', 'embedded'].map(folder => `${folder}/**/*.ts`)],
  outdir: 'dist',
  outbase: '.',
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: true,
  logLevel: 'warning'
})
await stop()

if (run) {
  stopWithParent()
  await import(`./dist/${run}`)
}

/** npm runs a script by a shell, and most shells do not pass a signal on: they just end. */
function stopWithParent () {
  const parent = process.ppid
  setInterval(() => { if (process.ppid !== parent) process.kill(process.pid, 'SIGTERM') }, 250).unref()
}
