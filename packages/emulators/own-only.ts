import { chmodSync, lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const OTHERS = 0o077

/**
 * Makes files and folders with these names accessible to their owner only. Changes the process's umask, so that the
 * same holds for everything it writes later.
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
