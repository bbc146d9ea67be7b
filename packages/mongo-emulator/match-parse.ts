import { BSONRegExp } from 'bson'
import { badValue, CommandError } from './errors.js'
import { compileExpression } from './expressions/compile.js'
import type { Environment } from './expressions/types.js'
import { eqTest, leaf, operators } from './match-operators.js'
import { matches as matchesFilter, type Filter } from './match.js'
import { isDoc, isTruthy, typeName, type Doc, type Value } from './values.js'

const refused = new Set([
  '$where', '$text', '$jsonSchema', '$near', '$nearSphere', '$geoWithin', '$geoIntersects', '$uniqueDocs'
])

/**
 * Parses a query filter (MongoDB manual, "Query Predicates").
 * Throws BadValue for operators that are unknown or refused, and for malformed operands.
 */
export function parseFilter (filter: Doc, environment: Environment): Filter {
  return all([...filter].map(([name, operand]) =>
    name.startsWith('$') ? topLevel(name, operand, environment) : field(name, operand, environment)))
}

const all = (children: Filter[]): Filter => children.length === 1 && children[0] !== undefined
  ? children[0]
  : { kind: 'and', children }

function topLevel (name: string, operand: Value, environment: Environment): Filter {
  switch (name) {
    case '$and': case '$or': case '$nor':
      return {
        kind: name === '$and' ? 'and' : name === '$or' ? 'or' : 'nor',
        children: clauses(name, operand, environment)
      }
    case '$expr': {
      const evaluate = compileExpression(operand, environment)
      return { kind: 'test', name, test: doc => isTruthy(evaluate(environment.scope(doc))) }
    }
    case '$comment': return { kind: 'and', children: [] }
    case '$sampleRate': return { kind: 'test', name, test: () => Math.random() < Number(operand) }
    case '$alwaysFalse': return { kind: 'or', children: [] }
    case '$alwaysTrue': return { kind: 'and', children: [] }
  }
  if (refused.has(name)) throw badValue(`${name} is not supported by this server`)
  throw badValue(
    `unknown top level operator: ${name}. If you have a field name that starts with a '$' symbol, consider using $getField or $setField.`
  )
}

function clauses (name: string, operand: Value, environment: Environment): Filter[] {
  if (!Array.isArray(operand)) throw badValue(`${name} must be an array`)
  if (operand.length === 0) throw badValue('$and/$or/$nor must be a nonempty array')
  return operand.map(clause => {
    if (!isDoc(clause)) throw badValue('$or/$and/$nor entries need to be full objects')
    return parseFilter(clause, environment)
  })
}

/** True for `{ $gt: … }`, false for a document to compare with; DBRefs begin with `$ref` or `$id`. */
export function isOperatorDoc (value: Value | undefined): value is Doc {
  if (!isDoc(value)) return false
  const [first] = value.keys()
  return first !== undefined && first.startsWith('$') && first !== '$ref' && first !== '$id' && first !== '$db'
}

function field (path: string, operand: Value, environment: Environment): Filter {
  if (isOperatorDoc(operand)) return predicates(path, operand, environment)
  if (operand instanceof BSONRegExp) return operators.$regex(path, operand)
  return eqTest(path, operand)
}

function predicates (path: string, operand: Doc, environment: Environment): Filter {
  const children: Filter[] = []
  for (const [name, argument] of operand) {
    const parsed = predicate(path, name, argument, operand, environment)
    if (parsed !== undefined) children.push(parsed)
  }
  return all(children)
}

function predicate (path: string, name: string, argument: Value, siblings: Doc, environment: Environment):
  | Filter
  | undefined {
  switch (name) {
    case '$not': return { kind: 'not', child: negated(path, argument, environment) }
    case '$ne': {
      if (argument instanceof BSONRegExp) throw badValue("Can't have regex as arg to $ne.")
      return { kind: 'not', child: eqTest(path, argument) }
    }
    case '$nin': return { kind: 'not', child: operators.$in(path, argument, '$nin') }
    case '$regex': return operators.$regex(path, argument, siblings.get('$options'))
    case '$options': {
      if (!siblings.has('$regex')) throw badValue('$options needs a $regex')
      return undefined
    }
    case '$elemMatch': return elemMatch(path, argument, environment)
    case '$all': return allOf(path, argument, environment)
    case '$comment': return undefined
  }
  const operator = (operators as Record<string, ((path: string, argument: Value) => Filter) | undefined>)[name]
  if (operator !== undefined && Object.hasOwn(operators, name)) return operator(path, argument)
  if (refused.has(name)) throw badValue(`${name} is not supported by this server`)
  throw badValue(`unknown operator: ${name}`)
}

function negated (path: string, argument: Value, environment: Environment): Filter {
  if (argument instanceof BSONRegExp) return operators.$regex(path, argument)
  if (!isDoc(argument)) throw badValue('$not needs a regex or a document')
  const [first] = argument.keys()
  if (first === undefined) throw badValue('$not cannot be empty')
  if (!isOperatorDoc(argument)) throw badValue(`unknown operator: ${first}`)
  return predicates(path, argument, environment)
}

/** `$elemMatch` on values when its operand has only field operators, else on subdocuments. */
function elemMatch (path: string, argument: Value, environment: Environment): Filter {
  if (!isDoc(argument)) throw badValue('$elemMatch needs an Object')
  const test = memberTest(argument, environment)
  return {
    ...leaf(path, '$elemMatch', argument, value => Array.isArray(value) && value.some(test), false),
    position: value => Array.isArray(value) ? value.findIndex(test) : -1
  }
}

/** The test `$elemMatch` applies to each member of an array. */
export function memberTest (argument: Doc, environment: Environment): (member: Value) => boolean {
  const [first] = argument.keys()
  if (isOperatorDoc(argument) && !['$and', '$or', '$nor', '$expr'].includes(first ?? '')) {
    return valueTest(argument, environment)
  }
  const filter = parseFilter(argument, environment)
  return member => (isDoc(member) || Array.isArray(member)) && matchesFilter(filter, member)
}

/** Array members are values here, not paths into them: a nested array is not expanded. */
function valueTest (argument: Doc, environment: Environment): (member: Value) => boolean {
  const filter = withoutExpansion(predicates('', argument, environment))
  return member => matchesFilter(filter, member)
}

function withoutExpansion (filter: Filter): Filter {
  switch (filter.kind) {
    case 'leaf': return { ...filter, parts: [], expand: false }
    case 'not': return { kind: 'not', child: withoutExpansion(filter.child) }
    case 'test': return filter
    default: return { kind: filter.kind, children: filter.children.map(withoutExpansion) }
  }
}

function allOf (path: string, argument: Value, environment: Environment): Filter {
  if (!Array.isArray(argument)) throw badValue('$all needs an array')
  if (argument.length === 0) return { kind: 'or', children: [] }
  return all(argument.map(item => {
    if (isOperatorDoc(item)) {
      const nested = item.get('$elemMatch')
      if (nested === undefined) throw badValue('no $ expressions in $all')
      return elemMatch(path, nested, environment)
    }
    return item instanceof BSONRegExp ? operators.$regex(path, item) : eqTest(path, item)
  }))
}

/** Parses a filter that must be a document; `where` names it in the error. */
export function filterOf (value: Value | undefined, where: string, environment: Environment): Filter {
  if (value === undefined) return { kind: 'and', children: [] }
  if (!isDoc(value)) {
    throw new CommandError(14, `BSON field '${where}' is the wrong type '${typeName(value)}', expected type 'object'`)
  }
  return parseFilter(value, environment)
}
