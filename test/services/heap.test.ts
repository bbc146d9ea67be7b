import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import t from 'tap'

/** V8 says on standard error that it does not know a flag, and goes on. What the flag is worth, bench/ shows. */
t.test('this version of Node knows how to let its heap grow', async t => {
  const heap = new URL('../../dist/services/heap.js', import.meta.url).href
  const {
    stderr
  } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module', '-e', `(await import('${heap}')).growHeapGenerously()`],
    { env: {} }
  )
  t.equal(stderr, '')
})
