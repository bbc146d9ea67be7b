import { execFile, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, readFile, readlink, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { root } from './helpers/paths.js'
import { uploadForm } from './helpers/multipart.js'
import { gif, jpeg } from './helpers/small-pictures.js'
import { environment, startServices } from './helpers/backends.js'
import { startOtlpReceiver } from './helpers/otlp-receiver.js'
import { scale } from './helpers/test-length.js'
import { eventually } from './helpers/wait.js'
import { freshPhone } from './helpers/accounts.js'
import { tinyCheckout } from './helpers/checkout.js'
import { freePort, runProgram, signInTo, startProcess, temporaryFolder } from './helpers/server-process.js'

const run = promisify(execFile)
const BUILDS_AT_ONCE = scale({ short: 3, long: 6 })
const build = (checkout: string) => run(process.execPath, ['build.js'], { cwd: checkout })

/** Copies the sources into a folder of its own, which a test may change. */
async function checkout (t: Test): Promise<string> {
  const folder = await temporaryFolder(t)
  const files = (await readdir(root)).filter(name => name.endsWith('.ts'))
  for (const name of [
    ...files, 'package.json', 'build.js', 'cli', 'console', 'deploy', 'plugins', 'routes', 'services', 'schemas', 'packages'
  ]) {
    await cp(join(root, name), join(folder, name), { recursive: true })
  }
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

t.test('a running service still makes pictures while its sources change and are rebuilt', async t => {
  const services = await startServices(t)
  const folder = await checkout(t)
  const service = await startProcess(t, environment(services), { checkout: folder })
  const token = await signInTo(service, freshPhone())
  const own = await readlink(join(folder, 'dist'))
  await rm(join(folder, 'services/pictures/worker.ts'))
  await writeFile(join(folder, 'app.ts'), 'export const nothing = 1\n')
  await build(folder)
  t.not(await readlink(join(folder, 'dist')), own)
  for (const bytes of [gif, jpeg]) {
    t.match(await service.json('POST', '/library/upload', { token, body: uploadForm(bytes) }), {
      status: 201,
      body: { renditions: { '64x64': { frames: Number } } }
    })
  }
})

t.test('the bundle of the image serves in production without the emulators, and its commands run', async t => {
  const services = await startServices(t)
  const folder = await checkout(t)
  await run(process.execPath, ['deploy/bundle.js', 'built'], { cwd: folder })
  await rm(join(folder, 'packages'), { recursive: true })
  await t.test('in development it says in one sentence that it has no emulators', async t => {
    const { code, stderr } = await runProgram(join(folder, 'built/server.js'), [], { NODE_ENV: 'development' })
    t.equal(code, 1)
    t.match(stderr, /^Refusing to start: the emulators are not installed here\. .*\bMONGO_URI\b.*\n$/)
  })

  const receiver = await startOtlpReceiver(t)
  const env = {
    ...environment(services),
    NODE_ENV: 'production',
    SMS_CONSOLE_IN_PRODUCTION: 'true',
    DOCS: 'true',
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url
  }
  const service = await startProcess(t, env, { program: join(folder, 'built/server.js') })
  const token = await signInTo(service, freshPhone())
  const { status, body } = await service.json('POST', '/library/upload', { token, body: uploadForm(gif) })
  t.match({ status, body }, { status: 201, body: { renditions: { '64x64': { frames: Number } } } })
  for (const path of ['/docs/static/index.css', '/', '/console.js', '/console.css']) {
    t.equal((await fetch(service.url + path)).status, 200, path)
  }
  t.match(await service.json('GET', '/health/ready'), { status: 200 })
  t.notOk(existsSync(join(folder, 'built/cli/demo')), 'the demo data stay out of the image')
  t.match(await runProgram(join(folder, 'built/cli/check-library.js'), [], env), { code: 0 })
  t.match(await runProgram(join(folder, 'built/cli/migrate.js'), ['--dry-run'], env), { code: 0 })
  t.match(await runProgram(join(folder, 'built/cli/preflight.js'), [], { ...env, ADMIN_NUMBERS: freshPhone() }), {
    code: 0
  })
  const sizes = { RENDITION_SIZES: '64x64,32x32' }
  t.match(await runProgram(join(folder, 'built/cli/renditions.js'), [], { ...env, ...sizes }), {
    code: 0,
    stdout: `library ${body.id}: 32x32\nRenditions made for 1 item.\n`
  })
  t.equal(await service.kill('SIGTERM'), 0)
  t.ok(receiver.requests.some(({ body }) => body.includes('insert library')), 'spans came before its end')
  const development = await startProcess(t, { ...env, NODE_ENV: 'development' }, { program: join(folder, 'built/server.js') })
  t.match(await development.json('GET', '/health/ready'), { status: 200 }, 'it needs no emulator when all is configured')
})

t.test('a build without its development packages says in one sentence what is missing', async t => {
  const folder = await tinyCheckout(t)
  await rm(join(folder, 'node_modules'))
  const { code, stderr } = await build(folder).then(() => t.fail('it builds'), error => error)
  t.equal(code, 1)
  t.match(stderr, /^The build needs esbuild, .*npm ci.*node dist\/server\.js.*\n$/)
})

t.test('builds at the same time all succeed, and their output is complete', async t => {
  const folder = await tinyCheckout(t)
  await mkdir(join(folder, 'dist'))
  await writeFile(join(folder, 'dist/app.js'), 'as an earlier version built it')
  await Promise.all(Array.from({ length: BUILDS_AT_ONCE }, () => build(folder)))
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
  await utimes(join(folder, own), new Date('2026-01-01'), new Date('2026-01-01'))
  const others = Array.from({ length: 12 }, (_, i) => `2026-02-${10 + i}`)
  for (const name of others) {
    await mkdir(join(folder, '.builds', name))
    await utimes(join(folder, '.builds', name), new Date(name), new Date(name))
  }
  await writeFile(join(folder, 'app.ts'), 'export const version = 1\n')
  await build(folder)
  const newest = await readlink(join(folder, 'dist'))
  t.strictSame(
    (await readdir(join(folder, '.builds'))).sort(),
    [own, newest].map(path => basename(path)).concat(others.slice(-8)).sort(),
    'the newest one, eight before it, and the one that runs'
  )
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
