import { mkdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { open, type RootDatabase } from 'lmdb'
import { checkDataFile, opened } from './data-file.js'

const held = new Set<string>()

/**
 * Makes the folder this process's own until the returned function is called or the process is gone, however it went:
 * the holder is alive for as long as the operating system keeps the lock that LMDB takes for each reading process,
 * which
 * no other process of the same number can stand in for. Throws one clear sentence when somebody else holds it.
 */
export function lockFolder (folder: string): () => Promise<void> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const path = realpathSync(folder)
  if (held.has(path)) throw taken(path, process.pid)
  checkDataFile(join(path, 'lock'))
  const database: RootDatabase<number, string> = opened(join(path, 'lock'), () => open({ path: join(path, 'lock') }))
  const reading = database.useReadTransaction()
  try {
    opened(join(path, 'lock'), () => database.transactionSync(() => {
      database.readerCheck()
      const holder = database.get('holder')
      if (holder !== undefined && holder !== process.pid && readers(database).has(holder)) throw taken(path, holder)
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

function taken (path: string, pid: number): Error {
  return new Error(
    `The data folder ${path} is in use by process ${pid}: stop that one, or set DATA_DIR to another folder`
  )
}
