import { execFile } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { built } from '../helpers/paths.js'

/** V8 reports an unknown flag on standard error, and goes on. bench/ measures the effect of the flag. */
t.test('this version of Node knows the flag that lets its heap grow', async t => {
  const heap = pathToFileURL(built('services/heap.js')).href
  const { stderr } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '-e', `(await import('${heap}')).growHeapGenerously()`],
    { env: {} }
  )
  t.equal(stderr, '')
})
