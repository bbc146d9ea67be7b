import type { Doc, Value } from '../values.js'

/** Variables in force while an expression is evaluated; the innermost binding of a name wins. */
export interface Scope { name: string, value: Value | undefined, outer: Scope | undefined }

export type Evaluate = (scope: Scope) => Value | undefined

/** Compiles an operand; `variables` are names the operator binds itself, such as `this` in `$map`. */
export type Compile = (expression: Value, variables?: string[]) => Evaluate

export type Operator = (operand: Value, compile: Compile, name: string) => Evaluate

/** The environment of a command's expressions: the clock, and the variables of its `let`. */
export interface Environment {
  now: Date
  variables: Map<string, Value>
  scope: (root: Doc) => Scope
}

export const bind = (outer: Scope | undefined, name: string, value: Value | undefined): Scope => ({
  name,
  value,
  outer
})

export function lookup (scope: Scope | undefined, name: string): Value | undefined {
  for (let at = scope; at !== undefined; at = at.outer) {
    if (at.name === name) return at.value
  }
  return undefined
}

/** The environment of one command: `$$NOW` does not move while it runs. */
export function createEnvironment (now: Date, variables: Map<string, Value> = new Map()): Environment {
  let constants = bind(undefined, 'NOW', now)
  for (const [name, value] of variables) constants = bind(constants, name, value)
  return { now, variables, scope: root => bind(constants, 'ROOT', root) }
}
