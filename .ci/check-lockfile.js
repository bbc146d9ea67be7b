/**
 * Checks lockfiles: `node .ci/check-lockfile.js FILE…`. Every installed package must have an `integrity`, so that a
 * tampered one is not installed,
 * and none a `resolved` address, so that it installs from any registry. Exits 1 and names the entries that break this.
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
