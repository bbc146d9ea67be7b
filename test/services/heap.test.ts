import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'

/** V8 reports an unknown flag on standard error, and goes on. bench/ measures the effect of the flag. */
t.test('this version of Node knows the flag that lets its heap grow', async t => {
  const heap = new URL('../../dist/services/heap.js', import.meta.url).href
  const { stderr } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '-e', `(await import('${heap}')).growHeapGenerously()`],
    { env: {} }
  )
  t.equal(stderr, '')
})
