/**
 * The text of a JSON object (RFC 8259) in pieces. A member that is an async iterable becomes an array, and is never
 * whole in memory.
 */
export async function * jsonText (members: Record<string, unknown>): AsyncGenerator<string, void, undefined> {
  let before = '{'
  for (const [name, value] of Object.entries(members)) {
    yield `${before}${JSON.stringify(name)}:`
    if (isAsyncIterable(value)) yield * arrayText(value)
    else yield JSON.stringify(value)
    before = ','
  }
  yield '}'
}

async function * arrayText (elements: AsyncIterable<unknown>): AsyncGenerator<string, void, undefined> {
  let before = '['
  for await (const element of elements) {
    yield before + JSON.stringify(element)
    before = ','
  }
  yield before === '[' ? '[]' : ']'
}

const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> => typeof value === 'object' &&
  value !== null &&
  Symbol.asyncIterator in value
