import { execFile, spawn } from 'node:child_process'
import { cp, mkdir, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { gif, jpeg } from './fixtures.js'
import { environment, startService, startServices } from './helper.js'
import { freePort, temporaryFolder } from './running.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const run = promisify(execFile)
const build = (checkout: string) => run(process.execPath, ['build.js'], { cwd: checkout })

/** The sources in a folder of their own, which a test may change. */
async function checkout (t: Test): Promise<string> {
  const folder = await temporaryFolder(t)
  for (const name of [
    'app.ts', 'server.ts', 'package.json', 'build.js', 'cli', 'plugins', 'routes', 'services', 'schemas', 'embedded'
  ]) {
    await cp(join(root, name), join(folder, name), { recursive: true })
  }
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** Sources that take no time to build. */
async function tinyCheckout (t: Test): Promise<string> {
  const folder = await temporaryFolder(t)
  await cp(join(root, 'build.js'), join(folder, 'build.js'))
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  for (const name of ['cli', 'plugins', 'routes', 'services', 'schemas', 'embedded']) {
    await mkdir(join(folder, name))
    await writeFile(join(folder, name, 'empty.ts'), 'export {}\n')
  }
  await writeFile(join(folder, 'app.ts'), 'export const version: number = 1\n')
  return folder
}

t.test('a service that runs goes on making pictures while its sources change and are built anew', async t => {
  const services = await startServices(t)
  const token = await (await startService(t, { services, now: () => new Date() })).tokenFor('+919876543210')
  const folder = await checkout(t)
  const port = await freePort()
  const child = spawn(process.execPath, ['build.js', '--run', 'server.js'], {
    cwd: folder,
    env: { ...process.env, ...environment(services), PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => { child.kill('SIGKILL') })
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => { if (chunk.includes('/docs')) resolve() })
    child.once('exit', code => reject(new Error(`it ended with ${code}`)))
  })
  const own = await readlink(join(folder, 'dist'))
  await rm(join(folder, 'services/pictures/worker.ts'))
  await writeFile(join(folder, 'app.ts'), 'export const nothing = 1\n')
  await Promise.all([build(folder), build(folder), build(folder)])
  t.not(await readlink(join(folder, 'dist')), own)
  for (const bytes of [gif, jpeg]) {
    const form = new FormData()
    form.append('user_id', 'meera')
    form.append('file', new Blob([bytes]), 'picture')
    const response = await fetch(`http://127.0.0.1:${port}/library/upload`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}` },
      body: form
    })
    t.match({ status: response.status, body: await response.json() }, {
      status: 201,
      body: { renditions: { '64x64': { frames: Number } } }
    })
  }
})

t.test('builds at the same time all work, and what they made is whole', async t => {
  const folder = await tinyCheckout(t)
  await mkdir(join(folder, 'dist'))
  await writeFile(join(folder, 'dist/app.js'), 'as an earlier version built it')
  await Promise.all(Array.from({ length: 6 }, () => build(folder)))
  t.match(await readFile(join(folder, 'dist/app.js'), 'utf8'), /const version = 1/)
  await rm(join(folder, 'dist/app.js'))
  await build(folder)
  t.match(await readFile(join(folder, 'dist/app.js'), 'utf8'), /const version = 1/, 'what was lost is there again')
})

t.test('old builds go, but for the one that a process runs from', async t => {
  const folder = await tinyCheckout(t)
  await writeFile(join(folder, 'app.ts'), 'process.stdout.write("up\\n"); setInterval(() => {}, 1000); export {}\n')
  const child = spawn(process.execPath, ['build.js', '--run', 'app.js'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  t.teardown(() => { child.kill('SIGKILL') })
  await new Promise(resolve => child.stdout.once('data', resolve))
  const own = await readlink(join(folder, 'dist'))
  for (let version = 0; version < 14; version++) {
    await writeFile(join(folder, 'app.ts'), `export const version = ${version}\n`)
    await build(folder)
  }
  const left = await readdir(join(folder, '.builds'))
  t.ok(left.includes(own.replace('.builds/', '')), 'the one that runs')
  t.equal(left.length, 10, 'the newest one, eight before it, and the one that runs')
})
