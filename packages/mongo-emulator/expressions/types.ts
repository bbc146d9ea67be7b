import type { Doc, Value } from '../values.js'

/** The variables in force while an expression is evaluated. */
export type Scope = ReadonlyMap<string, Value | undefined>

export type Evaluate = (scope: Scope) => Value | undefined

export type Compile = (expression: Value) => Evaluate

export type Operator = (operand: Value, compile: Compile) => Evaluate

/** The scope of a document's expressions. `$$NOW` does not move while a command runs. */
export const scopeOf = (root: Doc, now: Date): Scope => new Map<string, Value>([['ROOT', root], ['NOW', now]])
