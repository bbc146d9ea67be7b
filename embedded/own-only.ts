import { chmodSync, lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const OTHERS = 0o077

/**
 * What is written in the folder from now on, and what is there under these names already, is its owner's alone. Changes
 * the process's umask.
 */
export function ownOnly (folder: string, names: string[]): void {
  process.umask(OTHERS)
  for (const name of names) close(join(folder, name))
}

function close (path: string): void {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  if (stat === undefined || stat.isSymbolicLink()) return
  if ((stat.mode & OTHERS) !== 0) chmodSync(path, stat.mode & 0o700)
  if (stat.isDirectory()) for (const name of readdirSync(path)) close(join(path, name))
}
