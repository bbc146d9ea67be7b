import { S3Error } from './errors.js'

/** Lets everybody read the objects that match one of the resources, or, with NotResource, none of them. */
interface Statement { resources: string[], isListed: boolean }

const STATEMENT_FIELDS = ['Sid', 'Effect', 'Principal', 'Action', 'Resource', 'NotResource']

const everybodyReads = (...statements: object[]): string => JSON.stringify({
  Version: '2012-10-17',
  Statement: statements.map(({ Sid, ...resource }: { Sid?: string }) =>
    ({ Sid, Effect: 'Allow', Principal: '*', Action: 's3:GetObject', ...resource }))
})

/**
 * Makes the library public, and objects without a folder, as the replaced system wrote them. Nothing else is public.
 */
export const publicReadPolicy = (bucket: string): string => everybodyReads(
  { Sid: 'PublicLibrary', Resource: `arn:aws:s3:::${bucket}/library/*` },
  { Sid: 'PublicRoot', NotResource: `arn:aws:s3:::${bucket}/*/*` }
)

/** The policy that earlier versions set: everything in the bucket was public. */
export const formerPublicReadPolicy = (bucket: string): string =>
  everybodyReads({ Sid: 'PublicRead', Resource: `arn:aws:s3:::${bucket}/*` })

/**
 * Reads a bucket policy (IAM JSON policy reference) that lets everybody read objects. Throws MalformedPolicy, and
 * NotImplemented for any other permission, so that no ignored condition grants anything.
 */
export function parsePolicy (text: string, bucket: string): Statement[] {
  let document: unknown
  try {
    document = JSON.parse(text)
  } catch {
    throw new S3Error('MalformedPolicy')
  }
  const statements = listOf(Object(document).Statement).map(item => parseStatement(Object(item), bucket))
  if (statements.length === 0) throw new S3Error('MalformedPolicy', 'Could not parse the policy: Statement is empty!')
  return statements
}

export function isPublic (policy: string, bucket: string, key: string): boolean {
  return parsePolicy(policy, bucket).some(({ resources, isListed }) =>
    resources.some(pattern => matches(pattern, `arn:aws:s3:::${bucket}/${key}`)) === isListed)
}

function parseStatement (statement: Record<string, unknown>, bucket: string): Statement {
  const { Effect, Principal, Action, Resource, NotResource } = statement
  const unknown = Object.keys(statement).find(name => !STATEMENT_FIELDS.includes(name))
  if (unknown !== undefined) throw new S3Error('NotImplemented', `Policy element ${unknown} is not implemented`)
  const everybody = listOf(typeof Principal === 'string' ? Principal : Object(Principal).AWS)
  if (Effect !== 'Allow' || everybody.join() !== '*' || listOf(Action).join() !== 's3:GetObject') {
    throw new S3Error('NotImplemented', 'A policy may only allow everybody s3:GetObject')
  }
  if (Resource !== undefined && NotResource !== undefined) {
    throw new S3Error('MalformedPolicy', 'A statement has Resource or NotResource, not both')
  }
  const resources = listOf(Resource ?? NotResource).map(String)
  if (resources.length === 0 || resources.some(resource => !resource.startsWith(`arn:aws:s3:::${bucket}/`))) {
    throw new S3Error('MalformedPolicy', 'Policy has invalid resource')
  }
  return { resources, isListed: Resource !== undefined }
}

function listOf (value: unknown): unknown[] {
  return value === undefined ? [] : [value].flat()
}

/** `*` is any text, `?` any character. */
function matches (pattern: string, text: string): boolean {
  const source = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*').replaceAll('?', '.')
  return new RegExp(`^${source}$`, 's').test(text)
}
