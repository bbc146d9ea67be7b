import SerializerSelector, { type SerializerFactory } from '@fastify/fast-json-stringify-compiler'

/** There are as many as shapes in `schemas/`. */
const compiled = new Map<string, ReturnType<ReturnType<SerializerFactory>>>()

/**
 * Compiles each shape of answer once for the whole process. Most answers of most routes are `{ error }`, and differ
 * only in what the OpenAPI document says of them. Every scope of every app has the same shared schemas.
 */
export function createSerializerBuilder (): SerializerFactory {
  const build = SerializerSelector()
  return (sharedSchemas, options) => {
    const compile = build(sharedSchemas, options)
    return route => {
      const shape = shapeOf(route.schema)
      const found = compiled.get(shape)
      if (found) return found
      const serializer = compile(route)
      compiled.set(shape, serializer)
      return serializer
    }
  }
}

/** A schema without the members that document it. */
function shapeOf (schema: unknown): string {
  const { description, headers, examples, ...shape } = schema as Record<string, unknown>
  return JSON.stringify(shape)
}
