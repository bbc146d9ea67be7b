import { FieldError } from '../../services/errors.js'

/** The field errors of what `work` refuses; undefined where it refuses nothing. */
export function fieldErrorsOf (work: () => unknown): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    if (error instanceof FieldError) return error.errors
    throw error
  }
}
