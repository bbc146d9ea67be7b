import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { root } from './helpers/paths.js'

const run = promisify(execFile)
const check = (file: string) => run(process.execPath, [join(root, '.ci/check-lockfile.js'), file])

for (const file of ['package-lock.json', 'bench/package-lock.json', 'test/clients/package-lock.json']) {
  t.test(`${file} has an integrity for every package and no registry address`, async t => {
    await t.resolves(check(join(root, file)))
  })
}

t.test('a lockfile that lost one integrity, or names a registry, is refused by name', async t => {
  const lock = JSON.parse(await readFile(join(root, 'package-lock.json'), 'utf8'))
  const copy = join(t.testdir(), 'package-lock.json')
  delete lock.packages['node_modules/fastify'].integrity
  lock.packages['node_modules/sharp'].resolved = 'https://registry.example/sharp.tgz'
  await writeFile(copy, JSON.stringify(lock))
  const { code, stderr } = await check(copy).then(() => t.fail('it passes'), error => error)
  t.equal(code, 1)
  t.match(stderr, 'node_modules/fastify has no integrity')
  t.match(stderr, 'node_modules/sharp names the address of a registry')
})

t.test('the version is the same in every file that has one', async t => {
  const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
  for (const [file, pattern] of [
    ['package-lock.json', /"version": "([^"]+)"/],
    ['openapi.json', /"version": "([^"]+)"/],
    ['CHANGELOG.md', /^## (\S+)/m],
    ['deploy/kubernetes/kustomization.yaml', /newTag: ([^ }]+)/],
    ['deploy/kubernetes/migrate-job.yaml', /image: [^:\n]+:(\S+)/],
    ...['data-file', 'emulators', 'mongo-emulator', 's3-emulator']
      .map(name => [`packages/${name}/package.json`, /"version": "([^"]+)"/] as const)
  ] as const) {
    t.equal(pattern.exec(await readFile(join(root, file), 'utf8'))?.[1], version, file)
  }
})

t.test('the workflow names each action by its commit', async t => {
  const workflow = await readFile(join(root, '.github/workflows/ci.yml'), 'utf8')
  const uses = [...workflow.matchAll(/uses: (\S+)/g)].map(([, action = '']) => action)
  t.ok(uses.length > 3)
  for (const action of uses) t.match(action, /^[\w.-]+\/[\w.-]+@[0-9a-f]{40}$/)
})

t.test('every test that the threat model names is there, under the title that it quotes', async t => {
  const model = await readFile(join(root, 'docs/threat-model.md'), 'utf8')
  const named = [...model.matchAll(/`((?:test|packages)\/[^`]+\.ts)`((?:,? "[^"]+")*)/g)]
  t.ok(named.length > 50, `${named.length} tests`)
  for (const [, path = '', quotes = ''] of named) {
    const titles = titlesIn(await readFile(join(root, path), 'utf8').catch(() => ''))
    t.ok(existsSync(join(root, path)), `${path} is there`)
    for (const [, quote = ''] of quotes.matchAll(/"([^"]+)"/g)) {
      t.ok(titles.some(title => says(title, quote)), `${path} has the title "${quote}"`)
    }
  }
})

/** The literal titles of a test file. `…` stands for each value that a title gets. */
const titlesIn = (source: string) => [...source.matchAll(/\.test\(\s*(['"`])((?:\\.|(?!\1)[^\\])*)\1/g)]
  .map(([, , title = '']) => title.replace(/\$\{(?:[^{}]|\{[^{}]*\})*\}/g, '…').replace(/\\(.)/g, '$1'))

/** Whether a title, with some values in place of its `…`, has the words of a quotation, which may leave some out. */
function says (title: string, quote: string): boolean {
  const word = (text: string) => `(?:${text.replace(/[^\w\s]/g, '\\$&')}|\\S*…\\S*)`
  const pieces = quote.split(' … ').map(piece => piece.split(' ').map(word).join(' '))
  return new RegExp(pieces.join('.*'), 'i').test(title)
}
