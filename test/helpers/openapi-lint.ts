interface Schema {
  $ref?: string
  type?: string | string[]
  format?: string
  enum?: unknown[]
  properties?: Record<string, Schema>
  required?: string[]
  additionalProperties?: boolean | Schema
  items?: Schema
  default?: unknown
  [keyword: string]: unknown
}
interface Content { schema?: Schema }
interface Parameter { name: string, in: string, required?: boolean, schema: Schema }
interface Operation {
  operationId?: string
  tags?: string[]
  parameters?: Parameter[]
  requestBody?: { content: Record<string, Content> }
  responses: Record<string, { headers?: Record<string, { schema?: Schema }>, content?: Record<string, Content> }>
}
export interface LintedDocument {
  tags: Array<{ name: string }>
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Schema> }
}

/** Keywords that common generators ignore, refuse, or turn into types that reject good answers. */
const UNREADABLE = [
  'allOf',
  'anyOf',
  'const',
  'contains',
  'dependentRequired',
  'dependentSchemas',
  'discriminator',
  'else',
  'if',
  'not',
  'nullable',
  'oneOf',
  'patternProperties', 'prefixItems', 'propertyNames', 'then', 'unevaluatedItems', 'unevaluatedProperties'
]
const SCALARS = ['string', 'integer', 'number', 'boolean']
/** Words that cannot be a method name in one of the usual languages. */
const RESERVED = [
  'await', 'catch', 'class', 'default', 'delete', 'export', 'for', 'function', 'import', 'is', 'new', 'package',
  'return', 'switch', 'this', 'throw', 'type', 'yield'
]

/**
 * Finds the places of an OpenAPI 3.1 document that common client generators read wrongly: one sentence for each.
 * Requests have plain types. Answers are open, so that a new member or value breaks no client.
 */
export function lintOpenApi ({ tags, paths, components }: LintedDocument): string[] {
  const faults: string[] = []
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ at: `${method.toUpperCase()} ${path}`, operation })))
  for (const { at, operation } of operations) lintOperation(at, operation)
  lintNames('operationId', operations.map(({ operation }) => operation.operationId ?? ''))
  lintNames('schema', Object.keys(components.schemas))
  for (const [name, schema] of Object.entries(components.schemas)) {
    if (!/^[A-Z][A-Za-z0-9]+$/.test(name)) faults.push(`${name}: is no class name`)
    if (schema.type !== 'object') faults.push(`${name}: is no object`)
  }
  return [...new Set(faults)]

  function lintOperation (
    at: string,
    { operationId = '', tags: own = [], parameters = [], requestBody, responses }: Operation
  ) {
    if (!/^[a-z][a-zA-Z]{2,39}$/.test(operationId) || RESERVED.includes(operationId)) {
      faults.push(`${at}: operationId is no method name`)
    }
    if (own.length !== 1 || !tags.some(({ name }) => name === own[0])) faults.push(`${at}: has not one known tag`)
    for (const { name, in: place, required, schema } of parameters) {
      if (schema.type === undefined || !SCALARS.includes(String(schema.type))) {
        faults.push(`${at}: the parameter ${name} is no scalar`)
      }
      if (required && 'default' in schema) faults.push(`${at}: the parameter ${name} has a default and is required`)
      if (place === 'header' && /^(accept|authorization|content-type)$/i.test(name)) {
        faults.push(`${at}: the parameter ${name} is ignored in headers`)
      }
      lintSchema(`${at} ${name}`, schema, 'request')
    }
    for (const [type, { schema }] of Object.entries(requestBody?.content ?? {})) {
      lintBody(`${at} ${type}`, schema, 'request')
    }
    for (const [status, { headers = {}, content = {} }] of Object.entries(responses)) {
      for (const [name, { schema }] of Object.entries(headers)) {
        lintSchema(`${at} ${status} ${name}`, schema ?? {}, 'answer')
      }
      for (const [type, { schema }] of Object.entries(content)) lintBody(`${at} ${status} ${type}`, schema, 'answer')
    }
  }

  function lintBody (at: string, schema: Schema | undefined, role: 'request' | 'answer') {
    if (!schema?.$ref && schema?.type !== 'string') faults.push(`${at}: the body is no named schema`)
    lintSchema(at, schema ?? {}, role)
  }

  function lintSchema (at: string, schema: Schema, role: 'request' | 'answer', seen: string[] = []): void {
    const name = schema.$ref?.split('/').at(-1)
    if (name !== undefined) {
      const siblings = Object.keys(schema).filter(keyword => keyword !== '$ref' && keyword !== 'description')
      if (siblings.length > 0) faults.push(`${at}: has ${siblings.join(', ')} beside $ref`)
      if (!components.schemas[name]) faults.push(`${at}: ${name} is missing`)
      else if (!seen.includes(name)) lintObject(name, components.schemas[name], role, [...seen, name])
      return
    }
    lintKeywords(at, schema, role)
    if (schema.properties) faults.push(`${at}: is an unnamed object`)
    if (schema.type === 'object' && !schema.properties) lintMap(at, schema, role, seen)
    if (schema.type === 'array') lintSchema(`${at}[]`, schema.items ?? {}, role, seen)
  }

  function lintObject (at: string, schema: Schema, role: 'request' | 'answer', seen: string[]): void {
    lintKeywords(at, schema, role)
    if (!schema.properties) faults.push(`${at}: has no properties`)
    if (role === 'answer' && schema.additionalProperties === false) faults.push(`${at}: is closed`)
    for (const name of schema.required ?? []) {
      if (!schema.properties?.[name]) faults.push(`${at}: ${name} is required and missing`)
    }
    lintNames(`member of ${at}`, Object.keys(schema.properties ?? {}))
    for (const [name, member] of Object.entries(schema.properties ?? {})) {
      lintSchema(`${at}.${name}`, member, role, seen)
    }
  }

  function lintMap (at: string, { additionalProperties }: Schema, role: 'request' | 'answer', seen: string[]): void {
    if (typeof additionalProperties !== 'object') faults.push(`${at}: is an object of anything`)
    else lintSchema(`${at}{}`, additionalProperties, role, seen)
  }

  function lintKeywords (
    at: string,
    { type, format, enum: values, ...rest }: Schema,
    role: 'request' | 'answer'
  ): void {
    for (const keyword of UNREADABLE) if (keyword in rest) faults.push(`${at}: has ${keyword}`)
    const nullable = Array.isArray(type) && type.join() === 'string,null'
    if (type === undefined) faults.push(`${at}: has no type`)
    else if (Array.isArray(type) && !nullable) faults.push(`${at}: is a union of ${type.join(' and ')}`)
    else if (nullable && role === 'request') faults.push(`${at}: is null in a request`)
    else if (!Array.isArray(type) && ![...SCALARS, 'array', 'object'].includes(type)) {
      faults.push(`${at}: is of type ${type}`)
    }
    if (values && type !== 'string') faults.push(`${at}: has an enum that is no string`)
    if (values && role === 'answer') faults.push(`${at}: has an enum in an answer`)
    if (format === 'uri' && role === 'answer') faults.push(`${at}: is a URI, which old rows may fail to be`)
  }

  /** Generators write names in their language's own way: `user_id`, `userId` and `UserId` are one name. */
  function lintNames (kind: string, names: string[]): void {
    const plain = names.map(name => name.replace(/[^A-Za-z0-9]/g, '').toLowerCase())
    for (const [index, name] of plain.entries()) {
      if (plain.indexOf(name) !== index) faults.push(`${kind} ${names[index]}: is there twice`)
    }
  }
}
