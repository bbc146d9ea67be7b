import { BSONRegExp } from 'bson'
import { CommandError } from './errors.js'

/**
 * Compiles a PCRE pattern with MongoDB's options (i, m, s, u) to JavaScript's.
 * Throws CommandError 51091 for a pattern that JavaScript cannot run, 51108 for other options.
 */
export function compileRegex ({ pattern, options }: BSONRegExp): RegExp {
  for (const flag of options) {
    if (!'imsu'.includes(flag)) throw new CommandError(51108, `invalid flag in regex options: ${flag}`)
  }
  try {
    return new RegExp(pattern, options.replace('u', '') + 'u')
  } catch (error) {
    throw new CommandError(51091, `Regular expression is invalid: ${error instanceof Error ? error.message : ''}`)
  }
}
