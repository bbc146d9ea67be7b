import { BSONRegExp } from 'bson'
import { badValue, CommandError } from './errors.js'
import { eqTest, leaf, operators } from './match-operators.js'
import { matches as matchesFilter, type Filter } from './match.js'
import { isDoc, typeName, type Doc, type Value } from './values.js'

const logical: Record<string, 'and' | 'or' | 'nor'> = { $and: 'and', $or: 'or', $nor: 'nor' }

/**
 * Parses a query filter (MongoDB manual, "Query Predicates").
 * Throws BadValue for operators that are unknown, and for malformed operands.
 */
export function parseFilter (filter: Doc): Filter {
  return all([...filter].map(([name, operand]) => name.startsWith('$') ? topLevel(name, operand) : field(name, operand)))
}

const all = (children: Filter[]): Filter => children.length === 1 && children[0] !== undefined
  ? children[0]
  : { kind: 'and', children }

function topLevel (name: string, operand: Value): Filter {
  const kind = Object.hasOwn(logical, name) ? logical[name] : undefined
  if (kind !== undefined) return { kind, children: clauses(name, operand) }
  throw badValue(
    `unknown top level operator: ${name}. If you have a field name that starts with a '$' symbol, consider using $getField or $setField.`
  )
}

function clauses (name: string, operand: Value): Filter[] {
  if (!Array.isArray(operand)) throw badValue(`${name} must be an array`)
  if (operand.length === 0) throw badValue('$and/$or/$nor must be a nonempty array')
  return operand.map(clause => {
    if (!isDoc(clause)) throw badValue('$or/$and/$nor entries need to be full objects')
    return parseFilter(clause)
  })
}

/** True for `{ $gt: … }`, false for a document to compare with. */
export function isOperatorDoc (value: Value | undefined): value is Doc {
  return isDoc(value) && [...value.keys()][0]?.startsWith('$') === true
}

function field (path: string, operand: Value): Filter {
  if (isOperatorDoc(operand)) return predicates(path, operand)
  if (operand instanceof BSONRegExp) return operators.$regex(path, operand)
  return eqTest(path, operand)
}

const predicates = (path: string, operand: Doc): Filter =>
  all([...operand].map(([name, argument]) => predicate(path, name, argument)))

function predicate (path: string, name: string, argument: Value): Filter {
  switch (name) {
    case '$not': return { kind: 'not', child: negated(path, argument) }
    case '$ne': return { kind: 'not', child: eqTest(path, argument) }
    case '$nin': return { kind: 'not', child: operators.$in(path, argument, '$nin') }
    case '$elemMatch': return elemMatch(path, argument)
    case '$all': return allOf(path, argument)
  }
  const operator = (operators as Record<string, ((path: string, argument: Value) => Filter) | undefined>)[name]
  if (operator !== undefined && Object.hasOwn(operators, name)) return operator(path, argument)
  throw badValue(`unknown operator: ${name}`)
}

function negated (path: string, argument: Value): Filter {
  if (!isDoc(argument)) throw badValue('$not needs a document')
  const [first] = argument.keys()
  if (first === undefined) throw badValue('$not cannot be empty')
  if (!isOperatorDoc(argument)) throw badValue(`unknown operator: ${first}`)
  return predicates(path, argument)
}

/** `$elemMatch` on values when its operand has only field operators, else on subdocuments. */
function elemMatch (path: string, argument: Value): Filter {
  if (!isDoc(argument)) throw badValue('$elemMatch needs an Object')
  const test = memberTest(argument)
  return {
    ...leaf(path, '$elemMatch', argument, value => Array.isArray(value) && value.some(test), false),
    position: value => Array.isArray(value) ? value.findIndex(test) : -1
  }
}

/** The test `$elemMatch` applies to each member of an array. */
export function memberTest (argument: Doc): (member: Value) => boolean {
  const [first = ''] = argument.keys()
  if (isOperatorDoc(argument) && !Object.hasOwn(logical, first)) {
    const filter = withoutExpansion(predicates('', argument))
    return member => matchesFilter(filter, member)
  }
  const filter = parseFilter(argument)
  return member => (isDoc(member) || Array.isArray(member)) && matchesFilter(filter, member)
}

/** Array members are values here, not paths into them: a nested array is not expanded. */
function withoutExpansion (filter: Filter): Filter {
  switch (filter.kind) {
    case 'leaf': return { ...filter, parts: [], expand: false }
    case 'not': return { kind: 'not', child: withoutExpansion(filter.child) }
    default: return { kind: filter.kind, children: filter.children.map(withoutExpansion) }
  }
}

function allOf (path: string, argument: Value): Filter {
  if (!Array.isArray(argument)) throw badValue('$all needs an array')
  if (argument.length === 0) return { kind: 'or', children: [] }
  return all(argument.map(item => {
    if (isOperatorDoc(item)) throw badValue('no $ expressions in $all')
    return item instanceof BSONRegExp ? operators.$regex(path, item) : eqTest(path, item)
  }))
}

/** Parses a filter that must be a document; `where` names it in the error. */
export function filterOf (value: Value | undefined, where: string): Filter {
  if (value === undefined) return { kind: 'and', children: [] }
  if (!isDoc(value)) {
    throw new CommandError(14, `BSON field '${where}' is the wrong type '${typeName(value)}', expected type 'object'`)
  }
  return parseFilter(value)
}
