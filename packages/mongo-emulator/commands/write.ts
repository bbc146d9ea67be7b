import { Int32 } from 'bson'
import { CommandError, failedToParse } from '../errors.js'
import type { Source } from '../execute.js'
import { filterOf } from '../match-parse.js'
import { queryFor } from '../queries.js'
import { retryableWriteOf } from '../sessions.js'
import { deleteMatching, insertDocument, updateMatching } from '../statements.js'
import { parseUpdate } from '../update/parse.js'
import {
  fromInteger,
  isDoc,
  isNumeric,
  isTruthy,
  toDoc,
  toNumber,
  typeName,
  type Doc,
  type Plain,
  type Value
} from '../values.js'
import { checkFields, collectionName, flagField, missingField, requiredArray } from './fields.js'
import type { Command, CommandTable, Reply, Request, Services } from './types.js'

/** Finds the collection to write to. A missing one is made only for a statement that inserts. */
type Locate = (create: boolean) => Source | undefined

type Execute = (statement: Doc, locate: Locate, now: Date) => Doc

interface Outcome { results: Map<number, Doc>, errors: Plain[], retried: number[] }

/**
 * Runs the statements of a write command, when `check` has found all of them well-formed. A failed statement is listed
 * under `writeErrors`, and ends an ordered batch. One that was done before under the same `txnNumber` is not run again:
 * its stored result is the answer.
 */
function runStatements (
  request: Request,
  services: Services,
  field: string,
  check: (statement: Doc) => void,
  execute: Execute
): Outcome {
  const statements = requiredArray(request, field)
  const checked = statements.map((statement, at) => {
    if (!isDoc(statement)) {
      throw new CommandError(
        14,
        `BSON field '${request.name}.${field}.${at}' is the wrong type '${typeName(statement)}', expected type 'object'`
      )
    }
    check(statement)
    return statement
  })
  const now = services.now()
  const retryable = retryableWriteOf(request.body)
  const done = retryable === undefined ? new Map<string, Value>() : services.sessions.done(retryable)
  const locate: Locate = create => locateSource(request, services, create)
  const outcome: Outcome = { results: new Map(), errors: [], retried: [] }
  for (const [at, statement] of checked.entries()) {
    const before = done.get(String(at))
    try {
      const result = isDoc(before) ? before : execute(statement, locate, now)
      if (isDoc(before)) outcome.retried.push(at)
      outcome.results.set(at, result)
      done.set(String(at), result)
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      outcome.errors.push(writeError(at, error))
      if (flagField(request, 'ordered', true)) break
    }
  }
  if (retryable !== undefined && outcome.retried.length < outcome.results.size) {
    services.sessions.record(retryable, done)
  }
  return outcome
}

export function locateSource (request: Request, { catalog, records, storage }: Services, create: boolean):
  | Source
  | undefined {
  const name = collectionName(request)
  const collection = create ? catalog.findOrCreate(request.database, name) : catalog.find(request.database, name)
  return collection === undefined ? undefined : { storage, records, collection }
}

const writeError = (index: number, { code, message, details }: CommandError): Plain =>
  new Map<string, Value>([
    ['index', fromInteger(index)],
    ['code', new Int32(code)],
    ...details ?? [],
    ['errmsg', message]
  ])

const sum = ({ results }: Outcome, field: string): number => [...results.values()].reduce(
  (total, result) => total + Number(result.get(field) ?? 0),
  0
)

const common = ({ errors, retried }: Outcome): Reply => ({
  ...(errors.length === 0 ? {} : { writeErrors: errors }),
  ...(retried.length === 0 ? {} : { retriedStmtIds: retried })
})

const insert: Command = {
  fields: ['documents', 'ordered'],
  writes: true,
  run: (request, services) => {
    const outcome = runStatements(request, services, 'documents', () => {}, (doc, locate) => {
      const source = locate(true)
      if (source !== undefined) insertDocument(source.records, source.collection, doc)
      return new Map([['n', new Int32(1)]])
    })
    return { n: sum(outcome, 'n'), ...common(outcome) }
  }
}

const updateFields = new Set(['q', 'u', 'multi', 'upsert'])

const checkUpdate = (request: Request) => (statement: Doc): void => {
  checkFields(statement, 'update.updates', updateFields)
  for (const field of ['q', 'u']) if (!statement.has(field)) throw missingField(request, `updates.${field}`)
}

const executeUpdate = (request: Request): Execute => (statement, locate, now) => {
  const multi = isTruthy(statement.get('multi'))
  const update = parseUpdate(statement.get('u'), now)
  if (multi && update.kind === 'replacement') {
    throw failedToParse('multi update is not supported for replacement-style update')
  }
  const query = queryFor(filterOf(statement.get('q'), `${request.name}.q`))
  const upsert = isTruthy(statement.get('upsert'))
  const source = locate(upsert)
  if (source === undefined) return toDoc({ n: 0, nModified: 0 })
  const { matched, modified, upserted } = updateMatching(source, query, update, { multi, upsert })
  return toDoc({
    n: upserted === undefined ? matched : 1,
    nModified: modified,
    ...(upserted === undefined ? {} : { upserted })
  })
}

const update: Command = {
  fields: ['updates', 'ordered'],
  writes: true,
  run: (request, services) => {
    const outcome = runStatements(request, services, 'updates', checkUpdate(request), executeUpdate(request))
    const upserted = [...outcome.results].flatMap(([index, result]) =>
      result.has('upserted') ? [{ index, _id: result.get('upserted') }] : [])
    return {
      n: sum(outcome, 'n'),
      nModified: sum(outcome, 'nModified'),
      ...(upserted.length === 0 ? {} : { upserted }),
      ...common(outcome)
    }
  }
}

const deleteFields = new Set(['q', 'limit'])

const limitOf = (statement: Doc): number => {
  const limit = statement.get('limit')
  return isNumeric(limit) ? toNumber(limit) : NaN
}

const checkDelete = (request: Request) => (statement: Doc): void => {
  checkFields(statement, 'delete.deletes', deleteFields)
  for (const field of ['q', 'limit']) if (!statement.has(field)) throw missingField(request, `deletes.${field}`)
  const limit = limitOf(statement)
  if (limit !== 0 && limit !== 1) throw failedToParse(`The limit field in delete objects must be 0 or 1. Got ${limit}`)
}

const executeDelete = (request: Request): Execute => (statement, locate) => {
  const query = queryFor(filterOf(statement.get('q'), `${request.name}.q`))
  const source = locate(false)
  return toDoc({ n: source === undefined ? 0 : deleteMatching(source, query, limitOf(statement) === 0).deleted })
}

const deleteCommand: Command = {
  fields: ['deletes', 'ordered'],
  writes: true,
  run: (request, services) => {
    const outcome = runStatements(request, services, 'deletes', checkDelete(request), executeDelete(request))
    return { n: sum(outcome, 'n'), ...common(outcome) }
  }
}

export const writeCommands: CommandTable = { insert, update, delete: deleteCommand }
