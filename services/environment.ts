import { readFileSync } from 'node:fs'
import { parseEnv } from 'node:util'

/** Secrets of other systems, of which nobody knows whether they used the white space. */
export const TAKEN_WHOLE = new Set(['JWT_LEGACY_SECRET'])

/**
 * Adds to `env` the variables of the file that it does not have, and removes white space around every value: a secret
 * that was
 * read from a file often ends in a line break. A value of white space only counts as not set. Other variables of the
 * same
 * process (AWS_…, NODE_ENV) are read by libraries, so this changes the environment itself.
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
    throw new Error(`The file ${file} cannot be read`, { cause })
  }
}

/** As its byte order mark says, which is left out; UTF-8 without one. */
function decode (bytes: Buffer): string {
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe
    ? 'utf-16le'
    : bytes[0] === 0xfe && bytes[1] === 0xff ? 'utf-16be' : 'utf-8'
  return new TextDecoder(encoding).decode(bytes)
}
