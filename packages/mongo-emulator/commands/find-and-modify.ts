import { CommandError, failedToParse } from '../errors.js'
import type { Environment } from '../expressions/types.js'
import { filterOf } from '../match-parse.js'
import { compileProjection } from '../projection.js'
import type { Query } from '../queries.js'
import { retryableWriteOf } from '../sessions.js'
import { parseSort } from '../sort.js'
import { deleteMatching, updateMatching } from '../statements.js'
import { parseUpdate } from '../update/parse.js'
import { toDoc, type Doc, type Plain, type Value } from '../values.js'
import { checkCollation, docField, environmentOf, flagField } from './fields.js'
import type { Command, CommandTable, Request, Services } from './types.js'
import { locateSource } from './write.js'

/** `findAndModify`: changes one document and answers with it, as it was before or is after. */
const findAndModify: Command = {
  fields: [
    'query', 'sort', 'remove', 'update', 'new', 'fields', 'upsert', 'bypassDocumentValidation', 'collation',
    'arrayFilters', 'hint', 'let', 'stmtId'
  ],
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
  const remove = flagField(request, 'remove')
  const update = request.body.get('update')
  checkRequest(request, remove, update)
  const environment = environmentOf(request, services.now())
  const query = queryOf(request, environment)
  const shape = projector(request, environment)
  const upsert = flagField(request, 'upsert')
  const parsed = remove ? undefined : parseUpdate(update, request.body.get('arrayFilters'), environment)
  const source = locateSource(request, services, upsert)
  if (source === undefined) {
    return toDoc({ lastErrorObject: remove ? { n: 0 } : { n: 0, updatedExisting: false }, value: null })
  }
  if (parsed === undefined) {
    const { deleted, before } = deleteMatching(source, query, false)
    return toDoc({ lastErrorObject: { n: deleted }, value: shape(before) })
  }
  const { matched, upserted, before, after } = updateMatching(source, query, parsed, { multi: false, upsert })
  return toDoc({
    lastErrorObject: {
      n: upserted === undefined ? matched : 1,
      updatedExisting: matched > 0,
      ...(upserted === undefined ? {} : { upserted })
    },
    value: shape(flagField(request, 'new') ? after : before)
  })
}

function checkRequest (request: Request, remove: boolean, update: Value | undefined): void {
  checkCollation(request.body.get('collation'))
  if (remove && update !== undefined) throw failedToParse("Cannot specify both an 'update' and 'remove'=true")
  if (remove && flagField(request, 'upsert')) throw failedToParse("Cannot specify both 'upsert'=true and 'remove'=true")
  if (remove && flagField(request, 'new')) {
    throw failedToParse(
      "Cannot specify both 'new'=true and 'remove'=true; 'remove' always returns the deleted document"
    )
  }
  if (!remove && update === undefined) throw failedToParse("Either an 'update' or 'remove'=true must be specified")
  if (remove && request.body.has('arrayFilters')) {
    throw new CommandError(9, "Cannot specify 'arrayFilters' and 'remove'=true")
  }
}

export function queryOf (request: Request, environment: Environment): Query {
  const sort = docField(request, 'sort')
  return {
    filter: filterOf(request.body.get('query') ?? undefined, 'findAndModify.query', environment),
    sort: sort === undefined ? [] : parseSort(sort),
    skip: 0,
    limit: 1,
    hint: request.body.get('hint'),
    projection: undefined,
    environment
  }
}

function projector (request: Request, environment: Environment): (doc: Doc | undefined) => Plain {
  const fields = docField(request, 'fields')
  const project = fields === undefined || fields.size === 0 ? undefined : compileProjection(fields, environment, true)
  return doc => doc === undefined ? null : project?.(doc, {}) ?? doc
}

export const findAndModifyCommands: CommandTable = { findAndModify, findandmodify: findAndModify }
