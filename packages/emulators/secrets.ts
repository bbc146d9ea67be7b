import { randomBytes } from 'node:crypto'
import { link, mkdir, readFile, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface Secrets {
  jwt: string
  otp: string
}

const SHORTEST = 32

/**
 * The secrets of a process that was given none. They are made once, atomically, and kept in `dataDir`, readable by
 * their owner only. Throws when the file is damaged; the error shows nothing of its content.
 */
export async function keepSecrets (dataDir: string): Promise<Secrets> {
  const file = join(dataDir, 'secrets.json')
  const fresh = `${file}.${randomBytes(6).toString('hex')}`
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const made: Secrets = { jwt: randomBytes(48).toString('base64url'), otp: randomBytes(48).toString('base64url') }
  await writeFile(fresh, JSON.stringify(made), { mode: 0o600, flag: 'wx', flush: true })
  try {
    await link(fresh, file)
    return made
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return parse(await readFile(file, 'utf8'), file)
  } finally {
    await unlink(fresh)
  }
}

function parse (text: string, file: string): Secrets {
  try {
    const { jwt, otp } = Object(JSON.parse(text)) as Partial<Secrets>
    if (typeof jwt === 'string' && typeof otp === 'string' && jwt.length >= SHORTEST && otp.length >= SHORTEST) {
      return { jwt, otp }
    }
  } catch {}
  throw new Error(
    `${file} is damaged: restore it, or remove it to have secrets made anew, whereupon everybody has to sign in again`
  )
}
