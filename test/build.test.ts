import { execFile, spawn } from 'node:child_process'
import { cp, mkdir, readdir, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { root } from './helpers/paths.js'
import { gif, jpeg } from './helpers/small-pictures.js'
import { environment, startServices } from './helpers/backends.js'
import { eventually } from './helpers/wait.js'
import { startService } from './helpers/service.js'
import { freePort, temporaryFolder } from './helpers/server-process.js'

const run = promisify(execFile)
const build = (checkout: string) => run(process.execPath, ['build.js'], { cwd: checkout })

/** Copies the sources into a folder of its own, which a test may change. */
async function checkout (t: Test): Promise<string> {
  const folder = await temporaryFolder(t)
  for (const name of [
    'app.ts', 'error-answers.ts', 'http-server.ts', 'server.ts', 'package.json', 'build.js', 'cli', 'plugins', 'routes', 'services', 'schemas', 'packages'
  ]) {
    await cp(join(root, name), join(folder, name), { recursive: true })
  }
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** Makes a folder of tiny sources, which take no time to build. */
async function tinyCheckout (t: Test): Promise<string> {
  const folder = await temporaryFolder(t)
  await cp(join(root, 'build.js'), join(folder, 'build.js'))
  await writeFile(join(folder, 'package.json'), '{"type":"module"}')
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  for (const name of ['cli', 'plugins', 'routes', 'services', 'schemas', 'packages']) {
    await mkdir(join(folder, name))
    await writeFile(join(folder, name, 'empty.ts'), 'export {}\n')
  }
  for (const name of ['error-answers.ts', 'http-server.ts']) await writeFile(join(folder, name), 'export {}\n')
  await writeFile(join(folder, 'app.ts'), 'export const version: number = 1\n')
  return folder
}

t.test('a running service still makes pictures while its sources change and are rebuilt', async t => {
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

t.test('builds at the same time all succeed, and their output is complete', async t => {
  const folder = await tinyCheckout(t)
  await mkdir(join(folder, 'dist'))
  await writeFile(join(folder, 'dist/app.js'), 'as an earlier version built it')
  await Promise.all(Array.from({ length: 6 }, () => build(folder)))
  t.match(await readFile(join(folder, 'dist/app.js'), 'utf8'), /const version = 1/)
  await rm(join(folder, 'dist/app.js'))
  await build(folder)
  t.match(await readFile(join(folder, 'dist/app.js'), 'utf8'), /const version = 1/, 'the lost file is there again')
})

t.test('old builds are removed, except one that a process runs from', async t => {
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

t.test('npm run dev starts the service again when a source changes', async t => {
  const folder = await tinyCheckout(t)
  const port = await freePort()
  await writeFile(join(folder, 'server.ts'), [
    "import { createServer } from 'node:http'",
    "import { version } from './app.js'",
    `createServer((_request, response) => { response.end(String(version)) }).listen(${port})`
  ].join('\n'))
  const { scripts } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as { scripts: { dev: string } }
  const [, ...args] = scripts.dev.split(' ')
  const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] })
  t.teardown(() => { child.kill('SIGKILL') })
  const answer = () => fetch(`http://127.0.0.1:${port}`).then(response => response.text(), () => '')
  t.ok(await eventually(async () => await answer() === '1'))
  await writeFile(join(folder, 'app.ts'), 'export const version: number = 2\n')
  t.ok(await eventually(async () => await answer() === '2'))
})
