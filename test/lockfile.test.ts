import { execFile } from 'node:child_process'
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
