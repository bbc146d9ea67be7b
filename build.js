/**
 * Builds the TypeScript sources; `--run FILE` then runs one of the programs in this same process, until its parent has
 * gone.
 * Each build is a folder in .builds/ that is named after its content and does not change; the link dist/ leads to the
 * newest one.
 * So a service that runs keeps the files that it loads later, and several builds may run at the same time.
 */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, readlink, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { consoleBuild } from './console/build.js'

const { build, stop } = await import('esbuild').catch(error => {
  if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error
  console.error('The build needs esbuild, which is a development package: run `npm ci` first. ' +
    'What was built before starts without it: `node dist/server.js`.')
  process.exit(1)
})
const root = import.meta.dirname
const builds = join(root, '.builds')
const link = join(root, 'dist')
/** Of the builds that nothing runs from. */
const MAX_UNUSED_BUILDS = 8
const MARK = '.used-by-'

const { values: { run } } = parseArgs({ options: { run: { type: 'string' } } })
const files = await compile()
const folder = join(builds, nameOf(files))
const mark = join(folder, MARK + process.pid)
do {
  await store()
  await lead()
} while (!existsSync(mark)) // another process took the folder for an old one meanwhile
await removeOldBuilds()

if (run) {
  stopWithParent()
  await import(join(folder, run))
} else {
  await rm(mark, { force: true })
}

async function compile () {
  const outdir = join(builds, 'new') // as deep as the folder of a build: source maps hold relative paths
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: [
      '*.ts',
      ...['cli', 'plugins', 'routes', 'services', 'schemas'].map(folder => `${folder}/**/*.ts`),
      ...await sourcesIn('packages'),
      ...await sourcesIn('test')
    ],
    outdir,
    outbase: '.',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    sourcemap: true,
    logLevel: 'warning',
    write: false
  })
  const page = await build({ ...consoleBuild, outdir: join(outdir, 'console'), write: false })
  await stop()
  return [...outputFiles, ...page.outputFiles]
    .map(({ path, contents }) => ({ path: relative(outdir, path), contents }))
    .sort((a, b) => a.path < b.path ? -1 : 1)
}

/** The sources in a folder that an image may leave out. */
async function sourcesIn (folder) {
  return (await readdir(join(root, folder), { recursive: true }).catch(() => []))
    .filter(file => /(?<!\.d)\.ts$/.test(file) && !/(^|[/\\])(node_modules|clients)[/\\]/.test(file))
    .map(file => join(folder, file))
}

function nameOf (files) {
  const hash = createHash('sha256')
  for (const { path, contents } of files) hash.update(`${path}\0${contents.length}\0`).update(contents)
  return hash.digest('hex').slice(0, 16)
}

/** Writes what is not there yet, each file as a whole: another build may write the same, or have been cut off. */
async function store () {
  while (!await writeFile(mark, '').then(() => true, () => false)) await mkdir(folder, { recursive: true })
  for (const { path, contents } of files) {
    const target = join(folder, path)
    if (await isThere(target, contents)) continue
    await mkdir(dirname(target), { recursive: true })
    await writeFile(`${target}.${process.pid}`, contents)
    await rename(`${target}.${process.pid}`, target)
  }
  await utimes(folder, new Date(), new Date())
}

async function isThere (path, contents) {
  const found = await readFile(path).catch(() => undefined)
  return found !== undefined && found.equals(contents)
}

/** Lets dist/ lead to the build, at once. */
async function lead () {
  const next = `${link}.${process.pid}`
  await symlink(relative(root, folder), next, 'junction')
  try {
    await rename(next, link)
  } catch (error) {
    if (!['EISDIR', 'ENOTEMPTY', 'EEXIST', 'EPERM'].includes(error.code)) throw error
    await rename(link, join(builds, `before-${process.pid}`)).catch(() => {}) // a folder, as earlier versions made it
    await rename(next, link)
  }
}

/** Keeps the build that dist/ leads to, those that a living process runs from, and the newest of the others. */
async function removeOldBuilds () {
  const current = basename(await readlink(link))
  const unused = []
  for (const name of await readdir(builds)) {
    const path = join(builds, name)
    if (name !== current && !await isUsed(path)) unused.push({ path, time: await timeOf(path) })
  }
  unused.sort((a, b) => b.time - a.time)
  for (const { path } of unused.slice(MAX_UNUSED_BUILDS)) {
    await rm(path, { recursive: true, force: true, maxRetries: 3 })
  }
}

async function isUsed (path) {
  const names = await readdir(path).catch(() => [])
  const pids = names.filter(name => name.startsWith(MARK)).map(name => Number(name.slice(MARK.length)))
  const dead = pids.filter(pid => !isAlive(pid))
  for (const pid of dead) await rm(join(path, MARK + pid), { force: true })
  return dead.length < pids.length
}

function isAlive (pid) {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function timeOf (path) {
  return stat(path).then(({ mtimeMs }) => mtimeMs, () => 0)
}

/** npm runs a script by a shell, and most shells do not pass a signal on: they just end. */
function stopWithParent () {
  const parent = process.ppid
  setInterval(() => { if (process.ppid !== parent) process.kill(process.pid, 'SIGTERM') }, 250).unref()
}
