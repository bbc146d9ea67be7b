import { S3Error } from './errors.js'

export interface SizeRange { min: number, max: number }

const UNCOVERED = /^(x-amz-signature|awsaccesskeyid|signature|policy|file|x-ignore-.*)$/

/**
 * Checks a form against its policy (S3 API reference, "POST policy"). Every condition must be met. Each field must be
 * named by a condition, except the signature, the policy and `x-ignore-*`. Returns what `content-length-range` allows.
 * Throws AccessDenied and InvalidPolicyDocument.
 */
export function checkPolicy (encoded: string, fields: ReadonlyMap<string, string>, bucket: string, now: Date):
  | SizeRange
  | undefined {
  const { expiration, conditions } = parsePolicyDocument(encoded)
  if (now.getTime() > expiration) throw denied('Policy expired.')
  const values = new Map(fields).set('bucket', bucket)
  const covered = new Set<string>()
  let range: SizeRange | undefined
  for (const condition of conditions) {
    if ('min' in condition) {
      range = { min: Math.max(condition.min, range?.min ?? 0), max: Math.min(condition.max, range?.max ?? Infinity) }
      continue
    }
    covered.add(condition.field)
    if (!holds(condition, values.get(condition.field))) {
      throw denied(`Policy Condition failed: ["${condition.operator}", "$${condition.field}", "${condition.value}"]`)
    }
  }
  const extra = [...fields.keys()].filter(name => name !== 'bucket' && !UNCOVERED.test(name) && !covered.has(name))
  if (extra.length > 0) throw denied(`Extra input fields: ${extra.join(', ')}`)
  return range
}

interface Match { operator: 'eq' | 'starts-with', field: string, value: string }

function parsePolicyDocument (encoded: string): { expiration: number, conditions: (Match | SizeRange)[] } {
  let document: unknown
  try {
    document = JSON.parse(Buffer.from(encoded, 'base64').toString())
  } catch {
    throw invalid('Invalid JSON.')
  }
  const { expiration, conditions } = typeof document === 'object' && document !== null
    ? document as Record<string, unknown>
    : {}
  const time = typeof expiration === 'string' && /^\d{4}-\d\d-\d\dT[\d:.]+Z$/.test(expiration)
    ? Date.parse(expiration)
    : NaN
  if (Number.isNaN(time)) throw invalid('Policy missing expiration, or it is no ISO 8601 date.')
  if (!Array.isArray(conditions)) throw invalid('Policy missing conditions.')
  return { expiration: time, conditions: conditions.flatMap(parseCondition) }
}

function parseCondition (condition: unknown): (Match | SizeRange)[] {
  if (!Array.isArray(condition)) {
    if (typeof condition !== 'object' || condition === null) throw invalid('Invalid condition.')
    if (Object.keys(condition).length === 0) throw invalid('Empty condition.')
    return Object.entries(condition).map(([field, value]) => match('eq', field, value))
  }
  const [operator, first, second]: unknown[] = condition
  const name = typeof operator === 'string' ? operator.toLowerCase() : ''
  if (condition.length !== 3) throw invalid('Conditions have three elements.')
  if (name === 'content-length-range') {
    const [min, max] = [Number(first), Number(second)]
    if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max) || min < 0 || max < min) {
      throw invalid('Invalid content-length-range.')
    }
    return [{ min, max }]
  }
  if ((name !== 'eq' && name !== 'starts-with') || typeof first !== 'string' || !first.startsWith('$')) {
    throw invalid('Unknown condition.')
  }
  return [match(name, first.slice(1), second)]
}

function match (operator: Match['operator'], field: string, value: unknown): Match {
  if (typeof value !== 'string') throw invalid('Condition values are strings.')
  return { operator, field: field.toLowerCase(), value }
}

function holds ({ operator, field, value }: Match, given: string | undefined): boolean {
  if (given === undefined) return false
  if (operator === 'eq') return given === value
  const items = field === 'content-type' ? given.split(',').map(item => item.trim()) : [given]
  return items.every(item => item.startsWith(value))
}

function denied (reason: string): S3Error {
  return new S3Error('AccessDenied', `Invalid according to Policy: ${reason}`)
}

function invalid (reason: string): S3Error {
  return new S3Error('InvalidPolicyDocument', `Invalid Policy: ${reason}`)
}
