/**
 * Compares the cost of the service with that of other ways to do the same work, side by side.
 *
 *   npm run bench                                  all of it, an hour or more
 *   npm run bench -- list renditions               some of it
 *   npm run bench -- uploads --only '1 GB'         the scenarios with this in their name
 *   npm run bench -- --quick                       checks that it runs; its figures mean nothing
 */
import { parseArgs } from 'node:util'
import { setting, stopAll } from './harness/processes.js'

const ALL = ['endpoints', 'commands', 'uploads', 'list', 'renditions', 'instances', 'migration', 'rolling', 'overload', 'observability']

const {
  values: { quick, only },
  positionals
} = parseArgs({
  allowPositionals: true,
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string', default: '' } }
})
const unknown = positionals.filter(name => !ALL.includes(name))
if (unknown.length > 0) throw new Error(`There is no benchmark ${unknown.join(', ')}, only ${ALL.join(', ')}`)

console.log(`${setting}. Ratios are medians of interleaved rounds.`)
try {
  for (const name of positionals.length > 0 ? positionals : ALL) {
    console.log(`\n## ${name}`)
    const { [name]: bench } = await import(`./${name}.js`)
    await bench({ quick, only })
  }
} finally {
  await stopAll()
}
