/**
 * Checks lockfiles: `node .ci/check-lockfile.js FILE…`. Every installed package must have an `integrity`, so that npm
 * refuses a changed one. No package may have a `resolved` address, so that each registry can serve it. Names the
 * entries that break this, and exits 1.
 * npm drops `integrity` when it runs over an existing `node_modules`: make a lockfile in an empty folder.
 */
import { readFileSync } from 'node:fs'

let faults = 0
for (const file of process.argv.slice(2)) {
  for (const [path, entry] of Object.entries(JSON.parse(readFileSync(file, 'utf8')).packages)) {
    if (!path.includes('node_modules/') || entry.link || entry.inBundle) continue
    if (!entry.integrity) report(`${file}: ${path} has no integrity`)
    if (entry.resolved) report(`${file}: ${path} names the address of a registry`)
  }
}
process.exitCode = faults > 0 ? 1 : 0

function report (fault) {
  faults++
  console.error(fault)
}
