import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Values that clients use and must find again after a restart. */
export interface Kept {
  mongoPort?: number
  s3Port?: number
  /** The stores that were made in this folder. One that is gone is not made anew beside the data of the others. */
  made?: string[]
  accessKeyId: string
  secretAccessKey: string
}

/** Reads `embedded.json`; makes random credentials when there is no file yet. Throws when it is not readable. */
export function readKept (dataDir: string): Kept {
  const file = join(dataDir, 'embedded.json')
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return {
      accessKeyId: `EMBEDDED${randomBytes(6).toString('hex').toUpperCase()}`,
      secretAccessKey: randomBytes(30).toString('base64url')
    }
  }
  const kept = parse(text)
  if (kept === undefined) {
    throw new Error(`${file} is damaged: restore it, or remove it to have ports and credentials chosen anew`)
  }
  return kept
}

/** Whether a process has written `embedded.json` in this folder. */
export const isKept = (dataDir: string) => existsSync(join(dataDir, 'embedded.json'))

/** Replaces `embedded.json` whole, readable by its owner only. */
export function writeKept (dataDir: string, kept: Kept): void {
  const file = join(dataDir, 'embedded.json')
  writeFileSync(`${file}.new`, `${JSON.stringify(kept, undefined, 2)}\n`, { mode: 0o600, flush: true })
  renameSync(`${file}.new`, file)
}

function parse (text: string): Kept | undefined {
  try {
    const { mongoPort, s3Port, made, accessKeyId, secretAccessKey } = Object(JSON.parse(
      text
    )) as Record<string, unknown>
    if (typeof accessKeyId !== 'string' || typeof secretAccessKey !== 'string') return undefined
    return {
      accessKeyId,
      secretAccessKey,
      ...(isPort(mongoPort) && { mongoPort }),
      ...(isPort(s3Port) && { s3Port }),
      ...(Array.isArray(made) && { made: made.map(String) })
    }
  } catch {
    return undefined
  }
}

function isPort (value: unknown): value is number {
  return Number.isInteger(value) && Number(value) > 0 && Number(value) < 65536
}
