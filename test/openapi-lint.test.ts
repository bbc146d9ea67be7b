import t from 'tap'
import { lintOpenApi, type LintedDocument } from './helpers/openapi-lint.js'

const reply = (schema: object) => ({ 200: { content: { 'application/json': { schema } } } })
const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })

/** A document with one operation: `member` is in its answer, `field` in its request. */
const document = ({
  member = { type: 'string' },
  field = { type: 'string' },
  operation = {},
  answer = {},
  responses,
  schemas = {}
}: { member?: object, field?: object, operation?: object, answer?: object, responses?: object, schemas?: object }) => ({
  tags: [{ name: 'users' }],
  paths: {
    '/users': {
      post: {
        operationId: 'createUser',
        tags: ['users'],
        requestBody: { content: { 'application/json': { schema: ref('Question') } } },
        responses: responses ?? reply(ref('Answer')),
        ...operation
      }
    }
  },
  components: {
    schemas: {
      Question: { type: 'object', properties: { field } },
      Answer: { type: 'object', properties: { member }, ...answer },
      ...schemas
    }
  }
}) as unknown as LintedDocument

t.test('a document that every generator reads passes', async t => {
  t.same(lintOpenApi(document({})), [])
  t.same(
    lintOpenApi(document({ member: { type: ['string', 'null'] }, field: { type: 'string', enum: ['a', 'b'] } })),
    []
  )
  t.same(
    lintOpenApi(document({
      member: { type: 'array', items: ref('Part') },
      schemas: {
        Part: { type: 'object', properties: { map: { type: 'object', additionalProperties: { type: 'integer' } } } }
      }
    })),
    []
  )
})

t.test('each thing that common generators read wrongly is named', async t => {
  const cases: Array<[string, Parameters<typeof document>[0], RegExp]> = [
    ['an enum on a boolean', { member: { type: 'boolean', enum: [true] } }, /^Answer.member: has an enum/],
    ['a const', { member: { type: 'string', const: 'Bearer' } }, /^Answer.member: has const/],
    ['an enum in an answer', { member: { type: 'string', enum: ['a'] } }, /^Answer.member: has an enum in an answer/],
    [
      'an enum of numbers in a request',
      { field: { type: 'integer', enum: [1, 2] } },
      /^Question.field: has an enum that is no string/
    ],
    [
      'alternatives of objects',
      { responses: reply({ anyOf: [ref('Answer'), ref('Question')] }) },
      /200 application\/json: has anyOf/
    ],
    [
      'a union of scalars',
      { member: { anyOf: [{ type: 'string' }, { type: 'number' }] } },
      /^Answer.member: has anyOf/
    ],
    ['a nullable object', { member: { oneOf: [ref('Question'), { type: 'null' }] } }, /^Answer.member: has oneOf/],
    [
      'a list of types',
      { member: { type: ['string', 'integer'] } },
      /^Answer.member: is a union of string and integer/
    ],
    ['null in a request', { field: { type: ['string', 'null'] } }, /^Question.field: is null in a request/],
    ['a member without a type', { field: { description: 'anything' } }, /^Question.field: has no type/],
    [
      'an unnamed object',
      { member: { type: 'object', properties: { a: { type: 'string' } } } },
      /^Answer.member: is an unnamed object/
    ],
    [
      'an unnamed object in a list',
      { member: { type: 'array', items: { type: 'object', properties: {} } } },
      /^Answer.member\[\]: is an unnamed object/
    ],
    [
      'an unnamed object in a map',
      { member: { type: 'object', additionalProperties: { type: 'object', properties: {} } } },
      /^Answer.member{}: is an unnamed object/
    ],
    ['an unnamed body', { responses: reply({ type: 'object', properties: {} }) }, /: the body is no named schema/],
    [
      'a list as a body',
      { responses: reply({ type: 'array', items: ref('Answer') }) },
      /: the body is no named schema/
    ],
    ['an object of anything', { member: { type: 'object' } }, /^Answer.member: is an object of anything/],
    ['a closed answer', { answer: { additionalProperties: false } }, /^Answer: is closed/],
    ['a URI in an answer', { member: { type: 'string', format: 'uri' } }, /^Answer.member: is a URI/],
    [
      'a required member that is missing',
      { answer: { required: ['other'] } },
      /^Answer: other is required and missing/
    ],
    ['a missing schema', { responses: reply(ref('Nothing')) }, /: Nothing is missing/],
    ['a missing tag', { operation: { tags: [] } }, /has not one known tag/],
    ['two tags', { operation: { tags: ['users', 'users'] } }, /has not one known tag/],
    ['no operationId', { operation: { operationId: undefined } }, /operationId is no method name/],
    [
      'an operationId that is a word of the language',
      { operation: { operationId: 'delete' } },
      /operationId is no method name/
    ],
    [
      'a required parameter with a default',
      {
        operation: {
          parameters: [{ name: 'page', in: 'query', required: true, schema: { type: 'integer', default: 1 } }]
        }
      },
      /has a default and is required/
    ],
    [
      'a parameter that is a list',
      {
        operation: { parameters: [{ name: 'ids', in: 'query', schema: { type: 'array', items: { type: 'string' } } }] }
      },
      /ids is no scalar/
    ],
    [
      'two schemas of one name',
      { schemas: { ANSWER: { type: 'object', properties: {} } } },
      /^schema ANSWER: is there twice/
    ]
  ]
  for (const [name, parts, fault] of cases) {
    const faults = lintOpenApi(document(parts))
    t.ok(faults.some(text => fault.test(text)), name, { found: faults })
  }
})
