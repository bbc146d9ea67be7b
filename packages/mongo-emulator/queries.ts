import { encode } from './encode.js'
import { count, run, type Examined, type Found, type Source } from './execute.js'
import type { Environment } from './expressions/types.js'
import type { Filter } from './match.js'
import { plan, type Plan } from './planner.js'
import { compileProjection } from './projection.js'
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
  environment: Environment
}

export const planQuery = (source: Source, { filter, sort, hint }: Pick<Query, 'filter' | 'sort' | 'hint'>): Plan =>
  plan(source.storage, source.collection, filter, sort, hint)

/** The documents a query finds, after skip and limit, before projection. */
export function * findRecords (
  source: Source,
  query: Query,
  examined: Examined,
  chosen = planQuery(source, query)
): Generator<Found> {
  let index = 0
  if (query.limit === 0) return
  for (const found of run(source, chosen, query.filter, query.sort, query.skip + query.limit, examined)) {
    if (index >= query.skip) yield found
    index++
    if (index >= query.skip + query.limit) return
  }
}

/** The encoded results of a query; without a projection they are the stored bytes. */
export function * findEncoded (source: Source, query: Query, examined: Examined): Generator<Buffer> {
  const project = query.projection === undefined || query.projection.size === 0
    ? undefined
    : compileProjection(query.projection, query.environment, true)
  for (const { raw, doc, details } of findRecords(source, query, examined)) {
    yield project === undefined ? raw : encode(project(doc, details))
  }
}

export function countMatching (source: Source, query: Query, examined: Examined): number {
  const total = count(
    source,
    planQuery(source, { ...query, sort: [] }),
    query.filter,
    query.skip + query.limit,
    examined
  )
  return Math.min(Math.max(0, total - query.skip), query.limit)
}
