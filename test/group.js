/** Runs the compiled test files that TEST_FILES names in one process, one after the other. */
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'

t.setTimeout(0)
t.setTimeout = () => {} // a file would set the time of all files in the process; run.js bounds that

for (const file of process.env.TEST_FILES.split(' ')) {
  // a test of its own, or tap would end between two files
  t.test(file, async () => { await import(pathToFileURL(resolve(file))) })
}
