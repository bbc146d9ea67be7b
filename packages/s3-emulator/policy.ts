import { S3Error } from './errors.js'

interface Statement {
  effect: 'Allow' | 'Deny'
  actions: string[]
  resources: string[]
  isListed: boolean
  everyone: boolean
}

const STATEMENT_FIELDS = ['Sid', 'Effect', 'Principal', 'Action', 'Resource', 'NotResource']

/**
 * Makes the library public, and objects without a folder, as the replaced system wrote them. Nothing else is public.
 */
export function publicReadPolicy (bucket: string): string {
  const everybody = { Effect: 'Allow', Principal: '*', Action: 's3:GetObject' }
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      { Sid: 'PublicLibrary', ...everybody, Resource: `arn:aws:s3:::${bucket}/library/*` },
      { Sid: 'PublicRoot', ...everybody, NotResource: `arn:aws:s3:::${bucket}/*/*` }
    ]
  })
}

/** The policy that earlier versions set: everything in the bucket was public. */
export function formerPublicReadPolicy (bucket: string): string {
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Sid: 'PublicRead',
        Effect: 'Allow',
        Principal: '*',
        Action: 's3:GetObject',
        Resource: `arn:aws:s3:::${bucket}/*`
      }
    ]
  })
}

/**
 * Reads a bucket policy (IAM JSON policy reference). Throws MalformedPolicy. Throws NotImplemented for elements that
 * are not evaluated here, so that no ignored condition grants anything.
 */
export function parsePolicy (text: string, bucket: string): Statement[] {
  const document = asRecord(parseJson(text))
  if (document === undefined) throw new S3Error('MalformedPolicy')
  const statements = listOf(document.Statement).map(item => parseStatement(item, bucket))
  if (statements.length === 0) throw new S3Error('MalformedPolicy', 'Could not parse the policy: Statement is empty!')
  return statements
}

/** An explicit denial wins over a permission. The owner needs no permission. */
export function isAllowed (
  policy: string | undefined,
  bucket: string,
  request: { principal: 'owner' | 'anonymous', action: string, resource: string }
): boolean {
  const applicable = policy === undefined
    ? []
    : parsePolicy(policy, bucket).filter(statement => statement.everyone &&
      statement.actions.some(pattern => matches(pattern.toLowerCase(), request.action.toLowerCase())) &&
      statement.resources.some(pattern => matches(pattern, request.resource)) === statement.isListed)
  if (applicable.some(statement => statement.effect === 'Deny')) return false
  return request.principal === 'owner' || applicable.length > 0
}

function parseStatement (item: unknown, bucket: string): Statement {
  const statement = asRecord(item)
  if (statement === undefined) throw new S3Error('MalformedPolicy')
  const unknown = Object.keys(statement).find(name => !STATEMENT_FIELDS.includes(name))
  if (unknown !== undefined) throw new S3Error('NotImplemented', `Policy element ${unknown} is not implemented`)
  const effect = statement.Effect
  if (effect !== 'Allow' && effect !== 'Deny') throw new S3Error('MalformedPolicy', `Invalid effect: ${String(effect)}`)
  const actions = texts(statement.Action, 'Action')
  if (actions.some(action => !/^(\*|s3:[\w*?]+)$/i.test(action))) {
    throw new S3Error('MalformedPolicy', 'Policy has invalid action')
  }
  const isListed = statement.NotResource === undefined
  if (!isListed && statement.Resource !== undefined) {
    throw new S3Error('MalformedPolicy', 'A statement has Resource or NotResource, not both')
  }
  const resources = texts(isListed ? statement.Resource : statement.NotResource, 'Resource')
  const arn = `arn:aws:s3:::${bucket}`
  if (resources.some(resource => resource !== arn && !resource.startsWith(`${arn}/`) && resource !== `${arn}*`)) {
    throw new S3Error('MalformedPolicy', 'Policy has invalid resource')
  }
  return { effect, actions, resources, isListed, everyone: principals(statement.Principal).includes('*') }
}

function principals (principal: unknown): string[] {
  return texts(typeof principal === 'string' ? principal : asRecord(principal)?.AWS, 'Principal')
}

function texts (value: unknown, name: string): string[] {
  const list = listOf(value)
  const strings = list.filter(item => typeof item === 'string')
  if (strings.length === 0 || strings.length !== list.length) {
    throw new S3Error('MalformedPolicy', `Missing required field ${name}`)
  }
  return strings
}

function listOf (value: unknown): unknown[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value]
}

function parseJson (text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new S3Error('MalformedPolicy')
  }
}

function asRecord (value: unknown): Record<string, unknown> | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined
}

/** `*` is any text, `?` any character. The time is linear in the text for each star. */
function matches (pattern: string, text: string): boolean {
  let [p, t, star, mark] = [0, 0, -1, 0]
  while (t < text.length) {
    if (pattern[p] === '*') [star, mark] = [p++, t]
    else if (pattern[p] === '?' ||
      pattern[p] === text[t]) { p++; t++ } else if (star !== -1) [p, t] = [star + 1, ++mark]
    else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}
