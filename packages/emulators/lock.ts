import { mkdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { open, type RootDatabase } from 'lmdb'
import { checkDataFile, opened } from '../data-file/data-file.js'

/** Another process, or this one, uses the data folder. */
export class FolderInUse extends Error {
  constructor (path: string, readonly pid: number) {
    super(`The data folder ${path} is in use by process ${pid}: stop that one, or set DATA_DIR to another folder`)
  }
}

const held = new Set<string>()

/**
 * Locks the folder for this process until the returned function is called or the process ends in any way. LMDB takes a
 * lock for each reading process, and the operating system keeps it while that process lives. So another process with
 * the same id is not taken for the holder. Throws FolderInUse, with one clear sentence, when the folder is in use.
 */
export function lockFolder (folder: string): () => Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const path = realpathSync(folder)
  if (held.has(path)) throw new FolderInUse(path, process.pid)
  checkDataFile(join(path, 'lock'))
  const database: RootDatabase<number, string> = opened(join(path, 'lock'), () => open({ path: join(path, 'lock') }))
  const reading = database.useReadTransaction()
  try {
    opened(join(path, 'lock'), () => database.transactionSync(() => {
      database.readerCheck()
      const holder = database.get('holder')
      const isHeld = holder !== undefined && holder !== process.pid && readers(database).has(holder)
      if (isHeld) throw new FolderInUse(path, holder)
      database.putSync('holder', process.pid)
    }))
  } catch (error) {
    reading.done()
    database.close()
    throw error
  }
  held.add(path)
  return async () => {
    database.removeSync('holder')
    reading.done()
    await database.close()
    held.delete(path)
  }
}

/** LMDB lists one line for each reader, which begins with its process id. */
function readers (database: RootDatabase): Set<number> {
  return new Set(database.readerList().split('\n').map(line => Number.parseInt(line, 10)))
}
