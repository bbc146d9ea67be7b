import { encode } from './encode.js'
import { count, run, type Examined, type Source } from './execute.js'
import type { Filter } from './match.js'
import { plan, type Plan } from './planner.js'
import { compileProjection } from './projection.js'
import type { StoredRecord } from './records.js'
import type { SortField } from './sort.js'
import type { Doc, Value } from './values.js'

/** A query with everything that shapes its result. */
export interface Query {
  filter: Filter
  sort: SortField[]
  skip: number
  limit: number
  hint: Value | undefined
  projection: Doc | undefined
}

/** A query for everything that satisfies a filter. */
export const queryFor = (filter: Filter): Query => ({
  filter,
  sort: [],
  skip: 0,
  limit: Infinity,
  hint: undefined,
  projection: undefined
})

export const planQuery = (source: Source, { filter, sort, hint }: Query): Plan =>
  plan(source.storage, source.collection, filter, sort, hint)

/** The documents a query finds, after skip and limit, before projection. */
export function * findRecords (
  source: Source,
  query: Query,
  examined: Examined,
  chosen = planQuery(source, query)
): Generator<StoredRecord> {
  if (query.limit === 0) return
  let left = query.limit
  for (const found of run(source, chosen, query, examined)) {
    yield found
    if (--left === 0) return
  }
}

/** The encoded results of a query; without a projection they are the stored bytes. */
export function * findEncoded (source: Source, query: Query, examined: Examined): Generator<Buffer> {
  const project = query.projection === undefined ? undefined : compileProjection(query.projection)
  for (const { raw, doc } of findRecords(source, query, examined)) {
    yield project === undefined ? raw : encode(project(doc))
  }
}

export const countMatching = (source: Source, query: Query, examined: Examined): number =>
  Math.min(count(source, planQuery(source, query), query.filter, query.limit, examined), query.limit)
