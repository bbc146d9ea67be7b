import type { Doc, Value } from '../values.js'

/** Variables in force while an expression is evaluated; the innermost binding of a name wins. */
export interface Scope { name: string, value: Value | undefined, outer: Scope | undefined }

export type Evaluate = (scope: Scope) => Value | undefined

/** Compiles an operand; `variables` are names the operator binds itself, such as `this` in `$reduce`. */
export type Compile = (expression: Value, variables?: string[]) => Evaluate

export type Operator = (operand: Value, compile: Compile) => Evaluate

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

/** The scope of a document's expressions. `$$NOW` does not move while a command runs. */
export const scopeOf = (root: Doc, now: Date): Scope => bind(bind(undefined, 'NOW', now), 'ROOT', root)
