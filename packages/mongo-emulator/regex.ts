import { BSONRegExp } from 'bson'
import { CommandError } from './errors.js'

/**
 * Compiles a PCRE pattern with MongoDB's options (i, m, s, x, u) to JavaScript's.
 * Throws CommandError 51091 for a pattern that JavaScript cannot run, 51108 for unknown options.
 */
export function compileRegex ({ pattern, options }: BSONRegExp): RegExp {
  const inline = /^\(\?([imsx]+)\)/.exec(pattern)
  const flags = new Set(options + (inline?.[1] ?? ''))
  for (const flag of flags) {
    if (!'imsxu'.includes(flag)) throw new CommandError(51108, `invalid flag in regex options: ${flag}`)
  }
  let source = pattern.slice(inline?.[0].length ?? 0)
  if (flags.has('x')) source = withoutComments(source)
  source = source.replace(/\\A/g, '^').replace(/\\[zZ]/g, '$').replace(/\(\?P</g, '(?<')
  return build(source, [...flags].filter(flag => 'ims'.includes(flag)).join(''))
}

function build (source: string, flags: string): RegExp {
  try {
    return new RegExp(source, `${flags}u`)
  } catch {
    // PCRE allows escapes that JavaScript refuses in Unicode mode
  }
  try {
    return new RegExp(source, flags)
  } catch (error) {
    throw new CommandError(51091, `Regular expression is invalid: ${error instanceof Error ? error.message : ''}`)
  }
}

function withoutComments (source: string): string {
  return source.replace(/\\[\s\S]|\[(?:\\[\s\S]|[^\]\\])*\]|\s+|#[^\n]*/g, token => /^[\s#]/.test(token) ? '' : token)
}

/** The literal text every match begins with, for a case-sensitive pattern anchored at the start; else undefined. */
export function literalPrefix ({ pattern, options }: BSONRegExp): { prefix: string, exact: boolean } | undefined {
  if (options !== '' || !pattern.startsWith('^') || pattern.includes('|')) return undefined
  const literal = /^(?:[^\\.^$*+?()[\]{}|]|\\[^a-zA-Z0-9])*/.exec(pattern.slice(1))?.[0] ?? ''
  const rest = pattern.slice(1 + literal.length)
  const kept = /^[*?{]/.test(rest) ? literal.replace(/(?:\\.|[\s\S])$/u, '') : literal
  return kept === '' ? undefined : { prefix: kept.replace(/\\(.)/gsu, '$1'), exact: rest === '' }
}
