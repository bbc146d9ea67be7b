import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import t from 'tap'
import { parse } from 'yaml'
import { root } from './helpers/paths.js'
import { startService } from './helpers/service.js'
import { lintOpenApi, type LintedDocument } from './helpers/openapi-lint.js'
import { openApiCheck, type OpenApiDocument } from './helpers/openapi-check.js'

interface Operation {
  description?: string
  parameters?: Array<{ name: string, example?: unknown, schema: object }>
  operationId?: string
  tags?: string[]
  summary?: string
  security?: object[]
  requestBody?: { content: Record<string, { schema: { $ref?: string } }> }
  responses: Record<string, {
    description?: string
    content?: Record<string, { schema: { $ref?: string }, examples?: Record<string, { value: unknown }> }>
    headers?: object
  }>
}
type Served = OpenApiDocument & {
  openapi: string
  info: { version: string }
  tags: Array<{ name: string }>
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, { examples?: unknown[] }>, securitySchemes: object }
}

t.test('the OpenAPI document', async t => {
  const service = await startService(t)
  const response = await fetch(`${service.url}/openapi.json`)
  const served = await response.json() as Served
  const operations = Object.entries(served.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({ name: `${method.toUpperCase()} ${path}`, operation })))

  t.test('GET /openapi.json serves the committed document, and /openapi.yaml the same as YAML', async t => {
    t.equal(response.headers.get('content-type'), 'application/json; charset=utf-8')
    t.same(
      served,
      JSON.parse(await readFile(join(root, 'openapi.json'), 'utf8')),
      'run `npm run openapi` and commit the file'
    )
    const yaml = await fetch(`${service.url}/openapi.yaml`)
    t.match(yaml.headers.get('content-type'), 'application/yaml')
    t.same(parse(await yaml.text()), served)
  })

  t.test(
    'every operation has an id, tags, a summary, security, all its statuses, named schemas and examples',
    async t => {
      t.match(served.openapi, /^3\.1\./)
      t.same(operations.map(({ name }) => name).sort(), [
        'DELETE /auth/sessions/{id}', 'DELETE /library/{id}', 'DELETE /users/me',
        'DELETE /users/me/blocks/{id}',
        'GET /.well-known/jwks.json',
        'GET /auth/sessions',
        'GET /health/live',
        'GET /health/ready',
        'GET /library',
        'GET /library/reports',
        'GET /library/{id}',
        'GET /metrics',
        'GET /users',
        'GET /users/me',
        'GET /users/me/blocks',
        'GET /users/me/export',
        'GET /users/{id}',
        'PATCH /library/{id}', 'PATCH /users/me', 'PATCH /users/{id}',
        'POST /auth/logout',
        'POST /auth/refresh',
        'POST /auth/request-otp',
        'POST /auth/verify-otp',
        'POST /library/upload',
        'POST /library/uploads',
        'POST /library/uploads/{id}/complete',
        'POST /library/{id}/reports',
        'POST /library/{id}/review',
        'POST /users',
        'POST /users/me/number',
        'POST /users/me/number/verify',
        'POST /webhooks/twilio/status',
        'PUT /users/me/blocks/{id}'
      ])
      t.equal(new Set(operations.map(({ operation }) => operation.operationId)).size, operations.length)
      const tags = served.tags.map(({ name }) => name)
      for (const { name, operation } of operations) {
        t.match(operation, { operationId: /^[a-z][A-Za-z]+$/, summary: String, security: Array }, name)
        t.ok(operation.tags?.length && operation.tags.every(tag => tags.includes(tag)), `${name} has known tags`)
        const open = /-otp|refresh|health|metrics|well-known|webhooks/.test(name)
        t.equal(operation.security?.length, open ? 0 : 1, `${name} says whether it wants a token`)
        t.equal('401' in operation.responses, !open || /refresh|metrics/.test(name), `${name} answers 401`)
        for (const status of ['400', '414', '431', '500', '503']) t.ok(status in operation.responses, `${name} ${status}`)
        for (const status of operation.requestBody ? ['413', '415'] : []) {
          t.ok(status in operation.responses, `${name} ${status}`)
        }
        for (const [status, { description, content = {} }] of Object.entries(operation.responses)) {
          t.ok(description && description !== 'Default Response', `${name} ${status} is described`)
          for (const [type, { schema, examples }] of Object.entries(content)) {
            if (type === 'application/json') t.ok(schema.$ref, `${name} ${status} has a named schema`)
            t.ok(status < '300' || examples, `${name} ${status} has an example`)
          }
        }
      }
      for (const [name, schema] of Object.entries(served.components.schemas)) {
        t.ok(schema.examples?.length, `${name} has an example`)
      }
    }
  )

  t.test('an operation answers 401 without a token, unless the document says that it wants none', async t => {
    for (const { name, operation } of operations) {
      const [method, path] = name.split(' ') as [string, string]
      const { status, body } = await service.call(method, path.replace(/\{\w+\}/g, '0123456789abcdef01234567'))
      const isRefused = status === 401 && body.error === 'Missing access token'
      t.equal(isRefused, operation.security!.length > 0, `${name} without a token is ${status}`)
    }
  })

  t.test('the document holds nothing that common client generators read wrongly', async t => {
    t.same(lintOpenApi(served as unknown as LintedDocument), [])
  })

  t.test('each answer names the headers that it carries', async t => {
    t.equal(
      served.info.version,
      JSON.parse(await readFile(join(root, 'package.json'), 'utf8')).version,
      'and the version is the package\'s'
    )
    const upload = served.paths['/library/upload']!.post!
    for (const limit of ['10485760 bytes', '16,384 pixels', '1,000 frames', '255 characters', '20 parts']) {
      t.ok(upload.description?.includes(limit), limit)
    }
    for (const { name, operation } of operations) {
      for (const [status, { headers = {} }] of Object.entries(operation.responses)) {
        t.hasProp(headers, 'x-request-id', `${name} ${status}`)
        if (status === '429' || status === '503') t.hasProp(headers, 'Retry-After', `${name} ${status}`)
        if (status === '401') t.hasProp(headers, 'WWW-Authenticate', name)
        if (status === '304') {
          t.ok('ETag' in headers && 'ETag' in (operation.responses[200]!.headers ?? {}), `${name} has an ETag`)
        }
      }
    }
  })

  t.test('every example matches its schema', async t => {
    const ajv = new Ajv2020({ strict: false })
    addFormats.default(ajv)
    ajv.addSchema({ $id: 'doc', ...served })
    const check = (name: string, pointer: string, example: unknown) => {
      const validate = ajv.compile({ $ref: `doc#${pointer}` })
      t.ok(validate(example), name, { example, errors: validate.errors })
    }
    const escaped = (text: string) => text.replaceAll('~', '~0').replaceAll('/', '~1')
    const members = (node: unknown, pointer: string): void => {
      if (typeof node !== 'object' || node === null) return
      if ('examples' in node && Array.isArray(node.examples)) {
        for (const example of node.examples) check(pointer, pointer, example)
      }
      for (const [key, value] of Object.entries(node)) {
        if (key !== 'examples' && key !== 'example') members(value, `${pointer}/${escaped(key)}`)
      }
    }
    members(served.components.schemas, '/components/schemas')
    for (const [path, item] of Object.entries(served.paths)) {
      for (const [method, { responses, parameters = [] }] of Object.entries(item)) {
        const at = `/paths/${escaped(path)}/${method}`
        for (const [index, { example }] of parameters.entries()) {
          if (example !== undefined) check(`${at} ${index}`, `${at}/parameters/${index}/schema`, example)
        }
        for (const [status, { content = {} }] of Object.entries(responses)) {
          for (const [type, { examples = {} }] of Object.entries(content)) {
            for (const { value } of Object.values(examples)) {
              check(`${method} ${path} ${status}`, `${at}/responses/${status}/content/${escaped(type)}/schema`, value)
            }
          }
        }
      }
    }
  })

  t.test('refusals of different kinds have examples of their own, and no key is given away', async t => {
    const sentences = (path: string, method: string, status: number) => Object
      .values(served.paths[path]![method]!.responses[status]!.content!['application/json']!.examples!)
      .map(({ value }) => (value as { error: string }).error)
    t.same(sentences('/auth/request-otp', 'post', 429), ['Too many codes requested'])
    t.same(sentences('/auth/verify-otp', 'post', 429), ['Too many wrong codes'])
    t.same(sentences('/users', 'get', 403), ['Only an admin may do that'])
    t.same(sentences('/users', 'post', 403), ['Phone number is not your own'])
    t.same(sentences('/library/{id}', 'delete', 403), ['Library item is not your own'])
    t.same(sentences('/webhooks/twilio/status', 'post', 403), ['Signature does not match'])
    t.equal(sentences('/library/upload', 'post', 413)[0], 'File is larger than 10485760 bytes')
    t.same(sentences('/users', 'post', 413), ['Request body is larger than 16384 bytes'])
    for (const { name, operation } of operations) {
      const key = operation.parameters?.find(({ name }) => name === 'Idempotency-Key')
      if (key) {
        t.notOk(
          'example' in key || 'examples' in key || 'examples' in key.schema,
          `${name}: pages prefill an example, and the second request would be the first again`
        )
      }
    }
  })

  t.test('an answer that departs from the document is noticed', async t => {
    const check = openApiCheck(served)
    const answer = {
      method: 'GET',
      path: '/library?page=1',
      status: 200,
      contentType: 'application/json; charset=utf-8',
      body: { items: [], page: 1, per_page: 10, total: 0, total_pages: 0, total_exact: true, next_cursor: null }
    }
    t.equal(check(answer), undefined)
    t.match(check({ ...answer, body: { items: [] } }), /required/)
    t.match(check({ ...answer, body: { ...answer.body, extra: 1 } }), /additional/)
    const refused = {
      method: 'POST',
      path: '/auth/verify-otp',
      status: 400,
      contentType: 'application/json',
      body: { errors: {}, error: 'both' }
    }
    t.match(check(refused), /more than 1/)
    t.match(check({ ...refused, status: 200, body: { success: true, message: 'OTP verified' } }), /access_token/)
    t.match(
      check({ ...refused, status: 200, body: { success: false, message: 'Invalid OTP', access_token: 'x' } }),
      /access_token/
    )
    t.match(check({ ...answer, status: 418 }), /not described/)
    t.match(check({ ...answer, contentType: 'text/html' }), /not described/)
    t.match(check({ ...answer, path: '/nowhere' }), /no operation/)
  })

  t.test(
    'GET /docs leads to the folder of its assets by a relative address, so that a proxy may strip a prefix',
    async t => {
      for (const [path, location] of [
        ['/docs', 'docs/'],
        ['/docs?x=1', 'docs/'],
        ['/docs/static/index.html', '../']
      ] as const) {
        const { status, headers } = await fetch(service.url + path, { redirect: 'manual' })
        t.match({ status, location: headers.get('location') }, { status: 302, location }, path)
      }
      t.match(await (await fetch(`${service.url}/docs/`)).text(), /src="\.\/static\/swagger-ui-bundle\.js"/)
    }
  )

  t.test('GET /docs serves a page with its own assets only, under a policy that allows no others', async t => {
    const page = await fetch(`${service.url}/docs`)
    const html = await page.text()
    t.match(page.headers.get('content-security-policy'), /^default-src 'none'; script-src 'self'; style-src 'self';/)
    t.notMatch(page.headers.get('content-security-policy'), /unsafe|https?:|upgrade/)
    const assets = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, asset]) => asset!)
    t.ok(assets.length >= 5)
    for (const asset of assets) {
      t.notMatch(asset, /^https?:|^\/\//)
      const { status, body } = await fetch(new URL(asset, `${service.url}/docs/`))
      t.equal(status, 200, asset)
      await body?.cancel()
    }
    t.notMatch(html, /<script>[^<]|style="|onload=/)
  })
})
