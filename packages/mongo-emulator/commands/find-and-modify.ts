import { filterOf } from '../match-parse.js'
import { queryFor } from '../queries.js'
import { retryableWriteOf } from '../sessions.js'
import { deleteMatching, updateMatching } from '../statements.js'
import { parseUpdate } from '../update/parse.js'
import { toDoc, type Doc, type Value } from '../values.js'
import { flagField } from './fields.js'
import type { Command, CommandTable, Request, Services } from './types.js'
import { locateSource } from './write.js'

/** `findAndModify`: removes one document, or updates it, and answers with it as it was before or is after. */
const findAndModify: Command = {
  fields: ['query', 'remove', 'update', 'new', 'upsert'],
  writes: true,
  run: (request, services) => {
    const retryable = retryableWriteOf(request.body)
    const done = retryable === undefined ? new Map<string, Value>() : services.sessions.done(retryable)
    const before = done.get('0')
    if (before instanceof Map) return { ...Object.fromEntries(before), retriedStmtId: 0 }
    const reply = modify(request, services)
    if (retryable !== undefined) services.sessions.record(retryable, new Map([['0', reply]]))
    return Object.fromEntries(reply)
  }
}

function modify (request: Request, services: Services): Doc {
  if (flagField(request, 'remove')) return remove(request, services)
  const upsert = flagField(request, 'upsert')
  const query = queryFor(filterOf(request.body.get('query') ?? undefined, 'findAndModify.query'))
  const update = parseUpdate(request.body.get('update'), services.now())
  const source = locateSource(request, services, upsert)
  if (source === undefined) return toDoc({ lastErrorObject: { n: 0, updatedExisting: false }, value: null })
  const { matched, upserted, before, after } = updateMatching(source, query, update, { multi: false, upsert })
  return toDoc({
    lastErrorObject: {
      n: upserted === undefined ? matched : 1,
      updatedExisting: matched > 0,
      ...(upserted === undefined ? {} : { upserted })
    },
    value: (flagField(request, 'new') ? after : before) ?? null
  })
}

function remove (request: Request, services: Services): Doc {
  const source = locateSource(request, services, false)
  const query = queryFor(filterOf(request.body.get('query') ?? undefined, 'findAndModify.query'))
  const { deleted, last } = source === undefined ? { deleted: 0 } : deleteMatching(source, query, false)
  return toDoc({ lastErrorObject: { n: deleted }, value: last ?? null })
}

export const findAndModifyCommands: CommandTable = { findAndModify }
