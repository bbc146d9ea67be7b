import { S3Error } from './errors.js'

export interface SizeRange { min: number, max: number }

interface Match { field: string, value: string }

/**
 * Checks a form against its policy (S3 API reference, "POST policy"). Every condition must be met. Each field must be
 * named by a condition, except the signature and the policy. Returns what `content-length-range` allows. Throws
 * AccessDenied, InvalidPolicyDocument, and NotImplemented for other conditions than equality and that range.
 */
export function checkPolicy (encoded: string, fields: ReadonlyMap<string, string>, bucket: string, now: Date):
  | SizeRange
  | undefined {
  const { expiration, conditions } = parsePolicyDocument(encoded)
  if (now.getTime() > expiration) throw denied('Policy expired.')
  const values = new Map(fields).set('bucket', bucket)
  const covered = new Set(['bucket', 'policy', 'x-amz-signature'])
  let range: SizeRange | undefined
  for (const condition of conditions) {
    if ('min' in condition) {
      range = { min: Math.max(condition.min, range?.min ?? 0), max: Math.min(condition.max, range?.max ?? Infinity) }
      continue
    }
    const { field, value } = condition
    covered.add(field)
    if (values.get(field) !== value) throw denied(`Policy Condition failed: ["eq", "$${field}", "${value}"]`)
  }
  const extra = [...fields.keys()].filter(name => !covered.has(name))
  if (extra.length > 0) throw denied(`Extra input fields: ${extra.join(', ')}`)
  return range
}

function parsePolicyDocument (encoded: string): { expiration: number, conditions: (Match | SizeRange)[] } {
  let document: unknown
  try {
    document = JSON.parse(Buffer.from(encoded, 'base64').toString())
  } catch {
    throw invalid('Invalid JSON.')
  }
  const { expiration, conditions } = Object(document) as Record<string, unknown>
  const time = Date.parse(String(expiration))
  if (Number.isNaN(time)) throw invalid('Policy missing expiration, or it is no ISO 8601 date.')
  if (!Array.isArray(conditions)) throw invalid('Policy missing conditions.')
  return { expiration: time, conditions: conditions.flatMap(parseCondition) }
}

function parseCondition (condition: unknown): (Match | SizeRange)[] {
  if (!Array.isArray(condition)) {
    const entries = Object.entries(Object(condition))
    if (entries.length === 0) throw invalid('Empty condition.')
    return entries.map(([field, value]) => ({ field: field.toLowerCase(), value: String(value) }))
  }
  const [operator, min, max]: unknown[] = condition
  if (operator !== 'content-length-range') {
    throw new S3Error('NotImplemented', `The policy condition ${String(operator)} is not implemented`)
  }
  if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max) || Number(min) < 0 || Number(max) < Number(min)) {
    throw invalid('Invalid content-length-range.')
  }
  return [{ min: Number(min), max: Number(max) }]
}

function denied (reason: string): S3Error {
  return new S3Error('AccessDenied', `Invalid according to Policy: ${reason}`)
}

function invalid (reason: string): S3Error {
  return new S3Error('InvalidPolicyDocument', `Invalid Policy: ${reason}`)
}
