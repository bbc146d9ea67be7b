/**
 * Generates clients of openapi.json with common generators, and compiles or imports each.
 * Three of them use a running service.
 *
 *   npm run test:clients [words of the names of those to try]
 *
 * Generators are tools, never dependencies. They are installed once into the user's cache, from npm, PyPI,
 * Maven Central and the Go proxy.
 * A client is not tried where a tool is missing or cannot be installed. That is said, and is no failure.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const OPENAPI_GENERATOR = '7.25.0'
const OAPI_CODEGEN = 'v2.8.2'
const OAPI_RUNTIME = 'v1.9.0'
const OGEN = 'v1.25.0'
const STEP_MS = 10 * 60_000
const LANES = 2 // a generator mostly uses one core

/** Test numbers with a fixed code: one for each client that signs in. */
const SIGN_INS = { 'openapi-generator python': '+919999900001', 'openapi-generator typescript-fetch': '+919999900002', 'oapi-codegen': '+919999900003' }
const CODE = '123456'
const PICTURE = 'R0lGODlhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs='

class CannotTry extends Error {}

const root = fileURLToPath(new URL('../..', import.meta.url))
const here = (name) => join(root, 'test/clients', name)
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'hookaba-api', 'clients')
const folder = await mkdtemp(join(tmpdir(), 'hookaba-clients-'))
const document = join(root, 'openapi.json')
const picture = join(folder, 'picture.gif')
const interruption = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => interruption.abort())

const clients = [
  ['openapi-generator python', pythonOfOpenapiGenerator],
  ['oapi-codegen', goOfOapiCodegen],
  ['openapi-generator typescript-fetch', typescriptFetch],
  ['ogen', goOfOgen],
  ['openapi-generator java', java],
  ['openapi-generator dart', dart],
  ['openapi-python-client', pythonClient],
  ['orval', orval],
  ['hey-api', heyApi]
]

let service
let failed = 0
try {
  await writeFile(picture, Buffer.from(PICTURE, 'base64'))
  const words = process.argv.slice(2)
  const chosen = clients.filter(([name]) => words.every((word) => name.includes(word)))
  service = await startService()
  await Promise.all(Array.from({ length: LANES }, async () => {
    while (chosen.length > 0) await attempt(...chosen.shift())
  }))
} finally {
  await service?.stop()
  await rm(folder, { recursive: true, force: true })
}
process.exitCode = failed > 0 ? 1 : 0

async function attempt (name, work) {
  const started = Date.now()
  try {
    const done = await work(join(folder, name.replaceAll(' ', '-')), name)
    console.log(`ok: ${name}: ${done} (${Math.round((Date.now() - started) / 1000)} s)`)
  } catch (error) {
    if (error instanceof CannotTry) return console.log(`NOT TRIED: ${name}, because ${error.message}`)
    failed++
    console.log(`FAILED: ${name}: ${error.message}`)
  }
}

// The clients

async function pythonOfOpenapiGenerator (out, name) {
  const python = await pythonTools()
  await generate('python', out, 'packageName=hookaba')
  await run(python, [here('import_all.py'), out, 'hookaba'])
  await run(python, [here('story.py'), ...signIn(name)], { cwd: out })
  return 'imported, and signs in, uploads and lists'
}

async function typescriptFetch (out, name) {
  const tools = await npmTools()
  await generate('typescript-fetch', out, 'supportsES6=true,npmName=hookaba')
  await cp(here('story.ts'), join(out, 'story.ts'))
  await writeFile(join(out, 'package.json'), '{"type":"commonjs"}')
  const strict = ['--strict', '--skipLibCheck', '--target', 'es2022', '--module', 'commonjs', '--lib', 'es2022,dom,dom.iterable']
  await run(process.execPath, [join(tools, 'typescript/bin/tsc'), ...strict, '--types', 'node', '--typeRoots', join(root, 'node_modules/@types'), join(out, 'story.ts')])
  await run(process.execPath, [join(out, 'story.js'), ...signIn(name)])
  return 'compiled, and signs in, uploads and lists'
}

async function java (out) {
  await generate('java', out, 'library=native,groupId=hookaba,artifactId=hookaba,apiPackage=hookaba.api,modelPackage=hookaba.model,invokerPackage=hookaba')
  await run('mvn', ['--quiet', '--batch-mode', '-DskipTests', 'compile'], { cwd: out }).catch((error) => {
    throw /Could not (transfer|find) artifact|Unknown host/.test(error.message) ? new CannotTry('Maven could not get what it compiles with') : error
  })
  return 'compiled'
}

async function dart (out) {
  await generate('dart', out, 'pubName=hookaba')
  try {
    await need('dart', ['pub', 'get'], { cwd: out })
  } catch (error) {
    if (error instanceof CannotTry) return `generated; NOT compiled, because ${error.message}`
    throw error
  }
  await run('dart', ['analyze', '--no-fatal-warnings', 'lib'], { cwd: out })
  return 'compiled'
}

async function goOfOapiCodegen (out, name) {
  await goModule(out)
  const codegen = await goTool('oapi-codegen', `github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@${OAPI_CODEGEN}`)
  await run(codegen, ['-package', 'hookaba', '-generate', 'types,client', '-o', 'hookaba/client.go', document], { cwd: out })
  await cp(here('story.go.txt'), join(out, 'main.go'))
  await need('go', ['get', `github.com/oapi-codegen/runtime@${OAPI_RUNTIME}`], { cwd: out })
  await need('go', ['mod', 'tidy'], { cwd: out })
  await run('go', ['build', '-o', 'story', '.'], { cwd: out })
  await run(join(out, 'story'), signIn(name))
  return 'compiled, and signs in, uploads and lists'
}

async function goOfOgen (out) {
  await goModule(out)
  const ogen = await goTool('ogen', `github.com/ogen-go/ogen/cmd/ogen@${OGEN}`)
  await run(ogen, ['--target', 'hookaba', '--package', 'hookaba', document], { cwd: out })
  await need('go', ['get', `github.com/ogen-go/ogen@${OGEN}`], { cwd: out })
  await need('go', ['mod', 'tidy'], { cwd: out })
  await run('go', ['build', './...'], { cwd: out })
  return 'compiled'
}

async function pythonClient (out) {
  const python = await pythonTools()
  await run(python, ['-m', 'openapi_python_client', 'generate', '--meta', 'none', '--path', document, '--output-path', join(out, 'hookaba')])
  await run(python, [here('import_all.py'), out, 'hookaba'])
  return 'imported'
}

async function orval (out) {
  const tools = await npmTools()
  await run(process.execPath, [join(tools, 'orval/dist/bin/orval.js'), '--input', document, '--output', join(out, 'index.ts'), '--client', 'fetch'])
  await compile(tools, out)
  return 'compiled'
}

async function heyApi (out) {
  const tools = await npmTools()
  await run(process.execPath, [join(tools, '@hey-api/openapi-ts/bin/run.js'), '--input', document, '--output', out, '--client', '@hey-api/client-fetch'])
  await compile(tools, out)
  return 'compiled'
}

// Their tools

async function generate (generator, out, properties) {
  const jar = join(cache, `openapi-generator-cli-${OPENAPI_GENERATOR}.jar`)
  await installed(jar, () => need('mvn', ['--quiet', '--batch-mode', 'dependency:copy', `-Dartifact=org.openapitools:openapi-generator-cli:${OPENAPI_GENERATOR}`, `-DoutputDirectory=${cache}`], { cwd: folder }))
  await need('java', ['-version'])
  await run('java', ['-jar', jar, 'generate', '-i', document, '-g', generator, '-o', out, `--additional-properties=${properties}`])
}

async function pythonTools () {
  const home = join(cache, `python-${await digest('requirements.txt')}`)
  await installed(home, async () => {
    await need('python3', ['-m', 'venv', '--clear', home])
    await need(join(home, 'bin/pip'), ['install', '--quiet', '--disable-pip-version-check', '--requirement', here('requirements.txt')])
  })
  return join(home, 'bin/python')
}

async function npmTools () {
  const home = join(cache, `npm-${await digest('package-lock.json')}`)
  await installed(home, async () => {
    await mkdir(home, { recursive: true })
    for (const name of ['package.json', 'package-lock.json']) await cp(here(name), join(home, name))
    await need('npm', ['ci', '--ignore-scripts', '--no-fund', '--no-audit'], { cwd: home })
  })
  return join(home, 'node_modules')
}

async function goTool (name, source) {
  const home = join(cache, source.replaceAll('/', '-'))
  await installed(home, () => need('go', ['install', source], { cwd: folder, env: { ...process.env, GOBIN: home } }))
  return join(home, name)
}

async function goModule (out) {
  await mkdir(join(out, 'hookaba'), { recursive: true })
  await need('go', ['mod', 'init', 'clients'], { cwd: out })
}

function compile (tools, out) {
  return run(process.execPath, [join(tools, 'typescript/bin/tsc'), '--noEmit', '--strict', '--skipLibCheck', '--target', 'es2022', '--module', 'esnext', '--moduleResolution', 'bundler', '--lib', 'es2022,dom,dom.iterable', join(out, 'index.ts')])
}

/** Installs once, also where two clients want the same tool at the same time. */
async function installed (path, install) {
  installed.running ??= new Map()
  const done = `${path}.installed`
  if (existsSync(done)) return
  if (!installed.running.has(path)) {
    await mkdir(cache, { recursive: true })
    installed.running.set(path, install().then(() => writeFile(done, '')))
  }
  await installed.running.get(path)
}

async function digest (name) {
  return createHash('sha256').update(await readFile(here(name))).digest('hex').slice(0, 12)
}

/** Runs a step that needs a tool or a registry; without them the client is not tried. */
async function need (program, args, options) {
  try {
    await run(program, args, options)
  } catch (error) {
    if (interruption.signal.aborted) throw error
    throw new CannotTry(error.code === 'ENOENT' ? `${program} is not here` : `it could not be installed: ${error.message}`)
  }
}

async function run (program, args, options) {
  // `timeout` of spawn keeps this process alive where the program is missing
  const signal = AbortSignal.any([interruption.signal, AbortSignal.timeout(STEP_MS)])
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], signal, ...options })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { said = (said + chunk).slice(-4000) })
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${[program, ...args].join(' ')} ended with ${code}\n${said}`)
}

// The service

function signIn (name) {
  return [service.url, SIGN_INS[name], CODE, picture]
}

/** The built service on its defaults, with an empty data folder; ready when this resolves. */
async function startService () {
  const port = await freePort()
  const { PATH, HOME } = process.env
  const child = spawn(process.execPath, [join(root, 'dist/server.js')], {
    cwd: folder,
    env: { PATH, HOME, PORT: String(port), DATA_DIR: join(folder, 'data'), OTP_TEST_NUMBERS: Object.values(SIGN_INS).map((number) => `${number}:${CODE}`).join() },
    stdio: ['ignore', 'ignore', 'inherit']
  })
  const url = `http://127.0.0.1:${port}`
  while (!await fetch(`${url}/health/ready`).then(({ ok }) => ok, () => false)) {
    if (child.exitCode !== null || interruption.signal.aborted) throw new Error('the service did not start')
    await sleep(100)
  }
  return {
    url,
    /** Resolves when it is gone, so that it writes no more files. */
    async stop () {
      const gone = child.exitCode === null && child.signalCode === null && once(child, 'exit')
      child.kill()
      await gone
    }
  }
}

async function freePort () {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  return port
}
