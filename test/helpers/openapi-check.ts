import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'

interface Operation { responses: Record<string, { content?: Record<string, { schema: object }> }> }
export interface OpenApiDocument {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, object> }
}

type Check = (answer: Answer) => string | undefined

/** Checks by their document: nearly all services of a test file have the same one. */
const checks = new Map<string, Check>()

export interface Answer { method: string, path: string, status: number, contentType: string | null, body: unknown }

/**
 * Checks answers against an OpenAPI document: their operation, status, media type and body must be described there. The
 * document allows later members, but an answer of today has no member that is not described. A request that matches no
 * operation must get 404 or 405, and an error. The returned function gives the fault, or undefined.
 */
export function openApiCheck ({ paths, components }: OpenApiDocument): Check {
  const text = JSON.stringify({ paths, components })
  const check = checks.get(text) ?? compile(JSON.parse(text) as OpenApiDocument)
  checks.set(text, check)
  return check
}

function compile (document: OpenApiDocument): Check {
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  addFormats.default(ajv)
  ajv.addSchema({ $id: 'doc', ...strict(document) })
  const compiled = new Map<string, ValidateFunction>()
  const templates = Object
    .keys(document.paths)
    .map(template => ({ template, pattern: new RegExp(`^${template.replace(/\{\w+\}/g, '[^/]+')}$`) }))
    .sort((a, b) => a.template.split('{').length - b.template.split('{').length)

  const validator = (pointer: string) => {
    if (!compiled.has(pointer)) compiled.set(pointer, ajv.compile({ $ref: `doc#${pointer}` }))
    return compiled.get(pointer)!
  }
  const verdict = (pointer: string, body: unknown) => {
    const validate = validator(pointer)
    return validate(body) ? undefined : ajv.errorsText(validate.errors)
  }

  return ({ method, path, status, contentType, body }) => {
    const template = templates.find(({ pattern }) => pattern.test(path.split('?')[0]!))?.template
    const verb = method.toLowerCase() === 'head' ? 'get' : method.toLowerCase()
    const operation = template && document.paths[template]?.[verb]
    if (!operation) {
      return [404, 405, 414, 431, 503].includes(status)
        ? verdict('/components/schemas/ErrorMessage', body)
        : `${status} for no operation`
    }
    const response = operation.responses[status]
    if (!response) return `${status} is not described`
    if (method === 'HEAD' || !response.content) return undefined
    const type = contentType?.split(';')[0] ?? ''
    if (!response.content[type]) return `${type || 'no content type'} is not described for ${status}`
    const escaped = (text: string) => text.replaceAll('~', '~0').replaceAll('/', '~1')
    return verdict(`/paths/${escaped(template)}/${verb}/responses/${status}/content/${escaped(type)}/schema`, body)
  }
}

/** Further rules for the two outcomes that share a schema. */
const OUTCOMES: Record<string, object> = {
  InvalidRequest: { minProperties: 1, maxProperties: 1 },
  OtpResult: outcome(['access_token', 'token_type', 'expires_in'], 'refresh_token'),
  NumberChangeResult: outcome([
    '_id', 'username', 'number', 'created_on', 'admin', 'access_token', 'token_type', 'expires_in'
  ])
}

function outcome (required: string[], ...optional: string[]): object {
  return {
    if: { properties: { success: { const: true } } },
    then: { required },
    else: { properties: Object.fromEntries([...required, ...optional].map(name => [name, false])) }
  }
}

function strict (document: OpenApiDocument): OpenApiDocument {
  const schemas = Object.entries(document.components.schemas).map(([name, schema]) =>
    [name, { additionalProperties: false, ...schema, ...(OUTCOMES[name] && { allOf: [OUTCOMES[name]] }) }])
  return { ...document, components: { ...document.components, schemas: Object.fromEntries(schemas) } }
}
