import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface Secrets {
  jwt: string
  otp: string
}

/** The secrets of a process that was given none: made once, then kept in `dataDir`, readable by its owner only. */
export async function keepSecrets (dataDir: string): Promise<Secrets> {
  const file = join(dataDir, 'secrets.json')
  await mkdir(dataDir, { recursive: true })
  const made: Secrets = { jwt: randomBytes(48).toString('base64url'), otp: randomBytes(48).toString('base64url') }
  try {
    await writeFile(file, JSON.stringify(made), { mode: 0o600, flag: 'wx', flush: true })
    return made
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    return JSON.parse(await readFile(file, 'utf8')) as Secrets
  }
}
