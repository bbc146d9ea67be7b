/**
 * Runs the tests that import `helpers/test-length.ts` at a length for a night, or at the share of it that TEST_LONG
 * says: TEST_LONG=0.05 npm run test:long
 */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { runTests } from './run.js'

const folder = fileURLToPath(new URL('.', import.meta.url))
const files = []
for (const name of await readdir(folder, { recursive: true })) {
  if (!name.endsWith('.test.ts')) continue
  if (/helpers\/test-length\.js/.test(await readFile(join(folder, name), 'utf8'))) files.push(join('test', name))
}
process.exitCode = await runTests(['--jobs=1', '--timeout=14400', ...files, 'test/long/fraud-day.ts'], {
  env: { TEST_LONG: '1', ...process.env }
})
