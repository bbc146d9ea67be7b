import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'

/** Secrets of other systems. It is unknown whether they used the white space. */
export const TAKEN_WHOLE = new Set(['JWT_LEGACY_SECRET'])

/**
 * Adds to `env` the variables that only the file has, and trims every value except TAKEN_WHOLE: a secret from a file
 * often ends in a line break. A value of white space only counts as not set. Changes the environment itself, because
 * libraries read other variables of the process (AWS_…, NODE_ENV).
 */
export function prepareEnvironment (env: Record<string, string | undefined>, file = '.env'): void {
  for (const [name, value] of Object.entries(readEnvFile(file))) env[name] ??= value
  for (const [name, value] of Object.entries(env)) {
    const trimmed = value?.trim()
    if (trimmed === value) continue
    if (trimmed === '') delete env[name]
    else if (!TAKEN_WHOLE.has(name)) env[name] = trimmed
  }
}

function readEnvFile (file: string): Record<string, string> {
  try {
    return parseEnv(decode(readFileSync(file)).replaceAll('\r\n', '\n')) as Record<string, string>
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return {}
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    throw new Error(`The file ${file} cannot be read (${code}): let this user read it, or remove it`, { cause })
  }
}

/** Decodes by the byte order mark, and drops it; UTF-8 without one. */
function decode (bytes: Buffer): string {
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe
    ? 'utf-16le'
    : bytes[0] === 0xfe && bytes[1] === 0xff ? 'utf-16be' : 'utf-8'
  return new TextDecoder(encoding).decode(bytes)
}
